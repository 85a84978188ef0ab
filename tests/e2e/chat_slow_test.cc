// Tests of a member that does not read, under each policy: its lines are dropped or it is ended,
// and no other member suffers.

#include <signal.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/tests/e2e/chat_member.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

constexpr ClientOptions kSlow = {.receive_buffer_bytes = 4096};
constexpr size_t kLineBytes = 8000;
// 24 MB: far more than the kernel and the server together keep for one member.
constexpr int kManyLines = 3000;

std::string Numbered(int number) {
  std::string line = std::to_string(number) + " ";
  line.resize(kLineBytes, '.');
  return line;
}

// Counts the numbered lines that one member received from a publisher. The rule: when line N comes,
// all lines before it were received, or were counted in an earlier `* missed` line.
struct Account {
  explicit Account(std::string publisher_nick) : publisher(std::move(publisher_nick)) {}

  void Take(const std::string& line) {
    if (const int count = MissedIn(line); count >= 0) {
      EXPECT_GT(count, 0);
      missed += count;
    }
    const int number = NumberIn(line, publisher);
    if (number < 0) return;
    ++received;
    EXPECT_EQ(received + missed, number) << "received " << received << ", missed " << missed;
    EXPECT_EQ(line.size(), publisher.size() + 2 + kLineBytes) << number;
    last = number;
    numbers.push_back(number);
  }
  bool Received(int number) const {
    return std::binary_search(numbers.begin(), numbers.end(), number);
  }

  const std::string publisher;
  int received = 0;
  int missed = 0;
  int last = 0;
  std::vector<int> numbers;
};

// Alice talks, Bob listens, Sam does not read. Alice goes on only when Bob has read her lines: Bob
// is never slow, so he must not miss a single line under any policy.
struct Scene {
  Scene(const std::string& policy, int queue)
      : server("chat", {"--slow=" + policy, "--queue=" + std::to_string(queue)}),
        lines_at_once(std::clamp(queue / 2, 1, 8)),
        alice(server, "alice"),
        bob(server, "bob"),
        sam(server, "sam", kSlow) {
    alice.HearUntil([](const std::string& line) { return line.ends_with(" is now sam"); });
    memory = server.ResidentBytes();
  }

  // Sends numbered lines, until Bob has heard line `number`.
  void TalkUntil(int number) {
    while (said < number) {
      const int last = std::min(number, said + lines_at_once);
      while (said < last) alice.Say(Numbered(++said));
      while (heard_by_bob.last < said) {
        const std::string line = bob.client().ReadLine();
        ASSERT_NE(line.substr(0, 1), "<") << line << " after " << heard_by_bob.last;
        heard_by_bob.Take(line);
      }
    }
  }

  // Sam reads again, and Alice sends a line from time to time, until he has heard the newest.
  void SamCatchesUp() {
    const Deadline deadline;
    while (heard_by_sam.last < said && !deadline.Over()) {
      const std::string line = sam.client().ReadLine(Deadline(absl::Milliseconds(50)));
      ASSERT_NE(line, "<eof>");
      ASSERT_NE(line, "<reset>");
      if (line == "<timeout>") TalkUntil(said + 1);
      heard_by_sam.Take(line);
    }
    EXPECT_EQ(heard_by_sam.last, said) << "Sam never caught up";
  }

  Server server;
  const int lines_at_once;
  Member alice;
  Member bob;
  Member sam;
  int64_t memory = 0;
  int said = 0;
  Account heard_by_bob{"alice"};
  Account heard_by_sam{"alice"};
};

class ChatSlow : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Queue, ChatSlow, testing::Values(1, 16, 256),
                         testing::PrintToStringParamName());

TEST_P(ChatSlow, DropOldestKeepsNewestAndCountsTheMissed) {
  const int queue = GetParam();
  Scene scene("drop_oldest", queue);
  scene.TalkUntil(kManyLines);
  EXPECT_TRUE(scene.server.GrewAtMost(16 * kMebibyte, scene.memory));
  scene.SamCatchesUp();
  EXPECT_GT(scene.heard_by_sam.missed, 0);
  EXPECT_EQ(scene.heard_by_sam.received + scene.heard_by_sam.missed, scene.said);
  EXPECT_TRUE(scene.heard_by_sam.Received(kManyLines));
  EXPECT_EQ(scene.heard_by_bob.missed, 0);
}

TEST_P(ChatSlow, DropNewestKeepsOldestAndCountsTheMissed) {
  const int queue = GetParam();
  Scene scene("drop_newest", queue);
  scene.TalkUntil(kManyLines);
  EXPECT_TRUE(scene.server.GrewAtMost(16 * kMebibyte, scene.memory));
  scene.SamCatchesUp();
  EXPECT_GT(scene.heard_by_sam.missed, 0);
  EXPECT_EQ(scene.heard_by_sam.received + scene.heard_by_sam.missed, scene.said);
  EXPECT_FALSE(scene.heard_by_sam.Received(kManyLines));
  EXPECT_EQ(scene.heard_by_bob.missed, 0);
}

TEST_P(ChatSlow, DisconnectEndsTheMemberThatDoesNotRead) {
  Scene scene("disconnect", GetParam());
  std::string told;
  for (int i = 0; i < 10 * kManyLines && told.empty(); ++i) {
    scene.alice.Say(Numbered(i + 1));
    for (std::string line; NumberIn(line, "alice") != i + 1;) {
      line = scene.bob.client().ReadLine();
      ASSERT_NE(line.substr(0, 1), "<") << line;
      ASSERT_LT(MissedIn(line), 0) << line;
      if (line == "* sam left") told = line;
    }
  }
  EXPECT_EQ(told, "* sam left");
  EXPECT_TRUE(scene.server.GrewAtMost(16 * kMebibyte, scene.memory));
  // Sam still gets the lines that were in his socket, without a hole, and then the end.
  for (;;) {
    const std::string line = scene.sam.client().ReadLine();
    if (line.substr(0, 1) == "<") break;
    scene.heard_by_sam.Take(line);
  }
  EXPECT_NE(scene.sam.client().end(), End::kTimeout);
  EXPECT_EQ(scene.heard_by_sam.missed, 0);
  EXPECT_EQ(scene.bob.Who().size(), 2u);
}

// Alice's numbered lines in one piece, and how many of them a number of bytes holds, the last
// perhaps in part.
struct Speech {
  Speech() {
    for (int i = 1; i <= 2 * kManyLines; ++i) text += Numbered(i) + "\n";
  }
  int LinesIn(size_t bytes) const {
    return static_cast<int>((bytes + kLineBytes) / (kLineBytes + 1));
  }
  size_t EndOf(int line) const { return static_cast<size_t>(line) * (kLineBytes + 1); }
  std::string text;
};

TEST_P(ChatSlow, ParkSlowsTheTalkerAndLosesNothing) {
  Scene scene("park", GetParam());
  const Speech speech;
  // Bob reads all the time, on a thread of his own.
  std::jthread bob([&] {
    for (std::string line; line != "alice: enough";) {
      line = scene.bob.client().ReadLine();
      ASSERT_NE(line.substr(0, 1), "<") << line << " after " << scene.heard_by_bob.last;
      scene.heard_by_bob.Take(line);
    }
  });
  const size_t sent = scene.alice.client().SendUntilStopped(speech.text, absl::Milliseconds(500));
  EXPECT_LT(sent, speech.text.size()) << "Alice was never slowed";
  EXPECT_TRUE(scene.server.GrewAtMost(16 * kMebibyte, scene.memory));
  const int lines = speech.LinesIn(sent) + 10;
  std::jthread alice([&] {
    EXPECT_TRUE(scene.alice.client().Send(
        std::string_view(speech.text).substr(sent, speech.EndOf(lines) - sent)));
    scene.alice.Say("enough");
  });
  for (std::string line; line != "alice: enough";) {
    line = scene.sam.client().ReadLine();
    if (line.substr(0, 1) == "<") {
      ADD_FAILURE() << line << " after " << scene.heard_by_sam.last;
      break;
    }
    scene.heard_by_sam.Take(line);
  }
  alice.join();
  bob.join();
  EXPECT_EQ(scene.heard_by_sam.received, lines);
  EXPECT_EQ(scene.heard_by_sam.missed, 0);
  EXPECT_EQ(scene.heard_by_bob.received, lines);
  EXPECT_EQ(scene.heard_by_bob.missed, 0);
}

TEST(ChatPark, AnotherRoomIsNotSlowed) {
  Scene scene("park", 16);
  Member carol(scene.server, "carol");
  Member dave(scene.server, "dave");
  carol.Say("/join den");
  EXPECT_EQ(carol.Who().size(), 1u);  // Carol is there before Dave comes.
  dave.Say("/join den");
  EXPECT_TRUE(carol.Hears("* dave joined"));
  const Speech speech;
  std::jthread bob([&] { scene.bob.HearUntil([](const std::string&) { return false; }); });
  scene.alice.client().SendUntilStopped(speech.text, absl::Milliseconds(500));
  for (int i = 0; i < 100; ++i) {
    carol.Say("line " + std::to_string(i));
    ASSERT_TRUE(dave.Hears("carol: line " + std::to_string(i)));
  }
  scene.server.Signal(SIGKILL);  // Ends Bob's thread.
  bob.join();
}

TEST(ChatPark, NonReaderIsEndedAndTheTalkContinues) {
  Scene scene("park", 16);
  const Speech speech;
  bool sam_left = false;
  std::jthread bob([&] {
    for (std::string line; line != "alice: enough";) {
      line = scene.bob.client().ReadLine();
      ASSERT_NE(line.substr(0, 1), "<") << line << " after " << scene.heard_by_bob.last;
      sam_left = sam_left || line == "* sam left";
      scene.heard_by_bob.Take(line);
    }
  });
  // A park's deadline is 10 s: all bytes go out once Sam is gone.
  const std::string_view words = std::string_view(speech.text).substr(0, speech.EndOf(kManyLines));
  EXPECT_TRUE(scene.alice.client().Send(words));
  scene.alice.Say("enough");
  bob.join();
  EXPECT_TRUE(sam_left);
  EXPECT_EQ(scene.heard_by_bob.received, kManyLines);
  EXPECT_EQ(scene.heard_by_bob.missed, 0);
}

TEST(ChatMissed, TheCountHoldsForSeveralTalkersTogether) {
  Scene scene("drop_oldest", 16);
  Member carol(scene.server, "carol");
  EXPECT_TRUE(scene.bob.HearLineThatStartsWith("* guest").ends_with(" joined"));
  scene.bob.HearUntil([](const std::string& line) { return line.ends_with(" is now carol"); });
  // The count starts after the lines that Sam has heard up to here.
  scene.sam.HearUntil([](const std::string& line) { return line.ends_with(" is now carol"); });
  int said = 0;
  const auto both_talk = [&](int until) {
    while (said < until) {
      Member& talker = said % 2 == 0 ? scene.alice : carol;
      talker.Say(Numbered(++said));
      const std::string line = scene.bob.HearLineThatStartsWith(talker.nick() + ": ");
      ASSERT_EQ(NumberIn(line, talker.nick()), said);
    }
  };
  both_talk(kManyLines);
  int received = 0;
  int missed = 0;
  int last = 0;
  const Deadline deadline;
  while (last < said && !deadline.Over()) {
    const std::string line = scene.sam.client().ReadLine(Deadline(absl::Milliseconds(50)));
    if (line == "<timeout>") both_talk(said + 1);
    ASSERT_TRUE(line == "<timeout>" || line[0] != '<') << line;
    missed += std::max(0, MissedIn(line));
    const int number = std::max(NumberIn(line, "alice"), NumberIn(line, "carol"));
    if (number < 0) continue;
    EXPECT_EQ(++received + missed, number);
    last = number;
  }
  EXPECT_EQ(last, said);
  EXPECT_GT(missed, 0);
}

TEST(ChatMissed, LateMemberMissesNoEarlierLines) {
  Scene scene("drop_oldest", 16);
  scene.TalkUntil(kManyLines);
  Member late(scene.server, "late");
  scene.bob.HearUntil([](const std::string& line) { return line.ends_with(" is now late"); });
  scene.alice.Say("welcome");
  EXPECT_TRUE(late.Hears("alice: welcome"));
  for (const std::string& line : late.heard()) EXPECT_LT(MissedIn(line), 0) << line;
}

TEST(ChatMissed, NonReaderThatLeavesLeavesNothingBehind) {
  Scene scene("drop_oldest", 256);
  const int descriptors = scene.server.RestingDescriptors();
  scene.TalkUntil(kManyLines);
  scene.sam.client().Reset();
  scene.bob.HearUntil([](const std::string& line) { return line == "* sam left"; });
  EXPECT_TRUE(WaitFor([&] { return scene.server.OpenDescriptors() == descriptors - 1; }));
  EXPECT_EQ(scene.bob.Who().size(), 2u);
}

}  // namespace
}  // namespace sluice::e2e
