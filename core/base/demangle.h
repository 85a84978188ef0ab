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

// A longer reason (a what(), the text of a Stop) is cut there, and ends with "...".
inline constexpr size_t kReasonTextBytesMax = 1'024;

std::string Demangle(const char* name);
// A text that describes an end, cut where it is longer than is kept, logged and told.
std::string BoundedReason(std::string text);
// what(), or its type where that says nothing; at most kReasonTextBytesMax.
std::string ExceptionText(const std::exception_ptr& error) noexcept;

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_DEMANGLE_H_
