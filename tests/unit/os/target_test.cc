#include "sluice/core/os/target.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "sluice/tests/support/forwarding_os.h"

namespace sluice::testing::target_test {
namespace {

// A resolver that answers as the test says.
class NamesOs : public testing::ForwardingOs {
 public:
  int Resolve(const std::string& host, std::vector<sockaddr_storage>* addresses) override {
    asked = host;
    for (const char* text : {"10.0.0.2:0", "[fd00::2]:0"}) {
      if (result != 0) break;
      const Address address = *Address::Parse(text);
      std::memcpy(&addresses->emplace_back(), address.sockaddr(), address.size());
    }
    return result;
  }
  std::string asked;
  int result = 0;
};

TEST(Target, TakesAddressesAndNames) {
  for (const char* address :
       {"127.0.0.1:80", "[::1]:80", "unix:/run/a", "unix:@a", "localhost:1"}) {
    const absl::StatusOr<Target> target = Target::Parse(address);
    ASSERT_TRUE(target.ok()) << target.status();
    EXPECT_FALSE(target->IsName()) << address;
  }
  for (const char* name : {"api.example.org:443", "a:0", "a-b.c_d.e1:65535", "example.org.:80"}) {
    const absl::StatusOr<Target> target = Target::Parse(name);
    ASSERT_TRUE(target.ok()) << target.status();
    EXPECT_TRUE(target->IsName()) << name;
    EXPECT_EQ(target->ToString(), name);
  }
}

TEST(Target, RefusesWhatIsNeitherAndSaysWhatIsTaken) {
  for (const std::string_view text :
       {std::string(), std::string("api.example.org"), std::string("api.example.org:"),
        std::string("api.example.org:65536"), std::string("api.example.org:+1"),
        std::string("300.1.1.1:80"), std::string("-a.org:80"), std::string("a-.org:80"),
        std::string("a..org:80"), std::string("a b:80"), std::string("http://a.org:80"),
        std::string(64, 'a') + ":80", std::string("unix:"), std::string("::1:80")}) {
    const absl::StatusOr<Target> target = Target::Parse(text);
    ASSERT_FALSE(target.ok()) << text;
    EXPECT_NE(std::string(target.status().message()).find("NAME:PORT"), std::string::npos) << text;
  }
}

TEST(Target, SaysWhatIsWrongWithAName) {
  for (const std::string& host : {std::string("a..org"), std::string("-a.org"),
                                  std::string("a-.org"), std::string(64, 'a')}) {
    const absl::StatusOr<Target> target = Target::Parse(host + ":80");
    ASSERT_FALSE(target.ok()) << host;
    EXPECT_NE(
        std::string(target.status().message()).find("is not a host name: each part between dots"),
        std::string::npos)
        << target.status();
  }
  const absl::StatusOr<Target> control = Target::Parse("a..org:\x1b[2J\n");
  for (const char c : std::string(control.status().message())) EXPECT_GE(c, ' ');
}

TEST(Target, RefusesAMappedAddressWithAdvice) {
  const absl::StatusOr<Target> target = Target::Parse("[::ffff:127.0.0.1]:7003");
  ASSERT_FALSE(target.ok());
  EXPECT_NE(std::string(target.status().message()).find("write 127.0.0.1:7003"), std::string::npos)
      << target.status();
}

TEST(Target, LookUpKeepsTheOrderAndThePort) {
  NamesOs os;
  const auto found = Target::Parse("api.example.org:443")->LookUp(os);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(os.asked, "api.example.org");
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ((*found)[0].ToString(), "10.0.0.2:443");
  EXPECT_EQ((*found)[1].ToString(), "[fd00::2]:443");
}

TEST(Target, AsksNobodyForAnAddress) {
  NamesOs os;
  const auto found = Target::Parse("127.0.0.1:80")->LookUp(os);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(os.asked, "");
  EXPECT_EQ(found->at(0).ToString(), "127.0.0.1:80");
}

TEST(Target, TellsNoSuchNameFromNoAnswer) {
  NamesOs os;
  os.result = -ENOENT;
  EXPECT_TRUE(absl::IsNotFound(Target::Parse("a.org:1")->LookUp(os).status()));
  os.result = -EAGAIN;
  const absl::Status silent = Target::Parse("a.org:1")->LookUp(os).status();
  EXPECT_TRUE(absl::IsUnavailable(silent));
  EXPECT_EQ(silent.message(), "looking up a.org: Resource temporarily unavailable");
}

// Answered from this machine's own files, so no network is asked.
TEST(Target, LinuxKnowsLocalhost) {
  std::vector<sockaddr_storage> addresses;
  ASSERT_EQ(LinuxOs().Resolve("localhost", &addresses), 0);
  ASSERT_FALSE(addresses.empty());
  for (const sockaddr_storage& address : addresses) {
    EXPECT_TRUE(address.ss_family == AF_INET || address.ss_family == AF_INET6);
  }
}

}  // namespace
}  // namespace sluice::testing::target_test
