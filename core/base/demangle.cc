#include "sluice/core/base/demangle.h"

#include <cxxabi.h>

#include <cstdlib>
#include <cstring>
#include <typeinfo>

#include "absl/strings/str_cat.h"

namespace sluice {

std::string Demangle(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = status == 0 ? text : name;
  std::free(text);
  return result;
}

std::string BoundedReason(std::string text) {
  if (text.size() <= kReasonTextBytesMax) return text;
  size_t end = kReasonTextBytesMax - 3;
  // Not in the middle of a character of UTF-8.
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  text.resize(end);
  text += "...";
  text.shrink_to_fit();
  return text;
}

std::string ExceptionText(const std::exception_ptr& error) noexcept {
  try {
    const auto of_type = [] {
      const std::type_info* type = abi::__cxa_current_exception_type();
      return BoundedReason(absl::StrCat("an exception of type ",
                                        type != nullptr ? Demangle(type->name()) : "unknown"));
    };
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& e) {
      const char* const what = e.what();
      if (what == nullptr) return of_type();
      // Read no more than is kept: the text may have any length.
      return BoundedReason(std::string(what, strnlen(what, kReasonTextBytesMax + 1)));
    } catch (...) {
      return of_type();
    }
  } catch (...) {
    return std::string();  // No memory even for that.
  }
}

}  // namespace sluice
