// Names of types and texts of exceptions, for logs and for the reasons of ends.
//
// Owner:  none.
// Thread: any.
// Bound:  a reason is cut at kReasonTextBytesMax.
// Errors: none: a text that describes a failure must not fail itself.
#ifndef SLUICE_CORE_BASE_DEMANGLE_H_
#define SLUICE_CORE_BASE_DEMANGLE_H_

#include <exception>
#include <string>

#include "sluice/core/base/language.h"

namespace sluice {

// A longer reason (a what(), the text of a Stop) is cut to this length, and ends with "...".
inline constexpr size_t kReasonTextBytesMax = 1'024;

std::string Demangle(const char* name);
// Cuts a text that describes an end to the length that is kept, logged and sent.
std::string BoundedReason(std::string text);
// what(), or the exception's type if it has none; at most kReasonTextBytesMax. Empty if what() is
// empty, or if there is no memory for the text.
std::string ExceptionText(const std::exception_ptr& error) noexcept;

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_DEMANGLE_H_
