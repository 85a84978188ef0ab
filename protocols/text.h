// PrintableUtf8 makes a peer's text safe to show on other people's terminals and in logs.
//
// Owner:  none; a function.
// Thread: any; no state.
// Bound:  the result is never longer than the text.
// Errors: none: each unprintable character becomes '?'.
#ifndef SLUICE_PROTOCOLS_TEXT_H_
#define SLUICE_PROTOCOLS_TEXT_H_

#include <string>
#include <string_view>

#include "sluice/core/base/language.h"

namespace sluice {

// Valid UTF-8 stays as it is. One '?' stands for each control character but tab (U+0000 to U+001F,
// U+007F to U+009F), for each character that turns a line around (U+061C, U+200E, U+200F, U+202A to
// U+202E, U+2066 to U+2069) or breaks it (U+2028, U+2029), and for each byte that belongs to no
// valid character: overlong forms, surrogates, beyond U+10FFFF, cut off, or never UTF-8.
// Look-alikes stay as they are.
std::string PrintableUtf8(std::string_view text);

}  // namespace sluice

#endif  // SLUICE_PROTOCOLS_TEXT_H_
