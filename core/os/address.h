// Address is where a socket listens or connects: IPv4, IPv6, or UNIX (a path or an abstract name).
// One syntax in flags, code and logs:
//
//   HOST:PORT   127.0.0.1:7001, localhost:7001 (is 127.0.0.1), 0.0.0.0:0 (all interfaces, any port)
//   [V6]:PORT   [::1]:7001, [fe80::1%eth0]:7001, [fe80::1%2]:7001
//   unix:PATH   unix:/run/chat.sock
//   unix:@NAME  unix:@chat, an abstract name: no file, gone with its socket
//
// Owner:  its holder; a value of 116 bytes without memory of its own.
// Thread: any, as for an int.
// Bound:  PATH and NAME 107 bytes, PORT 0 to 65535.
// Errors: InvalidArgument that quotes the input, says what is wrong and names the accepted forms.
#ifndef SLUICE_CORE_OS_ADDRESS_H_
#define SLUICE_CORE_OS_ADDRESS_H_

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "sluice/core/base/language.h"

namespace sluice {

class Address {
 public:
  Address();  // AF_UNSPEC: no address; ToString() is "none", which Parse refuses.

  // Looks no names up, so Parse never waits. `%eth0` asks the kernel for the interface's index;
  // nothing else leaves the process.
  static absl::StatusOr<Address> Parse(std::string_view text);

  // Takes the result of accept, getsockname or getpeername; `address` may be unaligned. An unbound
  // UNIX socket has no name, which is an Address, too.
  static absl::StatusOr<Address> FromSockaddr(const ::sockaddr* address, socklen_t size);

  // For bind and connect.
  const ::sockaddr* sockaddr() const { return &storage_.any; }
  socklen_t size() const { return size_; }

  int family() const { return storage_.any.sa_family; }  // AF_INET, AF_INET6, AF_UNIX, AF_UNSPEC.
  uint16_t port() const;                                 // 0 unless IPv4 or IPv6.
  bool IsUnixPath() const { return !path().empty(); }    // A file exists, to unlink at the end.
  std::string_view path() const;  // Empty unless IsUnixPath(). Lives as long as this.

  // Parse(ToString()) is the same address, except for forms that only the kernel makes: "none",
  // "unix:" (never bound), an abstract name that is empty or has a NUL in it (shown as '@'), a path
  // that begins with '@' or has a NUL nowhere in its 108 bytes.
  std::string ToString() const;

  friend bool operator==(const Address& a, const Address& b);

 private:
  static Address Unix(std::string_view sun_path);  // Requires: it fits.

  // Bytes beyond size_ and padding are zero, so that operator== can compare bytes.
  union Storage {
    ::sockaddr any;
    sockaddr_in ip4;
    sockaddr_in6 ip6;
    sockaddr_un un;
  } storage_;
  socklen_t size_;
};

// At least one address, comma-separated; spaces around each are ignored. Only Parse takes a path
// with a comma in it.
absl::StatusOr<std::vector<Address>> ParseAddresses(std::string_view text);

}  // namespace sluice

#endif  // SLUICE_CORE_OS_ADDRESS_H_
