// Addresses to listen on may have the name of their listener: "http=127.0.0.1:80,[::1]:80". A name
// holds for the addresses behind it, up to the next name or a semicolon (the next --listen=).
//
// Owner:  none: functions.
// Thread: any.
// Bound:  none.
// Errors: none: an address that cannot be parsed is found by ParseAddresses.
#ifndef SLUICE_CORE_OS_LISTEN_NAMES_H_
#define SLUICE_CORE_OS_LISTEN_NAMES_H_

#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/base/language.h"

namespace sluice {

struct NamedAddresses {
  std::string name;       // Empty: none.
  std::string addresses;  // Separated by commas.
};

// One entry for each name, in the order of their first addresses. Empty text has no entry.
std::vector<NamedAddresses> SplitByName(std::string_view text);

}  // namespace sluice

#endif  // SLUICE_CORE_OS_LISTEN_NAMES_H_
