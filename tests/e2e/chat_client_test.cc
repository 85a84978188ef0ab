// The chat's own client: standard input to the room, the room to standard output.

#include <signal.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/tests/e2e/chat_member.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

// A running chat_client. It has been greeted when the constructor returns.
class ChatClient : public Process {
 public:
  explicit ChatClient(const std::string& address)
      : Process(ExamplePath("chat_client"), {address}, {.input_pipe = true}) {
    const std::string greeting = ReadOutputLine().value_or("nothing");
    EXPECT_EQ(greeting.substr(0, 7), "Welcome") << greeting << "\n" << StandardError();
  }
  testing::AssertionResult Prints(const std::string& wanted) {
    const Deadline deadline;
    for (std::optional<std::string> line; (line = ReadOutputLine(deadline)).has_value();) {
      if (*line == wanted) return testing::AssertionSuccess();
    }
    return testing::AssertionFailure() << "never printed \"" << wanted << "\" but\n"
                                       << StandardOutput() << StandardError();
  }
};

// A word on stderr that says why, in one line.
void ExpectFailure(Process& process) {
  EXPECT_EQ(process.Wait(), 1);
  const std::string error = process.StandardError();
  EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
}

TEST(ChatClient, CarriesLinesBothWays) {
  Server server("chat");
  Member alice(server, "alice");
  ChatClient client(server.address());
  ASSERT_TRUE(client.WriteInput("/nick bob\nhello\n"));
  EXPECT_TRUE(alice.Hears("bob: hello"));
  alice.Say("hello bob");
  EXPECT_TRUE(client.Prints("alice: hello bob"));
  EXPECT_TRUE(client.Running());
}

TEST(ChatClient, EndsWithZeroOnQuit) {
  Server server("chat");
  Member alice(server, "alice");
  ChatClient client(server.address());
  ASSERT_TRUE(client.WriteInput("/nick bob\ngoodbye\n/quit\n"));
  EXPECT_EQ(client.Wait(), 0);
  EXPECT_TRUE(alice.Hears("bob: goodbye"));
  EXPECT_TRUE(alice.Hears("* bob left"));
  EXPECT_EQ(client.StandardError(), "");
}

TEST(ChatClient, EndsWithZeroAtTheEndOfItsInputAndAllOfItIsSaid) {
  Server server("chat", {"--queue=4096"});
  Member alice(server, "alice");
  ChatClient client(server.address());
  std::string speech = "/nick bob\n";
  for (int i = 0; i < 1000; ++i) speech += "line " + std::to_string(i) + "\n";
  ASSERT_TRUE(client.WriteInput(speech));
  client.CloseInput();
  EXPECT_EQ(client.Wait(), 0);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(alice.HearLineThatStartsWith("bob: "), "bob: line " + std::to_string(i));
  }
  EXPECT_TRUE(alice.Hears("* bob left"));
}

TEST(ChatClient, PrintsWhatTheRoomSaidBeforeItEnds) {
  Server server("chat");
  ChatClient client(server.address());
  ASSERT_TRUE(client.WriteInput("/nick bob\n/who\n"));
  client.CloseInput();
  EXPECT_EQ(client.Wait(), 0);
  EXPECT_NE(client.StandardOutput().find("\nbob\n"), std::string::npos) << client.StandardOutput();
}

TEST(ChatClient, SaysThatTheServerWentAway) {
  Server server("chat");
  ChatClient client(server.address());
  server.Signal(SIGKILL);
  ExpectFailure(client);
}

TEST(ChatClient, SaysThatTheServerWentAwayAfterADrain) {
  Server server("chat", {"--drain_timeout=20s"});
  ChatClient client(server.address());
  server.Signal(SIGTERM);
  ExpectFailure(client);
  EXPECT_TRUE(client.Prints("* server is shutting down"));
  EXPECT_EQ(server.Wait(), 0);
}

TEST(ChatClient, SaysThatNobodyListens) {
  std::string address;
  {
    Server gone("chat");
    address = gone.address();
  }
  Process client(ExamplePath("chat_client"), {address}, {.input_pipe = true});
  ExpectFailure(client);
  EXPECT_NE(client.StandardError().find(address), std::string::npos) << client.StandardError();
  EXPECT_EQ(client.StandardOutput(), "");
}

TEST(ChatClient, SaysWhatIsWrongWithItsArguments) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{},
                                                    {"nonsense"},
                                                    {"127.0.0.1:0x"},
                                                    {"unix:"},
                                                    {"127.0.0.1:1", "127.0.0.1:2"},
                                                    {"--no_such_flag", "127.0.0.1:1"}}) {
    Process client(ExamplePath("chat_client"), arguments, {.input_pipe = true});
    const int code = client.Wait().value_or(0);
    EXPECT_TRUE(code > 0 && code < 126) << testing::PrintToString(arguments) << ": " << code;
    const std::string error = client.StandardError();
    EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
    EXPECT_EQ(client.StandardOutput(), "");
  }
}

TEST(ChatClient, ReachesEveryKindOfAddress) {
  TempDir folder;
  const std::string addresses[] = {"127.0.0.1:0", "[::1]:0", "unix:" + folder.Path("chat"),
                                   "unix:" + UniqueSocketName()};
  for (const std::string& address : addresses) {
    Server server("chat", {"--listen=" + address});
    ChatClient client(server.address());
    ASSERT_TRUE(client.WriteInput("/quit\n"));
    EXPECT_EQ(client.Wait(), 0) << address;
  }
}

TEST(ChatClient, TwoOfThemTalk) {
  Server server("chat");
  ChatClient bob(server.address());
  ASSERT_TRUE(bob.WriteInput("/nick bob\n"));
  ChatClient carol(server.address());
  ASSERT_TRUE(carol.WriteInput("/nick carol\nhi bob\n"));
  EXPECT_TRUE(bob.Prints("carol: hi bob"));
  ASSERT_TRUE(bob.WriteInput("hi carol\n"));
  EXPECT_TRUE(carol.Prints("bob: hi carol"));
}

TEST(ChatClient, RestsWhileNobodyTalks) {
  Server server("chat");
  Member alice(server, "alice");
  ChatClient client(server.address());
  EXPECT_TRUE(alice.HearLineThatStartsWith("* guest").ends_with(" joined"));
  const absl::Duration before = client.ProcessorTime();
  WaitFor([] { return false; }, absl::Seconds(1));
  EXPECT_LT(client.ProcessorTime() - before, absl::Milliseconds(500)) << "it spins";
  alice.Say("still there?");
  EXPECT_TRUE(client.Prints("alice: still there?"));
}

}  // namespace
}  // namespace sluice::e2e
