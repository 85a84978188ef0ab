// An IPv4 address in the form of an IPv6 one (::ffff:127.0.0.1). Sockets of ours speak one family
// each, so a user who writes one is told what to write instead.
//
// Owner:  none. Thread: any. Bound: none. Errors: none.
#ifndef SLUICE_CORE_OS_MAPPED_IP4_H_
#define SLUICE_CORE_OS_MAPPED_IP4_H_

#include <string>

#include "absl/status/status.h"
#include "sluice/core/os/address.h"

namespace sluice {

// The same host and port as an IPv4 address is written; empty: it is none of these.
std::string MappedIp4(const Address& address);

// InvalidArgument that says what to write, where it is one of these.
absl::Status RefuseMapped(const Address& address);

}  // namespace sluice

#endif  // SLUICE_CORE_OS_MAPPED_IP4_H_
