// Every server takes the same flags and says in one line what is wrong with one.

#include <algorithm>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

class Flags : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Servers, Flags, testing::Values("echo", "discard", "chat", "relay"),
                         [](const auto& info) { return info.param; });

// Behind what it needs to start at all.
std::vector<std::string> WithNeeded(const std::string& program, std::vector<std::string> flags) {
  if (program == "relay") flags.insert(flags.begin(), "--upstream=127.0.0.1:1");
  return flags;
}

void ExpectOneClearLine(const std::string& program, const std::vector<std::string>& flags,
                        const std::string& word) {
  Process process(ExamplePath(program), WithNeeded(program, flags));
  const std::string what = program + " " + flags.back();
  const int code = process.Wait(absl::Seconds(10)).value_or(0);
  EXPECT_TRUE(code > 0 && code < 126) << what << " ends with " << code << " (0: not at all)";
  const std::string error = process.StandardError();
  EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << what << " says:\n" << error;
  EXPECT_NE(error.find(word), std::string::npos) << what << " says:\n" << error;
  EXPECT_EQ(process.StandardOutput(), "") << what;
}

TEST_P(Flags, AllAreAccepted) {
  Server server(GetParam(), WithNeeded(GetParam(), {"--workers=3", "--max_connections=100",
                                                    "--at_limit=evict_idle", "--accept_rate=1000",
                                                    "--idle_timeout=1m", "--lifetime_timeout=1h",
                                                    "--half_closed_timeout=1m",
                                                    "--drain_timeout=2s", "--log_level=debug"}));
  Client client(server.address());
  EXPECT_TRUE(client.connected());
  client.Close();
  EXPECT_EQ(server.Stop(), 0);
}

TEST_P(Flags, AnUnknownFlagIsNamed) {
  ExpectOneClearLine(GetParam(), {"--listen=127.0.0.1:0", "--no_such_flag=1"}, "no_such_flag");
}

TEST_P(Flags, AnArgumentThatIsNoFlagIsNamed) {
  ExpectOneClearLine(GetParam(), {"--listen=127.0.0.1:0", "stray"}, "stray");
}

TEST_P(Flags, ABadValueIsNamed) {
  for (const char* flag : {"--workers=0",
                           "--workers=-1",
                           "--workers=many",
                           "--workers=1000000000",
                           "--max_connections=0",
                           "--max_connections=-5",
                           "--max_connections=x",
                           "--at_limit=maybe",
                           "--accept_rate=-1",
                           "--accept_rate=x",
                           "--half_closed_timeout=0",
                           "--idle_timeout=soon",
                           "--idle_timeout=-1s",
                           "--lifetime_timeout=5",
                           "--drain_timeout=-1s",
                           "--drain_timeout=",
                           "--log_level=loud",
                           "--unix_mode=rw",
                           "--unix_mode=0888",
                           "--unix_mode=01777",
                           "--memory=1MB",
                           "--memory=-1",
                           "--memory=lots"}) {
    const std::string text = flag;
    ExpectOneClearLine(GetParam(), {"--listen=127.0.0.1:0", text},
                       text.substr(2, text.find('=') - 2));
  }
}

TEST_P(Flags, ABadAddressIsNamed) {
  for (const char* address :
       {"nonsense", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1:0x10",
        "300.1.1.1:0", "::1:0", "[::1]", "[::1:0", "[zz]:0", "unix:", "unix:@"}) {
    ExpectOneClearLine(GetParam(), {"--listen=" + std::string(address)}, address);
  }
  // One bad address among good ones; an empty one; and a path that no UNIX address has room for.
  ExpectOneClearLine(GetParam(), {"--listen=127.0.0.1:0,nonsense"}, "nonsense");
  ExpectOneClearLine(GetParam(), {"--listen=127.0.0.1:0,,127.0.0.1:0"}, "address");
  ExpectOneClearLine(GetParam(), {"--listen=unix:/tmp/" + std::string(200, 'x')}, "xxx");
}

TEST_P(Flags, AnAddressOfAnotherMachineIsNamed) {
  ExpectOneClearLine(GetParam(), {"--listen=192.0.2.1:0"}, "192.0.2.1");
}

TEST(ChatFlags, TheirBadValuesAreNamedToo) {
  for (const char* flag : {"--max_line=0", "--max_line=-1", "--max_line=x", "--slow=sometimes",
                           "--queue=0", "--queue=-3", "--queue=x"}) {
    const std::string text = flag;
    ExpectOneClearLine("chat", {"--listen=127.0.0.1:0", text}, text.substr(2, text.find('=') - 2));
  }
}

}  // namespace
}  // namespace sluice::e2e
