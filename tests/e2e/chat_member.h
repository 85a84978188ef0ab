#ifndef SLUICE_TESTS_E2E_CHAT_MEMBER_H_
#define SLUICE_TESTS_E2E_CHAT_MEMBER_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {

// Somebody in the chat. A test says what one should hear; lines in between are kept in heard(), so
// that it can also say what nobody may have heard.
class Member {
 public:
  // Connects, is greeted, and takes `nick` ("" keeps the guest's name). Everyone sees it in the
  // room then.
  explicit Member(const Server& server, std::string_view nick = "",
                  const ClientOptions& options = {});

  const std::string& nick() const { return nick_; }
  Client& client() { return client_; }

  // `line` and '\n' go out.
  void Say(std::string_view line);

  // Reads until a line is `line`, or fails in words.
  testing::AssertionResult Hears(const std::string& line);
  // The first line from here on that `wanted` accepts; "<eof>", "<reset>" or "<timeout>".
  std::string HearUntil(const std::function<bool(const std::string&)>& wanted);
  // The next line that starts with `prefix`, or one of the three.
  std::string HearLineThatStartsWith(const std::string& prefix);
  // Reads to the end: true when it is an end of stream, not a reset.
  bool HearsTheEnd();

  // Asks, and returns the names in this room.
  std::vector<std::string> Who();
  // Says `line` and expects a line that starts with "error:".
  testing::AssertionResult IsToldOff(std::string_view line);

  // Every line up to now. Says whether `line` is among them.
  const std::vector<std::string>& heard() const { return heard_; }
  bool HasHeard(const std::string& line) const;

 private:
  Client client_;
  std::string nick_;
  std::vector<std::string> heard_;
};

// What a line tells of a publisher's numbered lines "NAME: N filler": its number, or -1.
int NumberIn(const std::string& line, std::string_view nick);
// The number in "* missed N messages", or -1.
int MissedIn(const std::string& line);

}  // namespace sluice::e2e

#endif  // SLUICE_TESTS_E2E_CHAT_MEMBER_H_
