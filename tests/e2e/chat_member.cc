#include "sluice/tests/e2e/chat_member.h"

#include <algorithm>
#include <charconv>

namespace sluice::e2e {
namespace {

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

// "<eof>", "<reset>" or "<timeout>": no line of a chat starts like this.
bool IsOver(const std::string& line) { return StartsWith(line, "<"); }

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

// "alice, bob": no other line of a chat consists of names and commas only.
std::vector<std::string> SplitNames(const std::string& line) {
  std::vector<std::string> names(1);
  for (const char c : line) {
    if (c == ',') {
      names.emplace_back();
    } else if (IsNameCharacter(c)) {
      names.back().push_back(c);
    } else if (c != ' ' || !names.back().empty()) {
      return {};
    }
  }
  const bool empty =
      std::any_of(names.begin(), names.end(), [](auto& name) { return name.empty(); });
  return empty ? std::vector<std::string>() : names;
}

int ParseInt(std::string_view text) {
  int number = -1;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

Member::Member(const Server& server, std::string_view nick, const ClientOptions& options)
    : client_(server.address(), options) {
  const std::string greeting = client_.ReadLine();
  EXPECT_TRUE(StartsWith(greeting, "Welcome")) << greeting;
  heard_.push_back(greeting);
  if (nick.empty()) return;
  nick_ = nick;
  Say("/nick " + nick_);
  const std::vector<std::string> names = Who();
  EXPECT_NE(std::find(names.begin(), names.end(), nick_), names.end())
      << nick_ << " is not in the room: " << testing::PrintToString(heard_);
}

void Member::Say(std::string_view line) {
  EXPECT_TRUE(client_.Send(std::string(line) + "\n"))
      << nick_ << " could not say: " << line.substr(0, 80);
}

std::string Member::HearUntil(const std::function<bool(const std::string&)>& wanted) {
  const Deadline deadline;
  for (;;) {
    std::string line = client_.ReadLine(deadline);
    if (IsOver(line)) return line;
    heard_.push_back(line);
    if (wanted(line)) return line;
  }
}

testing::AssertionResult Member::Hears(const std::string& line) {
  const size_t before = heard_.size();
  const std::string found = HearUntil([&](const std::string& heard) { return heard == line; });
  if (found == line) return testing::AssertionSuccess();
  const std::vector<std::string> instead(heard_.begin() + static_cast<ptrdiff_t>(before),
                                         heard_.end());
  return testing::AssertionFailure() << nick_ << " never heard \"" << line << "\" but "
                                     << testing::PrintToString(instead) << " and then " << found;
}

std::string Member::HearLineThatStartsWith(const std::string& prefix) {
  return HearUntil([&](const std::string& line) { return StartsWith(line, prefix); });
}

bool Member::HearsTheEnd() {
  HearUntil([](const std::string&) { return false; });
  return client_.end() == End::kEof;
}

std::vector<std::string> Member::Who() {
  Say("/who");
  return SplitNames(HearUntil([](const std::string& line) { return !SplitNames(line).empty(); }));
}

testing::AssertionResult Member::IsToldOff(std::string_view line) {
  Say(line);
  const std::string answer = HearLineThatStartsWith("error:");
  if (!IsOver(answer)) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << line << "\" was met with " << answer << ", after "
                                     << testing::PrintToString(heard_);
}

bool Member::HasHeard(const std::string& line) const {
  return std::find(heard_.begin(), heard_.end(), line) != heard_.end();
}

int NumberIn(const std::string& line, std::string_view nick) {
  const std::string prefix = std::string(nick) + ": ";
  return StartsWith(line, prefix) ? ParseInt(std::string_view(line).substr(prefix.size())) : -1;
}

int MissedIn(const std::string& line) {
  constexpr std::string_view kMissed = "* missed ";
  constexpr std::string_view kMessages = " messages";
  if (!StartsWith(line, kMissed)) return -1;
  const int number = ParseInt(std::string_view(line).substr(kMissed.size()));
  return line == std::string(kMissed) + std::to_string(number) + std::string(kMessages) ? number
                                                                                        : -1;
}

}  // namespace sluice::e2e
