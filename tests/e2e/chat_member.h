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

// A person in the chat. A test says which lines a member must hear; heard() keeps all lines in
// between, so a test can also say which lines must not be heard.
class Member {
 public:
  // Connects, is greeted, and takes `nick` ("" keeps the guest's name). Then everyone in the room
  // sees the name.
  explicit Member(const Server& server, std::string_view nick = "",
                  const ClientOptions& options = {});

  const std::string& nick() const { return nick_; }
  Client& client() { return client_; }

  // Sends `line` and '\n'.
  void Say(std::string_view line);

  // Reads until a line equals `line`, or fails with a description.
  testing::AssertionResult Hears(const std::string& line);
  // Returns the next line that `wanted` accepts; "<eof>", "<reset>" or "<timeout>".
  std::string HearUntil(const std::function<bool(const std::string&)>& wanted);
  // Returns the next line that starts with `prefix`, or one of the three.
  std::string HearLineThatStartsWith(const std::string& prefix);
  // Reads to the end; true: it was an end of stream, not a reset.
  bool HearsTheEnd();

  // Asks for the names in this room, and returns them.
  std::vector<std::string> Who();
  // Sends `line` and expects a line that starts with "error:".
  testing::AssertionResult IsToldOff(std::string_view line);

  // All lines up to now; HasHeard: `line` is among them.
  const std::vector<std::string>& heard() const { return heard_; }
  bool HasHeard(const std::string& line) const;

 private:
  Client client_;
  std::string nick_;
  std::vector<std::string> heard_;
};

// Returns N of a publisher's numbered line "NAME: N filler", or -1.
int NumberIn(const std::string& line, std::string_view nick);
// Returns N of "* missed N messages", or -1.
int MissedIn(const std::string& line);

}  // namespace sluice::e2e

#endif  // SLUICE_TESTS_E2E_CHAT_MEMBER_H_
