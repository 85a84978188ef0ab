#include "sluice/core/os/target.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/os/mapped_ip4.h"
#include "sluice/core/os/os.h"

namespace sluice {

namespace {

constexpr size_t kNameBytesMax = 253;
constexpr size_t kLabelBytesMax = 63;
constexpr size_t kShownBytesMax = 100;  // An error shows at most this much of an address.

bool IsLabel(absl::string_view label) {
  return !label.empty() && label.size() <= kLabelBytesMax && label.front() != '-' &&
         label.back() != '-' && std::all_of(label.begin(), label.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
         });
}

// A last label of digits alone would make a wrong IPv4 address, not a name (RFC 3696, 2).
bool IsHostName(absl::string_view host) {
  absl::ConsumeSuffix(&host, ".");
  if (host.size() > kNameBytesMax) return false;
  const std::vector<absl::string_view> labels = absl::StrSplit(host, '.');
  return std::all_of(labels.begin(), labels.end(), IsLabel) &&
         !std::all_of(labels.back().begin(), labels.back().end(), absl::ascii_isdigit);
}

// Meant as a name, but not a valid one: an error about addresses would mislead.
bool LooksLikeName(absl::string_view host) {
  return std::any_of(host.begin(), host.end(), absl::ascii_isalpha) &&
         std::all_of(host.begin(), host.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' ||
                  c == '.';
         });
}

absl::Status Refused(const absl::Status& status) {
  return absl::InvalidArgumentError(absl::StrCat(status.message(), ", or NAME:PORT"));
}

}  // namespace

absl::StatusOr<Target> Target::Parse(std::string_view text) {
  const absl::StatusOr<Address> address = Address::Parse(text);
  if (address.ok()) {
    if (absl::Status mapped = RefuseMapped(*address); !mapped.ok()) return mapped;
    return Target(*address);
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || absl::StartsWith(ToAbsl(text), "unix:")) {
    return Refused(address.status());
  }
  const std::string_view host = text.substr(0, colon);
  const std::string_view port_text = text.substr(colon + 1);
  if (!IsHostName(ToAbsl(host)) && LooksLikeName(ToAbsl(host))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "address \"", absl::Utf8SafeCHexEscape(ToAbsl(text.substr(0, kShownBytesMax))),
        "\": this is not a host name: each part between dots has 1 to 63 letters, digits and "
        "hyphens, no hyphen first or last, and all parts at most 253 characters; write NAME:PORT"));
  }
  uint32_t port = 0;
  if (!IsHostName(ToAbsl(host)) || port_text.size() > 5 ||
      !std::all_of(port_text.begin(), port_text.end(), absl::ascii_isdigit) ||
      !absl::SimpleAtoi(ToAbsl(port_text), &port) || port > UINT16_MAX) {
    return Refused(address.status());
  }
  return Target(host, static_cast<uint16_t>(port));
}

absl::StatusOr<std::vector<Address>> Target::LookUp(Os& os) const {
  if (!IsName()) return std::vector<Address>{address_};
  std::vector<sockaddr_storage> found;
  const int result = os.Resolve(host_, &found);
  if (result == -ENOENT || (result == 0 && found.empty())) {
    return absl::NotFoundError(absl::StrCat("there is no host ", host_));
  }
  if (result < 0) {
    return absl::UnavailableError(
        absl::ErrnoToStatus(-result, absl::StrCat("looking up ", host_)).message());
  }
  std::vector<Address> addresses;
  for (sockaddr_storage& one : found) {
    const bool ip4 = one.ss_family == AF_INET;
    if (ip4) {
      reinterpret_cast<sockaddr_in*>(&one)->sin_port = htons(port_);
    } else {
      reinterpret_cast<sockaddr_in6*>(&one)->sin6_port = htons(port_);
    }
    const absl::StatusOr<Address> address = Address::FromSockaddr(
        reinterpret_cast<const sockaddr*>(&one), ip4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    if (address.ok()) addresses.push_back(*address);
  }
  return addresses;
}

std::string Target::ToString() const {
  return IsName() ? absl::StrCat(host_, ":", port_) : address_.ToString();
}

}  // namespace sluice
