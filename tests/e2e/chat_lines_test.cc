// Tests of how bytes become lines: split, merged, too long, or not text at all.

#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/tests/e2e/chat_member.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

using ::testing::MatchesRegex;

TEST(ChatLines, ALineInPiecesIsOneMessage) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  for (const char byte : std::string("one at a time\n")) {
    ASSERT_TRUE(alice.client().Send(std::string(1, byte)));
  }
  EXPECT_TRUE(bob.Hears("alice: one at a time"));
}

TEST(ChatLines, ManyLinesInOneWriteAreManyMessages) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  ASSERT_TRUE(alice.client().Send("one\ntwo\r\nthree\n/nick ally\nfour\nfi"));
  EXPECT_EQ(bob.HearLineThatStartsWith("alice: "), "alice: one");
  EXPECT_EQ(bob.HearLineThatStartsWith("alice: "), "alice: two");
  EXPECT_EQ(bob.HearLineThatStartsWith("alice: "), "alice: three");
  EXPECT_TRUE(bob.Hears("* alice is now ally"));
  EXPECT_EQ(bob.HearLineThatStartsWith("ally: "), "ally: four");
  ASSERT_TRUE(alice.client().Send("ve\n"));
  EXPECT_EQ(bob.HearLineThatStartsWith("ally: "), "ally: five");
}

TEST(ChatLines, CrLfEndsALineAlsoInCommands) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  alice.Say("/nick ally\r");
  EXPECT_TRUE(bob.Hears("* alice is now ally"));
  ASSERT_TRUE(alice.client().Send("hello\r"));
  ASSERT_TRUE(alice.client().WaitUntilArrived());
  ASSERT_TRUE(alice.client().Send("\n"));
  EXPECT_TRUE(bob.Hears("ally: hello"));
}

TEST(ChatLines, AnEmptyLineDoesNoHarm) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  ASSERT_TRUE(alice.client().Send("\n\n\r\n\nhello\n"));
  // The protocol does not say whether an empty line is a message, only that it does no harm.
  EXPECT_EQ(bob.HearUntil([](const std::string& line) {
    return line.compare(0, 7, "alice: ") == 0 && line != "alice: ";
  }),
            "alice: hello");
}

TEST(ChatLines, ALineOfTheGreatestLengthIsHeardWhole) {
  Server server("chat", {"--max_line=100"});
  Member alice(server, "alice");
  Member bob(server, "bob");
  const std::string longest(100, 'x');
  alice.Say(longest);
  EXPECT_TRUE(bob.Hears("alice: " + longest));
  alice.Say(longest + "\r");
  EXPECT_TRUE(bob.Hears("alice: " + longest)) << "its end does not count";
}

TEST(ChatLines, TheDefaultLengthIs8192) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  alice.Say(std::string(8192, 'x'));
  EXPECT_TRUE(bob.Hears("alice: " + std::string(8192, 'x')));
  EXPECT_TRUE(alice.IsToldOff(std::string(8193, 'y')));
}

TEST(ChatLines, ALongerLineIsSkippedAndItsMemberStays) {
  Server server("chat", {"--max_line=100"});
  Member alice(server, "alice");
  Member bob(server, "bob");
  for (const size_t length : {101, 102, 1000, 100'000}) {
    alice.Say("before");
    alice.Say(std::string(length, 'x'));
    alice.Say("after");
    EXPECT_TRUE(alice.Hears("error: line too long")) << length;
    EXPECT_EQ(bob.HearLineThatStartsWith("alice: "), "alice: before") << length;
    EXPECT_EQ(bob.HearLineThatStartsWith("alice: "), "alice: after") << length;
  }
  // An error line for each long line.
  alice.Who();
  EXPECT_EQ(std::count(alice.heard().begin(), alice.heard().end(), "error: line too long"), 4);
}

TEST(ChatLines, ALongLineIsRefusedBeforeItsEndComes) {
  Server server("chat", {"--max_line=100"});
  Member alice(server, "alice");
  Member bob(server, "bob");
  ASSERT_TRUE(alice.client().Send(std::string(5000, 'x')));
  EXPECT_TRUE(alice.Hears("error: line too long"));
  ASSERT_TRUE(alice.client().Send(std::string(5000, 'x') + "\nhello\n"));
  EXPECT_EQ(bob.HearLineThatStartsWith("alice: "), "alice: hello");
}

TEST(ChatLines, ALongCommandIsNotCarriedOut) {
  Server server("chat", {"--max_line=100"});
  Member alice(server, "alice");
  Member bob(server, "bob");
  alice.Say("/msg bob " + std::string(200, 'x'));
  alice.Say("hello");
  EXPECT_TRUE(alice.Hears("error: line too long"));
  EXPECT_EQ(bob.HearLineThatStartsWith("alice"), "alice: hello");
}

TEST(ChatLines, AVeryLongLineIsNotStored) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  const int64_t memory = server.ResidentBytes();
  const std::string piece(kMebibyte, 'x');
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(alice.client().Send(piece));
    ASSERT_TRUE(server.GrewAtMost(4 * kMebibyte, memory)) << "after " << i << " MiB";
  }
  bob.Say("are you still talking?");
  EXPECT_TRUE(alice.Hears("bob: are you still talking?"));
  alice.Say("");
  alice.Say("done");
  EXPECT_EQ(bob.HearLineThatStartsWith("alice: "), "alice: done");
}

TEST(ChatLines, AVeryLongLineMayEndWithTheStream) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  ASSERT_TRUE(alice.client().Send(std::string(10 * kMebibyte, 'x')));
  alice.client().ShutdownWrite();
  EXPECT_TRUE(bob.Hears("* alice left"));
  EXPECT_TRUE(alice.HearsTheEnd());
}

TEST(ChatLines, UnendedLineIsHeardWholeOrNot) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  ASSERT_TRUE(alice.client().Send("hello\nand good"));
  alice.client().ShutdownWrite();
  EXPECT_TRUE(bob.Hears("alice: hello"));
  EXPECT_TRUE(bob.Hears("* alice left"));
  for (const std::string& line : bob.heard()) {
    if (line.compare(0, 7, "alice: ") == 0 && line != "alice: hello") {
      EXPECT_EQ(line, "alice: and good");
    }
  }
}

TEST(ChatLines, AnswersComeAfterAHalfClose) {
  Server server("chat");
  Member alice(server, "alice");
  ASSERT_TRUE(alice.client().Send("/who\n"));
  alice.client().ShutdownWrite();
  EXPECT_TRUE(alice.Hears("alice"));
  EXPECT_TRUE(alice.HearsTheEnd());
}

TEST(ChatLines, ControlBytesReachOthersAsQuestionMarks) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  struct {
    std::string said;
    // A regular expression: the number of marks for a bad sequence is not specified.
    std::string heard;
  } const cases[] = {
      {"a\x1b[2Jb", "a\\?\\[2Jb"},        // Clears a terminal.
      {"a\x07z", "a\\?z"},                // A bell.
      {std::string("a\0b", 3), "a\\?b"},  // NUL.
      {"a\x7f"
       "b",
       "a(\\?|\x7f)b"},              // DEL is neither C0 nor C1.
      {"a\rb", "a\\?b"},             // CR inside a line.
      {"tab\tstays", "tab\tstays"},  //
      {"a\xC2\x85z", "a\\?+z"},      // U+0085, a C1 control.
      {"a\xC2\x9B"
       "2J",
       "a\\?+2J"},  // U+009B, equivalent to ESC [.
      {"a\x9B"
       "2J",
       "a\\?2J"},                        // The same byte bare is not UTF-8.
      {"a\xFFz", "a\\?z"},               //
      {"a\xC0\xAFz", "a\\?+z"},          // Overlong.
      {"a\xED\xA0\x80z", "a\\?+z"},      // A surrogate.
      {"a\xF5\x80\x80\x80z", "a\\?+z"},  // Past U+10FFFF.
      {"a\xE2\x82", "a\\?+"},            // Cut short by the end of the line.
      {"a\xE2\x82z", "a\\?+z"},          // Cut short by a letter, which stays.
      {"caf\xC3\xA9 \xE2\x82\xAC", "caf\xC3\xA9 \xE2\x82\xAC"},
      {"\xF0\x9F\x8C\x8A", "\xF0\x9F\x8C\x8A"},
  };
  for (const auto& [said, heard] : cases) {
    alice.Say(said);
    EXPECT_THAT(bob.HearLineThatStartsWith("alice: "), MatchesRegex("alice: " + heard));
    alice.Say("/msg bob " + said);
    EXPECT_THAT(bob.HearLineThatStartsWith("alice (private): "),
                MatchesRegex("alice \\(private\\): " + heard));
  }
}

TEST(ChatLines, EveryBadByteIsTamedAtEverySplit) {
  Server server("chat");
  Member alice(server, "alice");
  Member bob(server, "bob");
  const std::string said = "a\xE2\x82\xAC\x1b\xC2\x9B\xC3\xA9z\n";
  for (size_t split = 1; split < said.size(); ++split) {
    ASSERT_TRUE(alice.client().Send(said.substr(0, split)));
    ASSERT_TRUE(alice.client().WaitUntilArrived());
    ASSERT_TRUE(alice.client().Send(said.substr(split)));
    EXPECT_THAT(bob.HearLineThatStartsWith("alice: "),
                MatchesRegex("alice: a\xE2\x82\xAC\\?+\xC3\xA9z"));
  }
}

}  // namespace
}  // namespace sluice::e2e
