#include "sluice/core/os/address.h"

#include <arpa/inet.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <random>
#include <type_traits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/base/strings.h"

namespace sluice::testing::address_test {
namespace {

using namespace std::string_view_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Round(std::string_view text) {
  const auto address = Address::Parse(text);
  return address.ok() ? address->ToString() : address.status().ToString();
}

std::string ErrorOf(std::string_view text) {
  const auto address = Address::Parse(text);
  if (address.ok()) return "accepted as " + address->ToString();
  EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(address.status().message()),
              AllOf(HasSubstr("address \""), HasSubstr("; write HOST:PORT")));
  return std::string(address.status().message());
}

Address Must(std::string_view text) { return Address::Parse(text).value(); }

TEST(Strings, ViewsCrossTheBorderWithoutCopy) {
  const std::string_view text = "a\0b"sv;
  EXPECT_EQ(ToAbsl(text).data(), text.data());
  EXPECT_EQ(ToAbsl(text).size(), 3u);
  EXPECT_EQ(ToStd(ToAbsl(text)), text);
  EXPECT_EQ(ToStd(absl::string_view()), "");
}

TEST(Address, IsAValueWithoutMemoryOfItsOwn) {
  EXPECT_TRUE(std::is_trivially_copyable_v<Address>);
  EXPECT_LE(sizeof(Address), 116u);
}

TEST(Address, ParsesIpv4) {
  const Address address = Must("127.0.0.1:7001");
  EXPECT_EQ(address.family(), AF_INET);
  EXPECT_EQ(address.port(), 7001);
  EXPECT_EQ(address.size(), sizeof(sockaddr_in));
  sockaddr_in ip4;
  std::memcpy(&ip4, address.sockaddr(), sizeof(ip4));
  EXPECT_EQ(ip4.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
  EXPECT_EQ(ip4.sin_port, htons(7001));
  EXPECT_FALSE(address.IsUnixPath());
  EXPECT_EQ(address.path(), "");
}

TEST(Address, TextRoundTrips) {
  for (const char* text :
       {"127.0.0.1:7001", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:7001", "[::]:0",
        "[2001:db8::1]:443", "[::ffff:1.2.3.4]:80", "[fe80::1%1]:80", "[fe80::1%4294967295]:80",
        "unix:/run/chat.sock", "unix:chat.sock", "unix:@chat", "unix:/with space", "unix:/a,b",
        "unix:@@", "unix:unix:", "unix:/a@b"}) {
    EXPECT_EQ(Round(text), text);
    const auto again = Address::Parse(Round(text));
    ASSERT_TRUE(again.ok()) << text;
    EXPECT_EQ(*again, Must(text));
  }
}

TEST(Address, LocalhostIsTheIpv4Loopback) {
  EXPECT_EQ(Round("localhost:80"), "127.0.0.1:80");
  EXPECT_EQ(Round("LocalHost:80"), "127.0.0.1:80");
}

TEST(Address, Ipv6IsWrittenInItsShortForm) {
  EXPECT_EQ(Round("[2001:0DB8:0:0:0:0:0:1]:1"), "[2001:db8::1]:1");
}

TEST(Address, ScopeMayBeTheNameOfAnInterface) {
  EXPECT_EQ(Round("[fe80::1%lo]:80"), "[fe80::1%1]:80");
}

TEST(Address, PortIsDecimalFrom0To65535Only) {
  EXPECT_EQ(Must("1.2.3.4:0").port(), 0);
  EXPECT_EQ(Must("1.2.3.4:65535").port(), 65535);
  for (const char* port :
       {"65536", "99999", "4294967296", "18446744073709551616", "-1", "+80", " 80", "80 ", "80x",
        "0x50", "007", "00", "http", "8 0", "80.", "\xd9\xa1"}) {
    for (const char* host : {"1.2.3.4:", "[::1]:"}) {
      EXPECT_THAT(ErrorOf(std::string(host) + port),
                  HasSubstr("is not a decimal number from 0 to 65535"))
          << port;
    }
  }
  EXPECT_THAT(ErrorOf("1.2.3.4:"), HasSubstr("the port is missing"));
  EXPECT_THAT(ErrorOf("[::1]:"), HasSubstr("the port is missing"));
}

TEST(Address, RefusalSaysWhatToDo) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("it is empty"));
  EXPECT_THAT(ErrorOf(":7001"), HasSubstr("write 0.0.0.0:7001"));
  EXPECT_THAT(ErrorOf("7001"), HasSubstr("write 0.0.0.0:7001"));
  EXPECT_THAT(ErrorOf("*:7001"), HasSubstr("write 0.0.0.0:7001 or [::]:7001"));
  EXPECT_THAT(ErrorOf("127.0.0.1"), HasSubstr("there is no :PORT"));
  EXPECT_THAT(ErrorOf("localhost"), HasSubstr("there is no :PORT"));
  EXPECT_THAT(ErrorOf("70000"), HasSubstr("there is no :PORT"));
  EXPECT_THAT(ErrorOf("example.com:80"), AllOf(HasSubstr("\"example.com\""),
                                               HasSubstr("only numeric addresses and localhost")));
  EXPECT_THAT(ErrorOf("tcp://1.2.3.4:80"), HasSubstr("leave out the scheme"));
  for (const char* text : {"256.1.1.1:80", "1.2.3:80", "1.2.3.4.5:80", "1.2.3.4.:80", "127.1:80",
                           "010.0.0.1:80", "2130706433:80", ".:1"}) {
    EXPECT_THAT(ErrorOf(text), HasSubstr("is not an IPv4 address")) << text;
  }
  for (const char* text : {" 1.2.3.4:80", "1.2.3.4 :80", "1.2.3.4\n:80", "local host:80", "-:1"}) {
    EXPECT_THAT(ErrorOf(text), HasSubstr("is not numeric")) << text;
  }
}

TEST(Address, Ipv6WithoutBracketsIsShownWithThem) {
  EXPECT_THAT(ErrorOf("::1"), HasSubstr("[::1]:PORT"));
  EXPECT_THAT(ErrorOf("::"), HasSubstr("[::]:PORT"));
  EXPECT_THAT(ErrorOf("2001:db8:0:0:0:0:0:1:80"),
              HasSubstr("needs brackets: [2001:db8:0:0:0:0:0:1]:80"));
  EXPECT_THAT(ErrorOf("fe80::1%lo:80"), HasSubstr("needs brackets: [fe80::1%lo]:80"));
  EXPECT_THAT(ErrorOf("::1:7001"), HasSubstr("needs brackets"));
}

TEST(Address, BadBracketsAreRefused) {
  EXPECT_THAT(ErrorOf("[::1:80"), HasSubstr("there is no ]"));
  EXPECT_THAT(ErrorOf("[::1]"), HasSubstr("there is no :PORT after ]"));
  EXPECT_THAT(ErrorOf("[::1]80"), HasSubstr("something other than :PORT after ]"));
  EXPECT_THAT(ErrorOf("[127.0.0.1]:80"), HasSubstr("brackets are for IPv6"));
  EXPECT_THAT(ErrorOf("[]:80"), HasSubstr("is not an IPv6 address"));
  EXPECT_THAT(ErrorOf("[::g]:80"), HasSubstr("is not an IPv6 address"));
  EXPECT_THAT(ErrorOf("[[::1]]:80"), HasSubstr("something other than :PORT"));
  EXPECT_THAT(ErrorOf("[" + std::string(500, '1') + "]:80"), HasSubstr("is not an IPv6 address"));
  for (const char* scope : {"", "0", "4294967296", "no_such_if", "a_name_longer_than_any", "01"}) {
    EXPECT_THAT(ErrorOf("[fe80::1%" + std::string(scope) + "]:80"),
                HasSubstr("no network interface"))
        << scope;
  }
}

TEST(Address, UnixPathMayHave107Bytes) {
  const std::string longest(107, 'p');
  const Address address = Must("unix:" + longest);
  EXPECT_EQ(address.family(), AF_UNIX);
  EXPECT_EQ(address.port(), 0);
  EXPECT_TRUE(address.IsUnixPath());
  EXPECT_EQ(address.path(), longest);
  EXPECT_EQ(address.size(), offsetof(sockaddr_un, sun_path) + 108);  // With its terminator.
  EXPECT_THAT(ErrorOf("unix:p" + longest),
              HasSubstr("the path has 108 bytes, and the kernel takes 107"));
  EXPECT_THAT(ErrorOf("unix:"), HasSubstr("no path after unix:"));
}

TEST(Address, AbstractNameMayHave107Bytes) {
  const std::string longest(107, 'n');
  const Address address = Must("unix:@" + longest);
  EXPECT_FALSE(address.IsUnixPath());
  EXPECT_EQ(address.path(), "");
  EXPECT_EQ(address.size(), offsetof(sockaddr_un, sun_path) + 108);  // A NUL before, none behind.
  EXPECT_EQ(address.ToString(), "unix:@" + longest);
  EXPECT_THAT(ErrorOf("unix:@n" + longest), HasSubstr("the name has 108 bytes"));
  EXPECT_THAT(ErrorOf("unix:@"), HasSubstr("no name after unix:@"));
}

TEST(Address, NulIsRefusedEverywhereAndShown) {
  for (std::string text : {"unix:/a#b", "unix:@a#", "unix:#", "1.2.3.4:80#", "1.2.3.4#:80", "#"}) {
    text[text.find('#')] = '\0';
    EXPECT_THAT(ErrorOf(text), AllOf(HasSubstr("NUL"), HasSubstr("\\x00"))) << text;
  }
}

TEST(Address, RefusalShowsNoControlByteOfTheInput) {
  for (const char* text : {"::1%a\n", "::1%\x1b[2J:80", "[::1%\t]:80", "\n:80", "1.2.3.4:\r"}) {
    for (const char c : ErrorOf(text)) EXPECT_GE(c, ' ') << text;
  }
}

TEST(Address, RefusalQuotesLittleOfALongInput) {
  EXPECT_LT(ErrorOf(std::string(100000, 'x')).size(), 400u);
}

TEST(Address, EqualityIsThatOfTheAddress) {
  EXPECT_EQ(Must("localhost:80"), Must("127.0.0.1:80"));
  EXPECT_NE(Must("127.0.0.1:80"), Must("127.0.0.1:81"));
  EXPECT_NE(Must("[fe80::1%1]:80"), Must("[fe80::1]:80"));
  EXPECT_NE(Must("unix:a"), Must("unix:@a"));
  EXPECT_NE(Must("unix:a"), Must("unix:ab"));
  EXPECT_EQ(Address(), Address());
  EXPECT_NE(Address(), Must("0.0.0.0:0"));
  EXPECT_EQ(Address().ToString(), "none");
}

TEST(Address, SockaddrRoundTripsAndPaddingDoesNotCount) {
  for (const char* text : {"1.2.3.4:5", "[fe80::1%7]:5", "unix:/x", "unix:@x"}) {
    const Address address = Must(text);
    unsigned char bytes[1 + sizeof(sockaddr_storage)];  // Unaligned on purpose.
    std::memset(bytes, 0xee, sizeof(bytes));
    std::memcpy(bytes + 1, address.sockaddr(), address.size());
    if (address.family() == AF_INET) std::memset(bytes + 1 + offsetof(sockaddr_in, sin_zero), 9, 8);
    if (address.family() == AF_INET6)
      std::memset(bytes + 1 + offsetof(sockaddr_in6, sin6_flowinfo), 9, 4);
    const auto again =
        Address::FromSockaddr(reinterpret_cast<::sockaddr*>(bytes + 1), address.size());
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(*again, address);
    EXPECT_EQ(again->ToString(), text);
  }
}

TEST(Address, SockaddrThatIsTooShortOrStrangeIsRefused) {
  sockaddr_storage storage = {};
  const auto* any = reinterpret_cast<::sockaddr*>(&storage);
  EXPECT_FALSE(Address::FromSockaddr(any, 0).ok());
  EXPECT_FALSE(Address::FromSockaddr(any, 1).ok());
  EXPECT_FALSE(Address::FromSockaddr(any, sizeof(storage)).ok());  // AF_UNSPEC.
  storage.ss_family = AF_INET;
  EXPECT_FALSE(Address::FromSockaddr(any, sizeof(sockaddr_in) - 1).ok());
  EXPECT_TRUE(Address::FromSockaddr(any, sizeof(storage)).ok());
  storage.ss_family = AF_INET6;
  EXPECT_FALSE(Address::FromSockaddr(any, sizeof(sockaddr_in6) - 1).ok());
  storage.ss_family = AF_PACKET;
  EXPECT_FALSE(Address::FromSockaddr(any, sizeof(storage)).ok());
}

TEST(Address, KernelsUnixNamesAreShownWhole) {
  sockaddr_un un = {};
  un.sun_family = AF_UNIX;
  const auto from = [&](size_t path_bytes) {
    return Address::FromSockaddr(
               reinterpret_cast<::sockaddr*>(&un),
               static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path_bytes))
        .value();
  };
  EXPECT_EQ(from(0).ToString(), "unix:");  // A client's socket that was not bound.
  EXPECT_FALSE(from(0).IsUnixPath());
  std::memcpy(un.sun_path, "\0a\0b\0", 5);
  EXPECT_EQ(from(5).ToString(), "unix:@a@b@");
  std::memcpy(un.sun_path, "/x\0junk", 7);
  EXPECT_EQ(from(7), Must("unix:/x"));
  EXPECT_EQ(from(2), Must("unix:/x"));  // Without terminator: legal, too.
  std::memset(un.sun_path, 'p', sizeof(un.sun_path));
  EXPECT_EQ(from(108).path(), std::string(108, 'p'));
  EXPECT_EQ(from(109).path(), std::string(108, 'p'));  // Linux reports this for such a path.
}

// The address given to bind() comes back from getsockname().
TEST(Address, KernelAgrees) {
  char folder[] = "/tmp/sluice_XXXXXX";  // Not TempDir(): Bazel's has more bytes than a path may.
  ASSERT_NE(mkdtemp(folder), nullptr);

  for (const std::string& text :
       {std::string("127.0.0.1:0"), "unix:@sluice_" + std::to_string(getpid()),
        "unix:" + std::string(folder) + "/address.sock"}) {
    const Address address = Must(text);
    const int fd = socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(bind(fd, address.sockaddr(), address.size()), 0) << text << ": " << strerror(errno);
    sockaddr_storage storage;
    socklen_t size = sizeof(storage);
    ASSERT_EQ(getsockname(fd, reinterpret_cast<::sockaddr*>(&storage), &size), 0);
    const auto bound = Address::FromSockaddr(reinterpret_cast<::sockaddr*>(&storage), size);
    ASSERT_TRUE(bound.ok()) << bound.status();
    if (address.family() == AF_UNIX) {
      EXPECT_EQ(*bound, address);
    } else {
      EXPECT_NE(bound->port(), 0);
    }
    close(fd);
    if (address.IsUnixPath()) unlink(std::string(address.path()).c_str());
  }
  rmdir(folder);
}

TEST(ParseAddresses, SplitsAtCommasAndIgnoresSpacesAround) {
  const auto addresses = ParseAddresses("127.0.0.1:80, [::1]:81 ,unix:@x");
  ASSERT_TRUE(addresses.ok()) << addresses.status();
  ASSERT_EQ(addresses->size(), 3u);
  EXPECT_EQ((*addresses)[0], Must("127.0.0.1:80"));
  EXPECT_EQ((*addresses)[1], Must("[::1]:81"));
  EXPECT_EQ((*addresses)[2], Must("unix:@x"));
}

TEST(ParseAddresses, OneBadAddressRefusesAllAndIsNamed) {
  const auto addresses = ParseAddresses("127.0.0.1:80,nowhere:81");
  ASSERT_FALSE(addresses.ok());
  EXPECT_THAT(std::string(addresses.status().message()), HasSubstr("address \"nowhere:81\""));
  for (const char* text :
       {"", " ", ",", "1.2.3.4:5,", ",1.2.3.4:5", "1.2.3.4:5,,1.2.3.4:6", "1.2.3.4:5, "}) {
    EXPECT_FALSE(ParseAddresses(text).ok()) << text;
  }
}

// The text of an accepted address is accepted again, as the same address.
TEST(Address, RandomTextNeverBreaksTheRoundTrip) {
  std::mt19937_64 random(7);
  const std::string_view alphabet = "0123456789.:[]%@unixlo/,fe \0\xff"sv;
  int accepted = 0;
  for (int i = 0; i < 200000; ++i) {
    static constexpr std::string_view kStems[] = {"",    "unix:",    "unix:@",
                                                  "[::", "1.2.3.4:", "[fe80::1%"};
    std::string text(kStems[random() % 6]);
    for (uint64_t n = random() % 12; n > 0; --n) text += alphabet[random() % alphabet.size()];
    const auto address = Address::Parse(text);
    if (!address.ok()) continue;
    ++accepted;
    const auto again = Address::Parse(address->ToString());
    ASSERT_TRUE(again.ok()) << text << ": " << again.status();
    ASSERT_EQ(*again, *address) << text;
  }
  EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace sluice::testing::address_test
