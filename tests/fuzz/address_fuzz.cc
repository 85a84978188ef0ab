// Addresses and targets from flags, and addresses from the kernel.
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/os/address.h"
#include "sluice/core/os/target.h"
#include "sluice/tests/fuzz/fuzz.h"

namespace sluice::testing {
namespace {

void ExpectRoundTrip(const Address& address) {
  const absl::StatusOr<Address> again = Address::Parse(address.ToString());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, address) << address.ToString();
  EXPECT_EQ(again->ToString(), address.ToString());
}

void ExpectRefusal(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  for (const char c : status.message()) EXPECT_GE(static_cast<unsigned char>(c), ' ') << status;
}

void FromText(std::string_view text) {
  const absl::StatusOr<Address> address = Address::Parse(text);
  if (address.ok()) {
    ExpectRoundTrip(*address);
    const absl::StatusOr<Address> copy =
        Address::FromSockaddr(address->sockaddr(), address->size());
    ASSERT_TRUE(copy.ok()) << copy.status();
    EXPECT_EQ(*copy, *address);
  } else {
    ExpectRefusal(address.status());
  }
  const absl::StatusOr<Target> target = Target::Parse(text);
  EXPECT_EQ(address.ok(), target.ok() && !target->IsName()) << target.status();
  if (target.ok()) {
    const absl::StatusOr<Target> again = Target::Parse(target->ToString());
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->ToString(), target->ToString());
  } else {
    ExpectRefusal(target.status());
  }
  const absl::StatusOr<std::vector<Address>> several = ParseAddresses(text);
  if (several.ok()) {
    EXPECT_EQ(several->size(), 1u + static_cast<size_t>(std::count(text.begin(), text.end(), ',')));
    for (const Address& one : *several) ExpectRoundTrip(one);
  } else {
    ExpectRefusal(several.status());
  }
}

// True: Parse has a text for it. address.h names the exceptions.
bool Sayable(const Address& address) {
  if (address.family() == AF_UNSPEC) return false;
  if (address.family() != AF_UNIX) return true;
  const size_t name_bytes = address.size() - offsetof(sockaddr_un, sun_path);
  const char* name = reinterpret_cast<const sockaddr_un*>(address.sockaddr())->sun_path;
  if (address.IsUnixPath())
    return name[0] != '@' && address.path().size() < sizeof(sockaddr_un::sun_path);
  return name_bytes > 1 && std::memchr(name + 1, '\0', name_bytes - 1) == nullptr;
}

void FromKernel(std::string_view bytes) {
  // As the kernel returns an address: in a buffer that is large enough, with a size of its own.
  sockaddr_storage storage = {};
  std::memcpy(&storage, bytes.data(), std::min(bytes.size(), sizeof(storage)));
  const auto size = static_cast<socklen_t>(std::min(bytes.size(), sizeof(sockaddr_un) + 1));
  const absl::StatusOr<Address> address =
      Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&storage), size);
  if (!address.ok()) return ExpectRefusal(address.status());
  (void)address->ToString();
  if (Sayable(*address)) ExpectRoundTrip(*address);
}

}  // namespace
}  // namespace sluice::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::testing::Reader reader(data, size);
  if (reader.Bool()) {
    sluice::testing::FromKernel(reader.TakeAll());
  } else {
    sluice::testing::FromText(reader.TakeAll());
  }
  return 0;
}
