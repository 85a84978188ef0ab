// Tests of a chat's end: each member is notified, hears all earlier lines, and then gets the end of
// stream.

#include <signal.h>

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/tests/e2e/chat_member.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

const std::string kFarewell = "* server is shutting down";

TEST(ChatDrain, EachMemberIsNotifiedBeforeEndOfStream) {
  for (const int number : {SIGTERM, SIGINT}) {
    Server server("chat", {"--drain_timeout=20s"});
    std::vector<Member> members;
    for (const char* nick : {"alice", "bob", "carol", "dave", "erin"}) {
      members.emplace_back(server, nick);
    }
    members[3].Say("/join den");
    EXPECT_EQ(members[3].Who().size(), 1u);
    server.Signal(number);
    for (Member& member : members) {
      EXPECT_TRUE(member.HearsTheEnd()) << member.client().end();
      EXPECT_EQ(member.heard().back(), kFarewell) << "the last line";
    }
    members.clear();
    EXPECT_EQ(server.Wait(absl::Seconds(20)), 0);
  }
}

TEST(ChatDrain, LinesSaidBeforeADrainAreReceived) {
  Server server("chat", {"--drain_timeout=20s"});
  Member alice(server, "alice");
  Member bob(server, "bob");
  for (int i = 0; i < 100; ++i) alice.Say("line " + std::to_string(i));
  ASSERT_TRUE(alice.client().WaitUntilArrived());
  server.Signal(SIGTERM);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(bob.HearLineThatStartsWith("alice: "), "alice: line " + std::to_string(i));
  }
  EXPECT_TRUE(bob.Hears(kFarewell));
  EXPECT_TRUE(bob.HearsTheEnd());
  EXPECT_TRUE(alice.Hears(kFarewell));
  alice.client().Close();
  bob.client().Close();
  EXPECT_EQ(server.Wait(absl::Seconds(20)), 0);
}

TEST(ChatDrain, AMemberThatReadsLateIsToldToo) {
  Server server("chat", {"--drain_timeout=25s"});
  Member alice(server, "alice");
  Member sam(server, "sam", {.receive_buffer_bytes = 4096});
  alice.HearUntil([](const std::string& line) { return line.ends_with(" is now sam"); });
  for (int i = 0; i < 100; ++i) alice.Say(std::to_string(i) + std::string(4000, '.'));
  alice.Who();  // All lines were sent.
  server.Signal(SIGTERM);
  EXPECT_TRUE(alice.Hears(kFarewell));
  EXPECT_TRUE(alice.HearsTheEnd());
  int heard = 0;
  while (heard < 100 && !sam.HearLineThatStartsWith("alice: ").starts_with('<')) ++heard;
  EXPECT_EQ(heard, 100);
  EXPECT_TRUE(sam.Hears(kFarewell));
  EXPECT_TRUE(sam.HearsTheEnd());
  alice.client().Close();
  sam.client().Close();
  EXPECT_EQ(server.Wait(absl::Seconds(25)), 0);
}

TEST(ChatDrain, NonReaderHoldsTheDrainUntilItsDeadline) {
  Server server("chat", {"--drain_timeout=1s"});
  Member alice(server, "alice");
  Member sam(server, "sam", {.receive_buffer_bytes = 4096});
  alice.HearUntil([](const std::string& line) { return line.ends_with(" is now sam"); });
  for (int i = 0; i < 2000; ++i) alice.Say(std::string(8000, '.'));
  alice.Who();
  server.Signal(SIGTERM);
  EXPECT_TRUE(alice.Hears(kFarewell)) << "though Sam does not read";
  EXPECT_TRUE(alice.HearsTheEnd());
  EXPECT_EQ(server.Wait(), 0);
}

TEST(ChatDrain, AFullRoomIsToldQuickly) {
  Server server("chat", {"--drain_timeout=20s"});
  std::vector<Member> members;
  for (int i = 0; i < 100; ++i) members.emplace_back(server);
  server.Signal(SIGTERM);
  for (Member& member : members) {
    EXPECT_TRUE(member.Hears(kFarewell));
    EXPECT_TRUE(member.HearsTheEnd());
  }
  members.clear();
  EXPECT_EQ(server.Wait(absl::Seconds(20)), 0);
}

}  // namespace
}  // namespace sluice::e2e
