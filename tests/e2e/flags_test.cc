// Every server takes the same flags, and prints one line that says what is wrong with a flag.

#include <algorithm>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/listener.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

class Flags : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Servers, Flags, testing::Values("echo", "discard", "chat", "relay"),
                         [](const auto& info) { return info.param; });

// Adds the flags that the program needs to start at all. A relay with a refusing upstream would
// reset each client, some before they have seen that they are connected.
std::vector<std::string> WithNeeded(const std::string& program, std::vector<std::string> flags) {
  static const Listener upstream;
  if (program == "relay") flags.insert(flags.begin(), "--upstream=" + upstream.address());
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

// Returns the program's stdout; its stderr must be empty.
std::string AnswerOf(const std::string& program, const std::string& flag) {
  Process process(ExamplePath(program), {flag});
  EXPECT_EQ(process.Wait().value_or(-1), 0) << program << " " << flag;
  EXPECT_EQ(process.StandardError(), "") << program << " " << flag;
  return process.StandardOutput();
}

TEST_P(Flags, HelpIsPrintedWithoutAFault) {
  for (const char* flag : {"--help", "-h", "-help", "--helpfull"}) {
    const std::string help = AnswerOf(GetParam(), flag);
    EXPECT_NE(help.find("usage: " + GetParam()), std::string::npos) << flag << "\n" << help;
    for (const char* name : {"--listen=", "--idle_timeout=inf", "--write_stalled_timeout=1m"}) {
      EXPECT_NE(help.find(name), std::string::npos) << flag << "\n" << help;
    }
  }
  // Also after a wrong flag: the user asks for the right ones.
  Process process(ExamplePath(GetParam()), {"--no_such_flag", "--help"});
  EXPECT_EQ(process.Wait().value_or(-1), 0);
}

TEST_P(Flags, TheVersionIsPrintedWithoutAFault) {
  const std::string text = AnswerOf(GetParam(), "--version");
  EXPECT_EQ(text.find(GetParam() + " (Sluice "), 0u) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

TEST_P(Flags, ASecondListenIsServedToo) {
  TempDir folder;
  const std::string unix = "unix:" + folder.Path("socket");
  Process process(ExamplePath(GetParam()),
                  WithNeeded(GetParam(), {"--listen=127.0.0.1:0", "--listen=" + unix}));
  const std::string first = process.ReadOutputLine().value_or("nothing");
  const std::string second = process.ReadOutputLine().value_or("nothing");
  EXPECT_EQ(first.find("listening on 127.0.0.1:"), 0u) << first;
  EXPECT_EQ(second, "listening on " + unix);
}

TEST_P(Flags, ANumberWithoutAUnitIsSeconds) {
  Server server(GetParam(), WithNeeded(GetParam(), {"--idle_timeout=0.05", "--lifetime_timeout=60",
                                                    "--drain_timeout=2"}));
  if (GetParam() == "relay") return;  // The client ends with its upstream.
  Client client(server.address());
  client.ReadUntilEof();
  EXPECT_NE(client.end(), End::kTimeout);
}

TEST_P(Flags, EveryTimeOutIsAFlag) {
  Server server(
      GetParam(),
      WithNeeded(GetParam(), {"--shed_after=2", "--linger_timeout=3s", "--probe_after=1s",
                              "--slow_handler=20ms", "--close_timeout=1m",
                              "--write_stalled_timeout=30", "--keepalive_idle=20s",
                              "--keepalive_interval=2s", "--unacknowledged_timeout=30s"}));
  EXPECT_TRUE(Client(server.address()).connected());
}

TEST_P(Flags, BytesMayHaveTheUsualUnits) {
  for (const char* bytes : {"64M", "64MB", "64MiB", "64m", "65536K", "65536kB", "1G", "1GiB", "1TB",
                            "67108864", "67108864B"}) {
    Server server(GetParam(), WithNeeded(GetParam(), {std::string("--memory=") + bytes}));
    EXPECT_TRUE(server.Running()) << bytes;
  }
}

TEST_P(Flags, AnUnknownFlagIsNamed) {
  ExpectOneClearLine(GetParam(), {"--listen=127.0.0.1:0", "--no_such_flag=1"}, "no_such_flag");
}

TEST_P(Flags, AnArgumentThatIsNoFlagIsNamed) {
  ExpectOneClearLine(GetParam(), {"--listen=127.0.0.1:0", "stray"}, "stray");
}

TEST_P(Flags, AnUnknownFlagIsNamedWithWhereTheFlagsAre) {
  for (const char* flag : {"--no_such_flag", "-no_such_flag=1", "--noworkers", "--list"}) {
    ExpectOneClearLine(GetParam(), {"--listen=127.0.0.1:0", flag}, "--help lists the flags");
  }
}

// A terminal obeys them: an error must not pass them on.
TEST_P(Flags, ControlCharactersInAnArgumentAreNotPrinted) {
  for (const char* argument : {"--\033[31mred", "--workers=\033[31mred", "stray\033[31m"}) {
    ExpectOneClearLine(GetParam(), {"--listen=127.0.0.1:0", argument}, "\\x1b[31m");
  }
  ExpectOneClearLine(GetParam(), {"--listen=127.0.0.1:0", "--workers", "\033[31mred"}, "\\x1b[31m");
}

TEST_P(Flags, TheValueMayStandBehindTheFlag) {
  Server server(GetParam(), WithNeeded(GetParam(), {"--workers", "2", "--accept_rate", "5"}));
  EXPECT_TRUE(server.Running());
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
                           "--idle_timeout=nan",
                           "--lifetime_timeout=5 parsecs",
                           "--drain_timeout=-1s",
                           "--drain_timeout=",
                           "--log_level=loud",
                           "--unix_mode=rw",
                           "--unix_mode=0888",
                           "--unix_mode=01777",
                           "--memory=1MB",
                           "--memory=-1",
                           "--memory=64Q",
                           "--memory=64iB",
                           "--memory=M",
                           "--memory=9999999999TB",
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
  // A bad address among good ones; an empty one; and a path that is too long for a UNIX address.
  ExpectOneClearLine(GetParam(), {"--listen=127.0.0.1:0,nonsense"}, "nonsense");
  ExpectOneClearLine(GetParam(), {"--listen=127.0.0.1:0,,127.0.0.1:0"}, "address");
  ExpectOneClearLine(GetParam(), {"--listen=unix:/tmp/" + std::string(200, 'x')}, "xxx");
}

TEST_P(Flags, AnAddressOfAnotherMachineIsNamed) {
  ExpectOneClearLine(GetParam(), {"--listen=192.0.2.1:0"}, "192.0.2.1");
}

TEST(ChatFlags, TheirBadValuesAreNamedToo) {
  for (const char* flag : {"--max_line=0", "--max_line=-1", "--max_line=x", "--slow=sometimes",
                           "--queue=0", "--queue=-3", "--queue=x", "--park_timeout=0"}) {
    const std::string text = flag;
    ExpectOneClearLine("chat", {"--listen=127.0.0.1:0", text}, text.substr(2, text.find('=') - 2));
  }
}

TEST(RelayFlags, ANumberWithoutAUnitIsSecondsThereToo) {
  Server server("relay", {"--upstream=127.0.0.1:1", "--connect_timeout=5"});
  EXPECT_TRUE(server.Running());
}

TEST(ChatClientFlags, HelpAndVersionNeedNoAddress) {
  for (const char* flag : {"--help", "-h"}) {
    EXPECT_NE(AnswerOf("chat_client", flag).find("chat_client [ADDRESS]"), std::string::npos);
  }
  EXPECT_EQ(AnswerOf("chat_client", "--version").find("chat_client (Sluice "), 0u);
  ExpectOneClearLine("chat_client", {"127.0.0.1:1", "--no_such_flag"}, "no_such_flag");
}

}  // namespace
}  // namespace sluice::e2e
