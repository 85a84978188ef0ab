#include "sluice/examples/chat_member.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/base/strings.h"
#include "sluice/protocols/text.h"

namespace chat {

using sluice::Answer;
using sluice::Ref;

std::string MissedNotice(int64_t missed) {
  return absl::StrCat("* missed ", missed, " messages\n");
}

// Reads nothing until the member is in the lobby, so that the member receives all that is said from
// its Welcome on.
void Member::OnOpen() {
  AskRooms(Enter{RefOf(this)}, [this](Place place) { EnterRoom(std::move(place)); });
}

void Member::On(sluice::Subscribed subscription) {
  if (!subscription.Joined()) {
    Tell("error: the server is busy, try again");
    Close();
    return;
  }
  subscription_ = subscription;
  greeted_ = true;
  Say(absl::StrCat("* ", place_.name, " joined"));
  moves_.Release();
}

void Member::On(Private message) {
  OnWritable();  // The missed notice may have lacked memory: try it again.
  if (missed_ > 0 || Write(message.text) != Answer::kAccepted) ++missed_;
}

void Member::OnWritable() {
  if (missed_ > 0 && Write(MissedNotice(missed_)) == Answer::kAccepted) missed_ = 0;
}

void Member::OnLine(std::string_view line) {
  if (line.empty()) return;
  if (line[0] != '/') {
    Say(absl::StrCat(place_.name, ": ", sluice::PrintableUtf8(line)));
    return;
  }
  const size_t space = std::min(line.find(' '), line.size());
  const std::string command = absl::AsciiStrToLower(sluice::ToAbsl(line.substr(1, space - 1)));
  const absl::string_view rest =
      absl::StripLeadingAsciiWhitespace(sluice::ToAbsl(line.substr(space)));
  const std::string argument(absl::StripTrailingAsciiWhitespace(rest));
  if (command == "nick") {
    Nick(argument);
  } else if (command == "msg") {
    Message(sluice::ToStd(rest));
  } else if (command == "join") {
    AskRooms(Join{RefOf(this), argument}, [this](Place place) { EnterRoom(std::move(place)); });
  } else if (command == "rooms") {
    AskRooms(ListRooms{}, [this](const std::string& list) { Tell(list); });
  } else if (command == "who") {
    AskRooms(ListMembers{RefOf(this)}, [this](const std::string& list) { Tell(list); });
  } else if (command == "help") {
    Tell(
        "/nick NAME, /msg NAME TEXT, /join ROOM, /rooms, /who, /help, /quit; any other line is "
        "sent to the room");
  } else if (command == "quit") {
    LeaveChat();
  } else {
    Tell(absl::StrCat("error: unknown command /", sluice::PrintableUtf8(command),
                      "; /help lists the commands"));
  }
}

void Member::OnDrain() {
  FlushSubscriptions();
  Tell("* server is shutting down");
  Close();
}

template <class Q, class F>
void Member::AskRooms(Q question, F on_answer) {
  AskInOrder(rooms_, std::move(question), absl::InfiniteDuration(),
             [this, on_answer](absl::StatusOr<typename Q::Reply> reply) {
               if (reply.ok()) {
                 on_answer(*std::move(reply));
               } else {
                 Refused(reply.status());
               }
             });
}

void Member::Refused(const absl::Status& status) {
  Tell(absl::StrCat("error: ", sluice::PrintableUtf8(sluice::ToStd(status.message()))));
  if (!greeted_) Close();  // Not even the lobby had a place.
}

// The member first receives the messages said in the old room before it left, then the greeting,
// then the messages of the new room. Nothing is read until On(Subscribed).
void Member::EnterRoom(Place place) {
  moves_ = HoldReading();
  next_place_ = std::move(place);
  if (!greeted_) return JoinRoom();
  (void)TellRoom(absl::StrCat("* ", place_.name, " left"));
  LeaveRoom();
}

void Member::JoinRoom() {
  place_ = *std::exchange(next_place_, std::nullopt);
  std::string greeting = greeted_ ? absl::StrCat("* you are now in ", place_.room, "\n")
                                  : absl::StrCat("Welcome to the Sluice chat, ", place_.name,
                                                 ". /help lists the commands.\n");
  if (Send(place_.hub, sluice::Subscribe(this, options_, std::move(greeting))) !=
      Answer::kAccepted) {
    On(sluice::Subscribed{});
  }
}

void Member::LeaveRoom() { sluice::Unsubscribe(*this, std::exchange(subscription_, {})); }

void Member::On(sluice::Unsubscribed) {
  if (next_place_.has_value()) {
    JoinRoom();
  } else {
    Close();
  }
}

void Member::Nick(const std::string& name) {
  AskRooms(Rename{RefOf(this), name}, [this, name](const std::string& old) {
    place_.name = name;
    Tell(absl::StrCat("* you are now ", name));
    if (old == name) return;  // No news.
    Say(absl::StrCat("* ", old, " is now ", name));
  });
}

void Member::Message(std::string_view argument) {
  const size_t space = argument.find(' ');
  if (space == std::string_view::npos || space == 0) {
    Tell("error: /msg NAME TEXT");
    return;
  }
  std::string text = absl::StrCat(
      place_.name, " (private): ", sluice::PrintableUtf8(argument.substr(space + 1)), "\n");
  AskRooms(Find{std::string(argument.substr(0, space))}, [this, text](Ref<Member> to) {
    // Not Send: two members who write to each other must never wait for each other.
    if (to.TrySend(Private{text}) != Answer::kAccepted)
      Tell("error: not delivered, the member is busy or gone");
  });
}

Answer Member::TellRoom(std::string line) {
  line += '\n';
  std::optional<sluice::Bytes> payload = sluice::Bytes::Copy(line, runtime().budget());
  if (!payload.has_value()) return Answer::kOverloaded;
  return Send(place_.hub, sluice::Publish{*std::move(payload), sluice::ExceptOf(*this)});
}

void Member::Say(std::string line) {
  if (TellRoom(std::move(line)) != Answer::kAccepted) {
    Tell("error: not said, the server is out of memory");
  }
}

void Member::Tell(std::string line) {
  line += '\n';
  OnWritable();
  if (missed_ > 0 || Write(line) != Answer::kAccepted) ++missed_;
}

// The member first receives all messages said before its last line, then the end.
void Member::LeaveChat() {
  SayGoodbye();
  moves_ = HoldReading();
  if (subscription_.Joined()) {
    LeaveRoom();
  } else {
    Close();
  }
}

// Acts at most once. In a drain the room is not told, as everybody leaves.
void Member::SayGoodbye() {
  if (gone_) return;
  gone_ = true;
  if (subscription_.Joined() && !worker().Draining()) Say(absl::StrCat("* ", place_.name, " left"));
  (void)Send(rooms_, Leave{RefOf(this)});  // If it is refused, OnDown of Rooms follows.
}

}  // namespace chat
