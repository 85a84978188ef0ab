// PrintableUtf8 makes a peer's text fit for other people's terminals and logs.
//
// Owner:  none; a function.
// Thread: any; no state.
// Bound:  the result is never longer than the text.
// Errors: none: what is not printable becomes '?'.
#ifndef SLUICE_PROTOCOLS_TEXT_H_
#define SLUICE_PROTOCOLS_TEXT_H_

#include <string>
#include <string_view>

#include "sluice/core/language.h"

namespace sluice {

// Valid UTF-8 stays as it is. One '?' stands for each control character but tab (U+0000 to U+001F,
// U+007F to U+009F), and one for each byte that belongs to no valid character: overlong forms,
// surrogates, beyond U+10FFFF, cut off, or never UTF-8. What valid characters do to each other
// (direction marks, look-alikes) is left to who shows them.
std::string PrintableUtf8(std::string_view text);

}  // namespace sluice

#endif  // SLUICE_PROTOCOLS_TEXT_H_
