// The rules of the chat, each with a test: which member hears a line, and which names are allowed.

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/tests/e2e/chat_member.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

TEST(Chat, GreetsWithALineThatStartsWithWelcome) {
  Server server("chat");
  Client client(server.address());
  EXPECT_EQ(client.ReadLine().substr(0, 7), "Welcome");
}

// ulimit -n 64.
TEST(Chat, FewDescriptorsServeSomeRefuseOthersAndRecover) {
  Server server("chat", {}, {.descriptors_max = 64});
  for (int round = 0; round < 3; ++round) {
    std::vector<Client> clients;
    int welcome = 0;
    for (int i = 0; i < 100; ++i) clients.emplace_back(server.address());
    for (Client& client : clients) {
      welcome += client.ReadLine().substr(0, 7) == "Welcome";
      ASSERT_NE(client.end(), End::kTimeout) << "it was neither served nor told";
    }
    EXPECT_GE(welcome, 8) << round;
    EXPECT_LT(welcome, 64) << round;
    clients.clear();
    EXPECT_TRUE(WaitFor([&] {
      Client client(server.address());
      return client.ReadLine().substr(0, 7) == "Welcome";
    })) << round;
  }
  Member alice(server, "alice");
  Member bob(server, "bob");
  alice.Say("still here");
  EXPECT_TRUE(bob.Hears("alice: still here"));
  EXPECT_EQ(server.Stop(), 0);
}

TEST(Chat, ANewMemberIsAGuestWithANumber) {
  Server server("chat");
  std::vector<Member> members;
  for (int i = 0; i < 5; ++i) members.emplace_back(server);
  const std::vector<std::string> names = members.back().Who();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 5u);
  for (const std::string& name : names) {
    EXPECT_EQ(name.substr(0, 5), "guest") << name;
    EXPECT_TRUE(name.size() > 5 && name.find_first_not_of("0123456789", 5) == std::string::npos)
        << name;
  }
}

TEST(Chat, LineGoesToEveryOtherMemberNotBack) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  Member carol(server, "carol");
  alice.Say("hello,  all of you ");
  EXPECT_TRUE(bob.Hears("alice: hello,  all of you "));
  EXPECT_TRUE(carol.Hears("alice: hello,  all of you "));
  bob.Say("hello alice");
  EXPECT_TRUE(alice.Hears("bob: hello alice"));
  EXPECT_TRUE(carol.Hears("bob: hello alice"));
  EXPECT_FALSE(alice.HasHeard("alice: hello,  all of you "));
}

TEST(Chat, AGuestTalksUnderTheGuestsName) {
  Server server("chat");
  Member alice(server, "alice");
  Member guest(server);
  const std::string joined = alice.HearLineThatStartsWith("* guest");
  const std::string name = joined.substr(2, joined.find(' ', 2) - 2);
  EXPECT_EQ(joined, "* " + name + " joined");
  guest.Say("hi");
  EXPECT_TRUE(alice.Hears(name + ": hi"));
}

TEST(Chat, LinesOfOneMemberArriveInTheirOrder) {
  Server server("chat", {"--queue=4096"});
  Member alice(server, "alice");
  Member bob(server, "bob");
  for (int i = 0; i < 1000; ++i) alice.Say(std::to_string(i));
  for (int i = 0; i < 1000; ++i) {
    const std::string line = bob.HearLineThatStartsWith("alice: ");
    ASSERT_EQ(line, "alice: " + std::to_string(i));
  }
}

TEST(Chat, OthersSeeEachMemberJoinAndLeave) {
  Server server("chat");
  Member alice(server, "alice");
  {
    Member bob(server, "bob");
    EXPECT_TRUE(alice.HearLineThatStartsWith("* guest").ends_with(" joined"));
    bob.Say("/quit");
    EXPECT_TRUE(alice.Hears("* bob left"));
    EXPECT_TRUE(bob.HearsTheEnd());
  }
  {
    Member carol(server, "carol");
    carol.client().ShutdownWrite();
    EXPECT_TRUE(alice.Hears("* carol left")) << "after a half-close";
    EXPECT_TRUE(carol.HearsTheEnd());
  }
  {
    Member dave(server, "dave");
    dave.client().Close();
    EXPECT_TRUE(alice.Hears("* dave left")) << "after a close";
  }
  {
    Member erin(server, "erin");
    erin.client().Reset();
    EXPECT_TRUE(alice.Hears("* erin left")) << "after a reset";
  }
  EXPECT_EQ(alice.Who(), std::vector<std::string>({"alice"}));
}

TEST(Chat, OthersSeeANewName) {
  Server server("chat");
  Member alice(server, "alice");
  Member guest(server);
  const std::string joined = alice.HearLineThatStartsWith("* guest");
  const std::string name = joined.substr(2, joined.find(' ', 2) - 2);
  guest.Say("/nick bob");
  EXPECT_TRUE(alice.Hears("* " + name + " is now bob"));
  guest.Say("/nick Robert_the-2nd");
  EXPECT_TRUE(alice.Hears("* bob is now Robert_the-2nd"));
  guest.Say("hi");
  EXPECT_TRUE(alice.Hears("Robert_the-2nd: hi"));
}

TEST(Chat, NameHas1To32AllowedCharacters) {
  Server server("chat");
  Member alice(server, "alice");
  const std::string longest(32, 'x');
  for (const std::string& bad :
       {std::string("/nick"), std::string("/nick "), "/nick " + longest + "x",
        std::string("/nick two words"), std::string("/nick a.b"), std::string("/nick a:b"),
        std::string("/nick a,b"), std::string("/nick caf\xC3\xA9"), std::string("/nick a\tb"),
        std::string("/nick *"), std::string("/nick /x"), std::string("/nick a\x01z")}) {
    EXPECT_TRUE(alice.IsToldOff(bad));
  }
  EXPECT_EQ(alice.Who(), std::vector<std::string>({"alice"})) << "a bad name changes nothing";
  for (const std::string& good :
       {longest, std::string("z"), std::string("_-_"), std::string("42")}) {
    alice.Say("/nick " + good);
    EXPECT_EQ(alice.Who(), std::vector<std::string>({good}));
  }
}

TEST(Chat, ANameIsUniqueWhateverItsCase) {
  Server server("chat");
  Member alice(server, "Alice");
  Member bob(server, "bob");
  for (const char* taken : {"/nick Alice", "/nick alice", "/nick ALICE", "/nick aLiCe"}) {
    EXPECT_TRUE(bob.IsToldOff(taken));
  }
  bob.Say("/join den");
  EXPECT_TRUE(alice.Hears("* bob left"));
  EXPECT_TRUE(bob.IsToldOff("/nick alice")) << "in the server, not in the room";
  EXPECT_EQ(bob.Who(), std::vector<std::string>({"bob"}));
}

TEST(Chat, NameIsFreeAfterMemberLeavesOrRenames) {
  Server server("chat");
  Member bob(server, "bob");
  {
    Member alice(server, "alice");
    alice.Say("/quit");
    EXPECT_TRUE(bob.Hears("* alice left"));
  }
  bob.Say("/nick ALICE");
  EXPECT_EQ(bob.Who(), std::vector<std::string>({"ALICE"}));
  Member next(server, "Bob");  // Free since its owner is ALICE; the constructor checks that.
}

TEST(Chat, AGuestNeverGetsANameThatIsTaken) {
  Server server("chat");
  Member first(server);
  const int number = std::stoi(first.Who().front().substr(5));
  // The names that the next guests would get.
  std::vector<Member> squatters;
  for (int i = 1; i <= 3; ++i) {
    squatters.emplace_back(server, "Guest" + std::to_string(number + 3 + i));
  }
  std::vector<Member> guests;
  for (int i = 0; i < 8; ++i) guests.emplace_back(server);
  std::set<std::string> names;
  for (std::string name : first.Who()) {
    std::transform(name.begin(), name.end(), name.begin(), [](char c) { return std::tolower(c); });
    names.insert(name);
  }
  EXPECT_EQ(names.size(), 12u);
}

TEST(Chat, APrivateMessageReachesItsMemberOnly) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  Member carol(server, "carol");
  alice.Say("/msg bob a word  with you");
  EXPECT_TRUE(bob.Hears("alice (private): a word  with you"));
  alice.Say("aloud");
  EXPECT_TRUE(carol.Hears("alice: aloud"));
  EXPECT_FALSE(carol.HasHeard("alice (private): a word  with you"));
  carol.Say("/join den");
  EXPECT_TRUE(alice.Hears("* carol left"));
  alice.Say("/msg carol also in another room");
  EXPECT_TRUE(carol.Hears("alice (private): also in another room"));
  alice.Say("/msg CAROL whatever the case");
  EXPECT_TRUE(carol.Hears("alice (private): whatever the case"));
}

TEST(Chat, APrivateMessageToNobodyIsAnError) {
  Server server("chat");
  Member alice(server, "alice");
  for (const char* bad : {"/msg nobody hello", "/msg", "/msg ", "/msg alice"}) {
    EXPECT_TRUE(alice.IsToldOff(bad));
  }
}

TEST(Chat, ARoomHearsOnlyItsOwn) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  Member carol(server, "carol");
  bob.Say("/join den");
  EXPECT_TRUE(alice.Hears("* bob left"));
  EXPECT_EQ(bob.Who(), std::vector<std::string>({"bob"}));
  carol.Say("/join den");
  EXPECT_TRUE(bob.Hears("* carol joined"));
  bob.Say("in the den");
  EXPECT_TRUE(carol.Hears("bob: in the den"));
  alice.Say("in the lobby");
  const std::vector<std::string> den = bob.Who();
  EXPECT_EQ(den.size(), 2u);
  EXPECT_TRUE(Contains(den, "bob") && Contains(den, "carol"));
  EXPECT_EQ(alice.Who(), std::vector<std::string>({"alice"}));
  carol.Say("/join lobby");
  EXPECT_TRUE(alice.Hears("* carol joined"));
  EXPECT_TRUE(bob.Hears("* carol left"));
  carol.Say("back");
  EXPECT_TRUE(alice.Hears("carol: back"));
  EXPECT_FALSE(alice.HasHeard("bob: in the den"));
  EXPECT_FALSE(bob.HasHeard("alice: in the lobby"));
}

TEST(Chat, ARoomsNameFollowsTheRuleOfNames) {
  Server server("chat");
  Member alice(server, "alice");
  for (const std::string& bad : {std::string("/join"), std::string("/join "),
                                 std::string("/join a b"), "/join " + std::string(33, 'x'),
                                 std::string("/join #den"), std::string("/join d\xC3\xA9n")}) {
    EXPECT_TRUE(alice.IsToldOff(bad));
  }
  Member bob(server, "bob");
  EXPECT_TRUE(Contains(bob.Who(), "alice")) << "she is still in the lobby";
  alice.Say("/join " + std::string(32, 'x'));
  EXPECT_TRUE(bob.Hears("* alice left"));
}

TEST(Chat, JoiningTheRoomOneIsInChangesNothing) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  bob.Say("/join lobby");
  bob.Say("still here");
  EXPECT_TRUE(alice.Hears("bob: still here"));
  alice.Say("so am I");
  EXPECT_TRUE(bob.Hears("alice: so am I"));
  EXPECT_EQ(alice.Who().size(), 2u);
}

// True: /rooms names `room`. The lobby is always listed, as alice is in it.
bool Exists(Member& member, const std::string& room) {
  const size_t before = member.heard().size();
  member.Say("/rooms");
  member.HearUntil([](const std::string& line) { return line.find("lobby") != std::string::npos; });
  const auto& heard = member.heard();
  return std::any_of(heard.begin() + static_cast<ptrdiff_t>(before), heard.end(),
                     [&](const std::string& line) { return line.find(room) != std::string::npos; });
}

TEST(Chat, RoomsAreListedWhileTheyHaveMembers) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  EXPECT_TRUE(Exists(alice, "lobby"));
  EXPECT_FALSE(Exists(alice, "den_7"));
  bob.Say("/join den_7");
  EXPECT_TRUE(alice.Hears("* bob left"));
  EXPECT_TRUE(WaitFor([&] { return Exists(alice, "den_7"); }));
  bob.Say("/join other_8");
  EXPECT_TRUE(WaitFor([&] { return Exists(alice, "other_8") && !Exists(alice, "den_7"); }));
  bob.client().Reset();
  EXPECT_TRUE(WaitFor([&] { return !Exists(alice, "other_8"); }));
}

TEST(Chat, ThereAreAtMost1024RoomsBesideTheLobby) {
  RaiseDescriptorLimit();
  Server server("chat");
  std::vector<Member> members;
  for (int i = 0; i < 1024; ++i) {
    members.emplace_back(server);
    members.back().Say("/join room" + std::to_string(i));
    ASSERT_EQ(members.back().Who().size(), 1u) << i;
  }
  // Every member has left the lobby; newcomers enter it, and 1,024 rooms lock no member out.
  Member alice(server, "alice");
  Member late(server, "late");
  EXPECT_TRUE(late.IsToldOff("/join one_too_many"));
  EXPECT_TRUE(Contains(late.Who(), "alice")) << "it stays where it was";
  late.Say("/join room5");
  EXPECT_EQ(late.Who().size(), 2u) << "a room that is there takes more members";
  late.Say("/join lobby");
  ASSERT_EQ(late.Who().size(), 2u);
  members.back().Say("/quit");
  EXPECT_TRUE(members.back().HearsTheEnd());
  EXPECT_TRUE(WaitFor([&] {
    late.Say("/join room_for_one_more");
    return late.Who().size() == 1;
  }));
}

TEST(Chat, TheLobbyIsThereThoughNobodyIsInIt) {
  Server server("chat");
  Member alice(server, "alice");
  alice.Say("/join den");
  EXPECT_EQ(alice.Who(), std::vector<std::string>({"alice"}));
  EXPECT_TRUE(Exists(alice, "lobby"));
  alice.Say("/join LOBBY");
  EXPECT_TRUE(alice.Hears("* you are now in lobby")) << "it keeps its name";
}

TEST(Chat, NobodyTakesANameThatLooksLikeTheServers) {
  Server server("chat");
  Member alice(server, "alice");
  for (const char* bad :
       {"/nick error", "/nick Error", "/nick server", "/nick SERVER", "/nick welcome",
        "/nick system", "/nick admin", "/nick _server_", "/nick er-ror"}) {
    EXPECT_TRUE(alice.IsToldOff(bad)) << bad;
  }
  EXPECT_EQ(alice.Who(), std::vector<std::string>({"alice"}));
  alice.Say("/nick terror");
  EXPECT_TRUE(alice.Hears("* you are now terror"));
}

TEST(Chat, AMemberMayChangeTheCaseOfItsName) {
  Server server("chat");
  Member bob(server, "bob");
  Member ada(server, "ada");
  EXPECT_TRUE(bob.HearUntil([](const std::string& line) {
    return line.find("is now ada") != line.npos;
  }) != "<timeout>");
  ada.Say("/nick ADA");
  EXPECT_TRUE(ada.Hears("* you are now ADA"));
  EXPECT_TRUE(bob.Hears("* ada is now ADA"));
  EXPECT_EQ(ada.Who(), std::vector<std::string>({"ADA", "bob"}));
  // A name that a member has already is no news for the others.
  ada.Say("/nick ADA");
  EXPECT_TRUE(ada.Hears("* you are now ADA"));
  ada.Say("done");
  EXPECT_TRUE(bob.Hears("ADA: done"));
  EXPECT_FALSE(bob.HasHeard("* ADA is now ADA"));
}

TEST(Chat, CommandsAllowCapitalsAndSurroundingSpaces) {
  Server server("chat");
  Member bob(server, "bob");
  Member ada(server);
  for (const char* line : {"/NICK ada", "/nick ada1 ", "/nick   ada2", "/Nick ada3\t"}) {
    ada.Say(line);
    const std::string told = ada.HearUntil([](const std::string& heard) {
      return heard.rfind("* you are", 0) == 0 || heard.rfind("error", 0) == 0;
    });
    EXPECT_EQ(told.rfind("* you are now ada", 0), 0u) << line << ": " << told;
  }
  ada.Say("/join den ");
  EXPECT_TRUE(ada.Hears("* you are now in den"));
  ada.Say("/MSG  bob  hi there");
  EXPECT_TRUE(bob.Hears("ada3 (private):  hi there")) << "what is said stays as it is";
  ada.Say("/WHO ");
  EXPECT_TRUE(ada.Hears("ada3"));
  ada.Say("/quit ");
  EXPECT_TRUE(ada.HearsTheEnd());
}

TEST(Chat, BidiAndLineBreakersReachNoTerminal) {
  Server server("chat");
  Member bob(server, "bob");
  Member ada(server, "ada");
  for (const char* mark : {"\u202e", "\u2028", "\u2029", "\u2066", "\u200f", "\u061c"}) {
    ada.Say(std::string("a") + mark + "z");
    EXPECT_TRUE(bob.Hears("ada: a?z"));
    ada.Say(std::string("/msg bob a") + mark + "y");
    EXPECT_TRUE(bob.Hears("ada (private): a?y"));
  }
}

TEST(Chat, HelpNamesEveryCommand) {
  Server server("chat");
  Member alice(server, "alice");
  alice.Say("/help");
  std::set<std::string> missing = {"/nick", "/msg", "/join", "/rooms", "/who", "/help", "/quit"};
  alice.HearUntil([&](const std::string& line) {
    for (auto it = missing.begin(); it != missing.end();) {
      it = line.find(*it) != std::string::npos ? missing.erase(it) : std::next(it);
    }
    return missing.empty();
  });
  EXPECT_TRUE(missing.empty()) << testing::PrintToString(missing);
}

TEST(Chat, LinesSaidBeforeQuitAreReceived) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  ASSERT_TRUE(bob.client().Send("goodbye\n/quit\nnever said\n"));
  EXPECT_TRUE(alice.Hears("bob: goodbye"));
  EXPECT_TRUE(alice.Hears("* bob left"));
  EXPECT_TRUE(bob.HearsTheEnd());
  EXPECT_EQ(alice.Who(), std::vector<std::string>({"alice"}));
  EXPECT_FALSE(alice.HasHeard("bob: never said"));
}

TEST(Chat, UnknownCommandIsAnErrorThatNobodyHears) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  for (const char* bad : {"/dance", "/", "/nickname x", "/quitter"}) {
    EXPECT_TRUE(bob.IsToldOff(bad)) << bad;
  }
  bob.Say("sorry");
  EXPECT_TRUE(alice.Hears("bob: sorry"));
  EXPECT_FALSE(alice.HasHeard("bob: /dance"));
}

TEST(Chat, MembersOnEveryKindOfAddressMeet) {
  const std::string name = "unix:" + UniqueSocketName();
  Server server("chat", {"--listen=" + name + ",127.0.0.1:0"});
  Member alice(server, "alice");  // On the first address.
  Client bob(server.addresses()[1]);
  EXPECT_EQ(bob.ReadLine().substr(0, 7), "Welcome");
  ASSERT_TRUE(bob.Send("/nick bob\nhello\n"));
  EXPECT_TRUE(alice.Hears("bob: hello"));
}

TEST(Chat, ThousandMembersLeaveNothingBehind) {
  RaiseDescriptorLimit();
  Server server("chat");
  Member alice(server, "alice");
  const int descriptors = server.RestingDescriptors();
  const int64_t memory = server.ResidentBytes();
  {
    std::vector<Member> members;
    for (int i = 0; i < 1000; ++i) {
      members.emplace_back(server);
      // Ten members to a room: otherwise a million greetings would be sent.
      members.back().Say("/join room" + std::to_string(i / 10));
    }
    for (Member& member : members) ASSERT_LE(member.Who().size(), 10u);
  }
  EXPECT_TRUE(WaitFor([&] { return server.OpenDescriptors() == descriptors; }))
      << "was " << descriptors << " and stays at " << server.OpenDescriptors();
  EXPECT_TRUE(server.GrewAtMost(48 * kMebibyte, memory));
  EXPECT_EQ(alice.Who(), std::vector<std::string>({"alice"}));
  alice.client().Close();
  EXPECT_EQ(server.Stop(), 0);
}

}  // namespace
}  // namespace sluice::e2e
