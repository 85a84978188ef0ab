// ToAbsl and ToStd are the border between Sluice's API, which speaks std::string_view, and
// Abseil's. In a modern Abseil absl::string_view is std::string_view; in Debian's it is a class of
// its own that converts neither way.
//
// Owner:  nothing is copied: the bytes outlive the view, as with any view.
// Thread: any.
// Bound:  none.
// Errors: none.
#ifndef SLUICE_CORE_BASE_STRINGS_H_
#define SLUICE_CORE_BASE_STRINGS_H_

#include <string_view>

#include "absl/strings/string_view.h"
#include "sluice/core/base/language.h"

namespace sluice {

constexpr absl::string_view ToAbsl(std::string_view text) {
  return absl::string_view(text.data(), text.size());
}
constexpr std::string_view ToStd(absl::string_view text) {
  return std::string_view(text.data(), text.size());
}

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_STRINGS_H_
