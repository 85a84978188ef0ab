#include "sluice/core/os/mapped_ip4.h"

#include <netinet/in.h>

#include "absl/strings/str_cat.h"

namespace sluice {

std::string MappedIp4(const Address& address) {
  if (address.family() != AF_INET6) return "";
  const auto& ip6 = *reinterpret_cast<const sockaddr_in6*>(address.sockaddr());
  if (!IN6_IS_ADDR_V4MAPPED(&ip6.sin6_addr)) return "";
  const uint8_t* const ip4 = ip6.sin6_addr.s6_addr + 12;
  return absl::StrCat(ip4[0], ".", ip4[1], ".", ip4[2], ".", ip4[3], ":", address.port());
}

absl::Status RefuseMapped(const Address& address) {
  const std::string ip4 = MappedIp4(address);
  if (ip4.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      address.ToString(), " is an IPv4 address in the form of an IPv6 one; write ", ip4));
}

}  // namespace sluice
