#include "sluice/core/os/address.h"

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/base/check.h"
#include "sluice/core/base/strings.h"

namespace sluice {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";
constexpr size_t kPathOffset = offsetof(sockaddr_un, sun_path);
// Keeps the last byte of sun_path NUL for a path: the kernel can do without, few programs can. An
// abstract name has a NUL before it instead, so its bound is the same.
constexpr size_t kUnixNameBytesMax = sizeof(sockaddr_un::sun_path) - 1;
constexpr size_t kQuotedBytesMax = 160;
constexpr std::string_view kPortRule = "a decimal number from 0 to 65535";

// For a terminal or a log: escapes control bytes, and cuts long text.
std::string Show(std::string_view text) {
  const bool cut = text.size() > kQuotedBytesMax;
  return absl::StrCat(absl::Utf8SafeCHexEscape(ToAbsl(text.substr(0, kQuotedBytesMax))),
                      cut ? "..." : "");
}

std::string Quote(std::string_view text) { return absl::StrCat("\"", Show(text), "\""); }

absl::Status Refuse(std::string_view text, std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(
      "address ", Quote(text), ": ", ToAbsl(why),
      "; write HOST:PORT (numeric IPv4 or localhost), [V6]:PORT, unix:PATH or unix:@NAME"));
}

bool AllDigits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Decimal without sign, space or leading zero: one spelling for each number.
std::optional<uint32_t> ParseNumber(std::string_view text, uint32_t most) {
  if (!AllDigits(text) || text.size() > 10 || (text.size() > 1 && text[0] == '0')) {
    return std::nullopt;
  }
  uint64_t number = 0;
  for (char c : text) number = number * 10 + static_cast<uint64_t>(c - '0');
  if (number > most) return std::nullopt;
  return static_cast<uint32_t>(number);
}

// inet_pton of a view, with the terminator that inet_pton needs. `host` has no NUL in it.
bool ParseIp(int family, std::string_view host, void* ip) {
  char terminated[INET6_ADDRSTRLEN];
  if (host.size() >= sizeof(terminated)) return false;
  *std::copy(host.begin(), host.end(), terminated) = '\0';
  return inet_pton(family, terminated, ip) == 1;
}

bool IsIp6(std::string_view host) {
  in6_addr ignored;
  return ParseIp(AF_INET6, host.substr(0, host.find('%')), &ignored);
}

// 0: there is no such interface. (The kernel counts interfaces from 1.)
uint32_t ParseScope(std::string_view scope) {
  if (AllDigits(scope)) {
    return ParseNumber(scope, std::numeric_limits<uint32_t>::max()).value_or(0);
  }
  char terminated[IF_NAMESIZE];
  if (scope.empty() || scope.size() >= sizeof(terminated)) return 0;
  *std::copy(scope.begin(), scope.end(), terminated) = '\0';
  return if_nametoindex(terminated);
}

// Why `host`, which is no IPv4 address, is not served.
std::string WhyNotHost(std::string_view text, std::string_view host, std::string_view port) {
  const auto shown = ToAbsl(port);
  if (host.empty()) {
    return absl::StrCat("there is no host; for every interface write 0.0.0.0:", shown,
                        ", for this machine only 127.0.0.1:", shown);
  }
  if (host == "*") {
    return absl::StrCat("\"*\" is no host; for every interface write 0.0.0.0:", shown,
                        " or [::]:", shown);
  }
  if (IsIp6(host))
    return absl::StrCat("an IPv6 address needs brackets: [", Show(host), "]:", shown);
  if (IsIp6(text))
    return absl::StrCat("an IPv6 address needs brackets and a port: [", Show(text), "]:PORT");
  if (host.find("//") != host.npos) return "this is a URL; leave out the scheme";
  if (host.find_first_not_of("0123456789.") == host.npos) {
    return absl::StrCat(
        Quote(host), " is not an IPv4 address: four numbers from 0 to 255, without leading zeros");
  }
  return absl::StrCat("the host ", Quote(host),
                      " is not numeric: only numeric addresses and localhost are accepted here");
}

}  // namespace

Address::Address() : size_(sizeof(sa_family_t)) {
  std::memset(&storage_, 0, sizeof(storage_));
  storage_.any.sa_family = AF_UNSPEC;
}

Address Address::Unix(std::string_view sun_path) {
  Address address;
  sockaddr_un& un = address.storage_.un;
  SLUICE_CHECK(sun_path.size() <= sizeof(un.sun_path));
  un.sun_family = AF_UNIX;
  std::copy(sun_path.begin(), sun_path.end(), un.sun_path);
  // A path is counted with its terminator, an abstract name ends where its size says.
  const bool is_path = !sun_path.empty() && sun_path[0] != '\0';
  const size_t terminator = is_path && sun_path.size() < sizeof(un.sun_path) ? 1 : 0;
  address.size_ = static_cast<socklen_t>(kPathOffset + sun_path.size() + terminator);
  return address;
}

absl::StatusOr<Address> Address::Parse(std::string_view text) {
  if (text.empty()) return Refuse(text, "it is empty");
  if (text.find('\0') != text.npos) return Refuse(text, "it has a NUL byte in it");

  if (text.substr(0, kUnixPrefix.size()) == kUnixPrefix) {
    std::string_view name = text.substr(kUnixPrefix.size());
    const bool abstract = !name.empty() && name[0] == '@';
    if (abstract) name.remove_prefix(1);
    if (name.empty()) {
      return Refuse(text,
                    abstract ? "there is no name after unix:@" : "there is no path after unix:");
    }
    if (name.size() > kUnixNameBytesMax) {
      return Refuse(text, absl::StrCat("the ", abstract ? "name" : "path", " has ", name.size(),
                                       " bytes, and the kernel takes ", kUnixNameBytesMax));
    }
    char sun_path[sizeof(sockaddr_un::sun_path)] = {};
    std::copy(name.begin(), name.end(), sun_path + (abstract ? 1 : 0));
    return Unix(std::string_view(sun_path, name.size() + (abstract ? 1 : 0)));
  }

  const bool bracketed = text[0] == '[';
  std::string_view host;
  std::string_view port;
  if (bracketed) {
    const size_t end = text.find(']');
    if (end == text.npos) return Refuse(text, "there is no ] after the IPv6 address");
    host = text.substr(1, end - 1);
    if (end + 1 == text.size()) return Refuse(text, "there is no :PORT after ]");
    if (text[end + 1] != ':') return Refuse(text, "there is something other than :PORT after ]");
    port = text.substr(end + 2);
  } else {
    const size_t colon = text.rfind(':');
    if (colon == text.npos) {
      if (ParseNumber(text, 65535)) return Refuse(text, WhyNotHost(text, "", text));
      return Refuse(text, "there is no :PORT at its end");
    }
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    // Otherwise "::1" would be a host ":" with port 1.
    if (IsIp6(text) && !IsIp6(host)) return Refuse(text, WhyNotHost(text, host, "PORT"));
  }

  const std::optional<uint32_t> number = ParseNumber(port, 65535);
  if (!number) {
    if (port.empty()) return Refuse(text, absl::StrCat("the port is missing: ", ToAbsl(kPortRule)));
    return Refuse(text, absl::StrCat("the port ", Quote(port), " is not ", ToAbsl(kPortRule),
                                     ", without sign, space or leading zero"));
  }
  const auto network_port = htons(static_cast<uint16_t>(*number));

  Address address;
  if (!bracketed) {
    sockaddr_in& ip4 = address.storage_.ip4;
    if (absl::EqualsIgnoreCase(ToAbsl(host), "localhost")) {
      ip4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else if (!ParseIp(AF_INET, host, &ip4.sin_addr)) {
      return Refuse(text, WhyNotHost(text, host, port));
    }
    ip4.sin_family = AF_INET;
    ip4.sin_port = network_port;
    address.size_ = sizeof(ip4);
    return address;
  }

  sockaddr_in6& ip6 = address.storage_.ip6;
  const size_t percent = host.find('%');
  if (!ParseIp(AF_INET6, host.substr(0, percent), &ip6.sin6_addr)) {
    return Refuse(text, ParseIp(AF_INET, host, &ip6.sin6_addr)
                            ? "brackets are for IPv6; write an IPv4 address without them"
                            : absl::StrCat(Quote(host), " is not an IPv6 address"));
  }
  if (percent != host.npos) {
    ip6.sin6_scope_id = ParseScope(host.substr(percent + 1));
    if (ip6.sin6_scope_id == 0) {
      return Refuse(text, absl::StrCat("this machine has no network interface ",
                                       Quote(host.substr(percent + 1))));
    }
  }
  ip6.sin6_family = AF_INET6;
  ip6.sin6_port = network_port;
  address.size_ = sizeof(ip6);
  return address;
}

absl::StatusOr<Address> Address::FromSockaddr(const ::sockaddr* from, socklen_t size) {
  Address address;
  Storage copy;
  std::memset(&copy, 0, sizeof(copy));
  if (size < sizeof(sa_family_t)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a socket address of ", size, " bytes is too short"));
  }
  // The kernel says 111 for a path of all 108 bytes, and has written the 110 of a sockaddr_un.
  std::memcpy(&copy, from, std::min<size_t>(size, sizeof(sockaddr_un)));
  // Field by field: padding, flow information and the bytes after a path are not the address.
  switch (copy.any.sa_family) {
    case AF_INET:
      if (size < sizeof(sockaddr_in)) break;
      address.storage_.ip4.sin_family = AF_INET;
      address.storage_.ip4.sin_port = copy.ip4.sin_port;
      address.storage_.ip4.sin_addr = copy.ip4.sin_addr;
      address.size_ = sizeof(sockaddr_in);
      return address;
    case AF_INET6:
      if (size < sizeof(sockaddr_in6)) break;
      address.storage_.ip6.sin6_family = AF_INET6;
      address.storage_.ip6.sin6_port = copy.ip6.sin6_port;
      address.storage_.ip6.sin6_addr = copy.ip6.sin6_addr;
      address.storage_.ip6.sin6_scope_id = copy.ip6.sin6_scope_id;
      address.size_ = sizeof(sockaddr_in6);
      return address;
    case AF_UNIX: {
      const size_t path_bytes = std::min<size_t>(size - kPathOffset, sizeof(copy.un.sun_path));
      std::string_view sun_path(copy.un.sun_path, path_bytes);
      if (!sun_path.empty() && sun_path[0] != '\0')
        sun_path = sun_path.substr(0, sun_path.find('\0'));
      return Unix(sun_path);
    }
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("socket address family ", copy.any.sa_family, " is not served"));
  }
  return absl::InvalidArgumentError(absl::StrCat("a socket address of family ", copy.any.sa_family,
                                                 " has more than ", size, " bytes"));
}

uint16_t Address::port() const {
  switch (family()) {
    case AF_INET:
      return ntohs(storage_.ip4.sin_port);
    case AF_INET6:
      return ntohs(storage_.ip6.sin6_port);
    default:
      return 0;
  }
}

std::string_view Address::path() const {
  if (family() != AF_UNIX) return {};
  const size_t bytes = size_ - kPathOffset;
  return std::string_view(storage_.un.sun_path, strnlen(storage_.un.sun_path, bytes));
}

std::string Address::ToString() const {
  char ip[INET6_ADDRSTRLEN];
  switch (family()) {
    case AF_INET:
      inet_ntop(AF_INET, &storage_.ip4.sin_addr, ip, sizeof(ip));
      return absl::StrCat(ip, ":", port());
    case AF_INET6: {
      inet_ntop(AF_INET6, &storage_.ip6.sin6_addr, ip, sizeof(ip));
      const uint32_t scope = storage_.ip6.sin6_scope_id;
      // The index, not the name: asking the kernel has no place in a log line.
      if (scope != 0) return absl::StrCat("[", ip, "%", scope, "]:", port());
      return absl::StrCat("[", ip, "]:", port());
    }
    case AF_UNIX: {
      std::string text(kUnixPrefix);
      if (IsUnixPath()) {
        text += path();
      } else {
        text.append(storage_.un.sun_path, size_ - kPathOffset);
        std::replace(text.begin(), text.end(), '\0', '@');
      }
      return text;
    }
    default:
      return "none";
  }
}

bool operator==(const Address& a, const Address& b) {
  return a.size_ == b.size_ && std::memcmp(&a.storage_, &b.storage_, a.size_) == 0;
}

absl::StatusOr<std::vector<Address>> ParseAddresses(std::string_view text) {
  std::vector<Address> addresses;
  for (std::string_view rest = text;;) {
    const size_t comma = rest.find(',');
    std::string_view one = rest.substr(0, comma);
    one.remove_prefix(std::min(one.find_first_not_of(' '), one.size()));
    one = one.substr(0, one.find_last_not_of(' ') + 1);
    if (one.empty()) {
      return Refuse(text,
                    text.empty() ? "it is empty" : "there is nothing before or after a comma");
    }
    absl::StatusOr<Address> address = Address::Parse(one);
    if (!address.ok()) return address.status();
    addresses.push_back(*address);
    if (comma == rest.npos) return addresses;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace sluice
