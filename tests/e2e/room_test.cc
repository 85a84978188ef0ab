// Tests of the room, the smallest chat: what is said is heard by all others, in order; whatever is
// not said or not heard is reported; and one member's fault is its own.

#include <signal.h>

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

// A client that is in the room: it has read its greeting.
Client Member(const Server& server, std::string_view number, const ClientOptions& options = {}) {
  Client client(server.address(), options);
  EXPECT_EQ(client.ReadLine(), "You are member " + std::string(number) + ". Say something.");
  return client;
}

TEST(Room, TwoMembersHearEachOtherInOrder) {
  Server server("room");
  Client ada = Member(server, "1");
  Client bob = Member(server, "2");
  std::string said;
  for (int i = 0; i < 100; ++i) said += "line " + std::to_string(i) + "\n";
  ASSERT_TRUE(ada.Send(said));
  for (int i = 0; i < 100; ++i) ASSERT_EQ(bob.ReadLine(), "1: line " + std::to_string(i));
  ASSERT_TRUE(bob.Send("hello\r\n\n"));
  EXPECT_EQ(ada.ReadLine(), "2: hello");
  EXPECT_EQ(ada.ReadLine(), "2: ");
  EXPECT_FALSE(bob.Readable()) << "a member does not hear itself";
}

TEST(Room, ALineWithoutEndEndsOnlyItsConnection) {
  Server server("room");
  Client ada = Member(server, "1");
  Client bob = Member(server, "2");
  Client eve = Member(server, "3");
  ASSERT_TRUE(eve.Send(std::string(1'000, 'x')));  // As long as a line may be.
  ASSERT_TRUE(eve.WaitUntilArrived());
  ASSERT_TRUE(ada.Send("good\n"));
  EXPECT_EQ(eve.ReadLine(), "1: good");
  ASSERT_TRUE(eve.Send(std::string(100'000, 'x')));
  EXPECT_EQ(eve.ReadLine(), "error: a line has at most 1000 bytes");
  EXPECT_EQ(eve.ReadLine(), "<eof>");
  ASSERT_TRUE(ada.Send("still here\n"));
  EXPECT_EQ(bob.ReadLine(), "1: good");
  EXPECT_EQ(bob.ReadLine(), "1: still here");
}

TEST(Room, AHalfClosedMemberSaysItsLastLine) {
  Server server("room");
  Client ada = Member(server, "1");
  Client bob = Member(server, "2");
  ASSERT_TRUE(bob.Send("before\n"));
  EXPECT_EQ(ada.ReadLine(), "2: before");
  ASSERT_TRUE(ada.Send("one\nlast, without an end"));
  ada.ShutdownWrite();
  EXPECT_EQ(bob.ReadLine(), "1: one");
  EXPECT_EQ(bob.ReadLine(), "1: last, without an end");
  EXPECT_EQ(ada.ReadUntilEof(), "");
  EXPECT_EQ(ada.end(), End::kEof);
  Client carol = Member(server, "3");
  ASSERT_TRUE(bob.Send("with carol\n"));
  EXPECT_EQ(carol.ReadLine(), "2: with carol");
}

// Ada goes on only when Bob has heard her, so Bob misses nothing. Sam does not read meanwhile: when
// he does, each line was either received or counted.
TEST(Room, AMemberThatReadsLateLearnsWhatItMissed) {
  constexpr int kLines = 10'000;  // 9 MB: more than the kernel and the server keep for one member.
  Server server("room");
  Client ada = Member(server, "1");
  Client bob = Member(server, "2");
  Client sam = Member(server, "3", {.receive_buffer_bytes = 4096});
  const int64_t memory = server.ResidentBytes();
  const std::string filler(900, '.');
  int said = 0;
  int heard = 0;
  const auto talk = [&](int lines) {
    std::string text;
    for (int i = 0; i < lines; ++i) text += std::to_string(++said) + " " + filler + "\n";
    ASSERT_TRUE(ada.Send(text));
    while (heard < said) {
      ASSERT_EQ(bob.ReadLine(), "1: " + std::to_string(heard + 1) + " " + filler);
      ++heard;
    }
  };
  while (said < kLines) ASSERT_NO_FATAL_FAILURE(talk(50));
  EXPECT_TRUE(server.GrewAtMost(16 * kMebibyte, memory));
  int received = 0;
  int missed = 0;
  // A notice comes in the place of the lines, at the latest before the next line: the newest line
  // accounts for all before it.
  ASSERT_NO_FATAL_FAILURE(talk(1));
  while (received + missed < said) {
    const std::string line = sam.ReadLine();
    ASSERT_NE(line.substr(0, 1), "<") << line << " after " << received << " and " << missed;
    if (line.starts_with("* missed ")) {
      missed += std::atoi(line.c_str() + 9);
      continue;
    }
    ++received;
    ASSERT_EQ(line, "1: " + std::to_string(received + missed) + " " + filler);
  }
  EXPECT_GT(missed, 0);
  EXPECT_EQ(received + missed, said);
}

TEST(Room, SigtermDeliversWhatWasSaidThenEnds) {
  for (const int number : {SIGTERM, SIGINT}) {
    Server server("room", {"--drain_timeout=20s"});
    Client ada = Member(server, "1");
    Client bob = Member(server, "2");
    std::string said;
    for (int i = 0; i < 1'000; ++i) said += "line " + std::to_string(i) + "\n";
    ASSERT_TRUE(ada.Send(said));
    ASSERT_TRUE(ada.WaitUntilArrived());
    server.Signal(number);
    for (int i = 0; i < 1'000; ++i) ASSERT_EQ(bob.ReadLine(), "1: line " + std::to_string(i));
    EXPECT_EQ(bob.ReadLine(), "<eof>");
    EXPECT_EQ(ada.ReadLine(), "<eof>");
    ada.Close();
    bob.Close();
    EXPECT_EQ(server.Wait(), 0);
  }
}

}  // namespace
}  // namespace sluice::e2e
