// Tests of the chat's own client: it sends standard input to the room, and prints the room's lines.

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/tests/e2e/chat_member.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/listener.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

// A running chat_client; the constructor returns when it has been greeted.
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

// The client ends with 1 and, after its log lines, one line with the reason on stderr.
void ExpectFailure(Process& process) {
  EXPECT_EQ(process.Wait(), 1);
  const std::string error = process.StandardError();
  const size_t word = error.rfind("chat_client: ");
  ASSERT_NE(word, std::string::npos) << error;
  EXPECT_EQ(error.find('\n', word), error.size() - 1) << error;
  EXPECT_EQ(error.find("chat_client: "), word) << error;
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

TEST(ChatClient, EndOfInputSendsAllAndExitsZero) {
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
  const std::string error = client.StandardError();
  EXPECT_NE(error.find("connect to " + address + ": Connection refused\n"), std::string::npos)
      << error;
  EXPECT_NE(error.find("cannot connect to " + address), std::string::npos) << error;
  EXPECT_EQ(client.StandardOutput(), "");
}

TEST(ChatClient, SaysWhatIsWrongWithItsArguments) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"nonsense"},
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

// In a network of its own, to avoid any other running chat.
TEST(ChatClient, WithoutAnAddressUsesTheDefaultChatAddress) {
  Process may("/usr/bin/unshare", {"--map-root-user", "--net", "/bin/true"});
  if (may.Wait() != 0) GTEST_SKIP() << "no network namespace can be made: " << may.StandardError();
  Process client("/usr/bin/unshare", {"--map-root-user", "--net", ExamplePath("chat_client")},
                 {.input_pipe = true});
  ExpectFailure(client);
  EXPECT_NE(client.StandardError().find("cannot connect to 127.0.0.1:7000"), std::string::npos)
      << client.StandardError();
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

// A chat_client of which the test is the server, and does not greet it.
class Typist {
 public:
  explicit Typist(const Listener& listener)
      : client(ExamplePath("chat_client"), {listener.address()}, {.input_pipe = true}) {}
  ~Typist() {
    client.Signal(SIGKILL);  // A client that still types would wait forever.
    if (thread_.joinable()) thread_.join();
  }
  // On a thread of its own, as a pipe holds little.
  void Type(std::string text) {
    thread_ = std::thread([this, text = std::move(text)] {
      // SIGPIPE blocked: a client that ends meanwhile must not end the test.
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
      if (client.WriteInput(text)) client.CloseInput();
      done = true;
    });
  }
  Process client;
  std::atomic<bool> done = false;

 private:
  std::thread thread_;
};

TEST(ChatClient, SaysWhatIsTypedBeforeTheConnectionStands) {
  for (int i = 0; i < 10; ++i) {
    Listener listener;
    Typist typist(listener);
    typist.Type("hello\n");
    Client server = listener.Accept();
    EXPECT_EQ(server.ReadUntilEof(), "hello\n");
    server.Close();
    EXPECT_EQ(typist.client.Wait(), 0) << typist.client.StandardError();
  }
}

TEST(ChatClient, LosesNothingTowardsAServerThatReadsLate) {
  ListenerOptions options;
  options.receive_buffer_bytes = 16 * 1024;
  Listener listener(options);
  Typist typist(listener);
  std::string text;
  for (int i = 0; text.size() < 13'000'000; ++i) text += "line " + std::to_string(i) + "\n";
  typist.Type(text);
  Client server = listener.Accept();
  // Late: when all has been typed, or typing has stopped.
  WaitFor([&] { return typist.done.load(); }, absl::Seconds(2));
  EXPECT_FALSE(typist.done) << "it takes what it cannot pass on";
  EXPECT_TRUE(SameBytes(text, server.ReadUntilEof()));
  server.Close();
  EXPECT_EQ(typist.client.Wait(), 0) << typist.client.StandardError();
}

TEST(ChatClient, SaysThatSomethingWasLost) {
  ListenerOptions options;
  options.receive_buffer_bytes = 16 * 1024;
  Listener listener(options);
  Typist typist(listener);
  typist.Type(std::string(13'000'000, 'x') + "\n");
  Client server = listener.Accept();
  EXPECT_EQ(server.ReadExactly(1'000).size(), 1'000u);
  server.Reset();
  ExpectFailure(typist.client);
}

// The client has sent /quit, and does not know whether the server handled it.
TEST(ChatClient, ResetAfterQuitIsAFailure) {
  Listener listener;
  Typist typist(listener);
  const std::string text = "hello\n/quit\n";
  ASSERT_TRUE(typist.client.WriteInput(text));
  Client server = listener.Accept();
  EXPECT_EQ(server.ReadExactly(text.size()), text);
  server.Reset();
  ExpectFailure(typist.client);
}

TEST(ChatClient, SaysThatItsInputCannotBeRead) {
  Listener listener;
  // The client may end before its connection stands, so the test accepts none.
  Process client("/bin/sh",
                 {"-c", "exec \"$0\" \"$1\" < /", ExamplePath("chat_client"), listener.address()});
  ExpectFailure(client);
  EXPECT_NE(client.StandardError().find("Is a directory"), std::string::npos)
      << client.StandardError();
}

// The parent process may have left standard input non-blocking.
TEST(ChatClient, WaitsForInputThatDoesNotBlock) {
  Listener listener;
  Process client(ExamplePath("chat_client"), {listener.address()},
                 {.input_pipe = true, .input_nonblocking = true});
  Client server = listener.Accept();
  EXPECT_TRUE(client.WriteInput("hello\n"));
  EXPECT_EQ(server.ReadExactly(6), "hello\n");
  client.CloseInput();
  EXPECT_EQ(server.ReadUntilEof(), "");
  server.Close();
  EXPECT_EQ(client.Wait(), 0) << client.StandardError();
}

TEST(ChatClient, SendsALineLongerThanItsOutputLimit) {
  Listener listener;
  Typist typist(listener);
  const std::string line = std::string(1'500'000, 'x') + "\n";
  typist.Type(line + "after it");
  Client server = listener.Accept();
  EXPECT_TRUE(SameBytes(line + "after it\n", server.ReadUntilEof()));
  server.Close();
  EXPECT_EQ(typist.client.Wait(), 0) << typist.client.StandardError();
}

TEST(ChatClient, EndlessLineTakesNoMoreMemory) {
  Listener listener;
  Typist typist(listener);
  constexpr size_t kBytes = 64 * 1024 * 1024;
  typist.Type(std::string(kBytes, 'x'));
  Client server = listener.Accept();
  EXPECT_EQ(server.ReadUntilEof().size(), kBytes + 1);
  if (!kSanitized) {
    EXPECT_LT(typist.client.ResidentBytes(), int64_t{kBytes} / 2);
  }
  server.Close();
  EXPECT_EQ(typist.client.Wait(), 0) << typist.client.StandardError();
}

}  // namespace
}  // namespace sluice::e2e
