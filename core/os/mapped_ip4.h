// An IPv4 address in the form of an IPv6 one (::ffff:127.0.0.1). Each of our sockets speaks one
// family, so such an address is refused with an error that names the form to write instead.
//
// Owner:  none. Thread: any. Bound: none. Errors: none.
#ifndef SLUICE_CORE_OS_MAPPED_IP4_H_
#define SLUICE_CORE_OS_MAPPED_IP4_H_

#include <string>

#include "absl/status/status.h"
#include "sluice/core/os/address.h"

namespace sluice {

// The same host and port in IPv4 notation; empty: `address` is not a mapped one.
std::string MappedIp4(const Address& address);

// InvalidArgument that names the form to write, if `address` is a mapped one.
absl::Status RefuseMapped(const Address& address);

}  // namespace sluice

#endif  // SLUICE_CORE_OS_MAPPED_IP4_H_
