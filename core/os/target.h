// Target is what a program connects to: an Address, or a host's name and a port. A name is looked
// up again for each connection, so a host that moves is followed.
//
//   NAME:PORT   api.example.org:443, beside all that Address takes
//
// Owner:  its holder; a value.
// Thread: any, as for a string.
// Bound:  a name has at most 253 bytes, each of its labels 63 (RFC 1123, 2.1; RFC 1035, 2.3.4).
// Errors: InvalidArgument that quotes the input and says what is accepted.
#ifndef SLUICE_CORE_OS_TARGET_H_
#define SLUICE_CORE_OS_TARGET_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "sluice/core/os/address.h"

namespace sluice {

class Os;

class Target {
 public:
  Target(const Address& address) : address_(address) {}  // Implicit: an address is a target.

  static absl::StatusOr<Target> Parse(std::string_view text);

  bool IsName() const { return !host_.empty(); }
  const Address& address() const { return address_; }  // AF_UNSPEC if IsName().
  const std::string& host() const { return host_; }    // "": the target is an address.

  // The target's addresses, the best first; a single one if the target is an address. Looks a name
  // up now and waits, so only a blocking function calls this. NotFound: no such name. Unavailable:
  // no name server has answered.
  absl::StatusOr<std::vector<Address>> LookUp(Os& os) const;

  std::string ToString() const;  // Parse() makes the same Target of it.

 private:
  Target(std::string_view host, uint16_t port) : host_(host), port_(port) {}

  Address address_;
  std::string host_;
  uint16_t port_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_CORE_OS_TARGET_H_
