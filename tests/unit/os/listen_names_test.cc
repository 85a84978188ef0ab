#include "sluice/core/os/listen_names.h"

#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace sluice {
namespace {

// "name:addresses" of each entry.
std::string Split(std::string_view text) {
  std::string all;
  for (const NamedAddresses& one : SplitByName(text)) all += one.name + ">" + one.addresses + " ";
  return all;
}

TEST(ListenNames, AddressesWithoutANameAreOneEntry) {
  EXPECT_EQ(Split(""), "");
  EXPECT_EQ(Split("127.0.0.1:80,[::1]:80"), ">127.0.0.1:80,[::1]:80 ");
}

TEST(ListenNames, ANameHoldsUpToTheNextOne) {
  EXPECT_EQ(Split("http=127.0.0.1:80,[::1]:80, admin=unix:/run/a"),
            "http>127.0.0.1:80,[::1]:80 admin>unix:/run/a ");
  EXPECT_EQ(Split("127.0.0.1:1,a=127.0.0.1:2,b=127.0.0.1:3,a=127.0.0.1:4"),
            ">127.0.0.1:1 a>127.0.0.1:2,127.0.0.1:4 b>127.0.0.1:3 ");
}

TEST(ListenNames, ANameEndsWithItsFlag) {
  EXPECT_EQ(Split("http=127.0.0.1:1,127.0.0.1:2;127.0.0.1:3;b=127.0.0.1:4"),
            "http>127.0.0.1:1,127.0.0.1:2 >127.0.0.1:3 b>127.0.0.1:4 ");
}

TEST(ListenNames, AnEqualsSignInAPathIsNoName) {
  EXPECT_EQ(Split("unix:/tmp/a=b"), ">unix:/tmp/a=b ");
  EXPECT_EQ(Split("x=unix:/tmp/a=b"), "x>unix:/tmp/a=b ");
}

TEST(ListenNames, MistakesAreLeftToTheParserOfAddresses) {
  EXPECT_EQ(Split(","), ">, ");
  EXPECT_EQ(Split("http="), "http> ");
  EXPECT_EQ(Split("=127.0.0.1:80"), ">=127.0.0.1:80 ");
}

}  // namespace
}  // namespace sluice
