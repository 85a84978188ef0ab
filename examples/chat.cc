// A chat: one line is one message, to all others in the room. Try it with two `nc 127.0.0.1 7000`.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/strings.h"
#include "sluice/examples/chat_rooms.h"
#include "sluice/protocols/line_session.h"
#include "sluice/protocols/text.h"
#include "sluice/sluice.h"

namespace sluice {

bool AbslParseFlag(absl::string_view text, SlowPolicy* policy, std::string* error) {
  const std::optional<SlowPolicy> parsed = ParseSlowPolicy(ToStd(text));
  if (parsed && *parsed != SlowPolicy::kConflate) {  // What is said in a room has no key.
    return *policy = *parsed, true;
  }
  *error = "it must be park, drop_oldest, drop_newest or disconnect";
  return false;
}
std::string AbslUnparseFlag(SlowPolicy policy) { return std::string(SlowPolicyName(policy)); }

}  // namespace sluice

ABSL_FLAG(uint32_t, max_line, 8'192, "Longest line, in bytes; a longer one is skipped.");
ABSL_FLAG(sluice::SlowPolicy, slow, sluice::SlowPolicy::kDropOldest,
          "What becomes of a message for a member who does not read: park (everybody waits), "
          "drop_oldest, "
          "drop_newest, disconnect.");
ABSL_FLAG(uint32_t, queue, 256, "Messages that wait for a member who does not read.");

namespace chat {

using sluice::Answer;
using sluice::Ref;

std::string MissedNotice(int64_t missed) {
  return absl::StrCat("* missed ", missed, " messages\n");
}

struct Private {
  std::string text;
  int64_t HeldBytes() const { return sluice::HeldBytes(text); }
};

// Says one line to a room, however long that takes, and is gone.
class Herald : public sluice::Actor {
 public:
  Herald(Ref<sluice::Hub> hub, const std::string& line, sluice::Except except) {
    if (std::optional<sluice::Bytes> payload = sluice::Bytes::Copy(line, runtime().budget())) {
      Send(hub, sluice::Publish{*std::move(payload), except});
    }
    Stop();
  }
};

class Member : public sluice::LineSession {
 public:
  Member(Ref<Rooms> rooms, uint32_t line_bytes_max, sluice::SubscribeOptions options)
      : LineSession(line_bytes_max), rooms_(rooms), options_(options) {}

  // Nothing is read until the member is in the lobby, so that what it hears is complete from its
  // Welcome on.
  void OnOpen() override {
    AskRooms(Enter{RefOf(this)}, [this](Place place) { EnterRoom(std::move(place)); });
  }

  void On(sluice::Subscribed subscription) {
    if (!subscription.Joined()) {
      Tell("error: the server is busy, try again");
      Close();
      return;
    }
    subscription_ = subscription;
    greeted_ = true;
    Say(absl::StrCat("* ", place_.name, " joined"));
    ResumeReading();
  }

  void On(Private message) {
    if (missed_ > 0 || Write(message.text) != Answer::kAccepted) ++missed_;
  }
  void OnWritable() override {
    if (missed_ > 0 && Write(MissedNotice(missed_)) == Answer::kAccepted) missed_ = 0;
  }

  void OnLine(std::string_view line) override {
    if (line.empty()) return;
    if (line[0] != '/') {
      Say(absl::StrCat(place_.name, ": ", sluice::PrintableUtf8(line)));
      return;
    }
    const size_t space = std::min(line.find(' '), line.size());
    const std::string_view command = line.substr(1, space - 1);
    const std::string argument(line.substr(std::min(space + 1, line.size())));
    if (command == "nick") {
      Nick(argument);
    } else if (command == "msg") {
      Message(argument);
    } else if (command == "join") {
      AskRooms(Join{RefOf(this), argument}, [this](Place place) { EnterRoom(std::move(place)); });
    } else if (command == "rooms") {
      AskRooms(ListRooms{}, [this](const std::string& list) { Tell(list); });
    } else if (command == "who") {
      AskRooms(ListMembers{RefOf(this)}, [this](const std::string& list) { Tell(list); });
    } else if (command == "help") {
      Tell(
          "/nick NAME, /msg NAME TEXT, /join ROOM, /rooms, /who, /help, /quit; all else is said to "
          "the room");
    } else if (command == "quit") {
      LeaveChat();
    } else {
      Tell(absl::StrCat("error: unknown command /", sluice::PrintableUtf8(command),
                        "; /help tells what there is"));
    }
  }
  void OnLongLine() override { Tell("error: line too long"); }
  void OnLastLine() override { LeaveChat(); }

  void OnDrain() override {
    FlushSubscriptions();
    Tell("* server is shutting down");
    Close();
  }
  void OnClose(sluice::CloseReason) override { SayGoodbye(); }

 private:
  template <class Q, class F>
  void AskRooms(Q question, F on_answer) {
    AskInOrder(rooms_, std::move(question), absl::InfiniteDuration(),
               [this, on_answer](absl::StatusOr<typename Q::Reply> reply) {
                 if (reply.ok()) {
                   on_answer(*std::move(reply));
                 } else {
                   Refused(reply.status());
                 }
               });
  }
  void Refused(const absl::Status& status) {
    Tell(absl::StrCat("error: ", sluice::PrintableUtf8(sluice::ToStd(status.message()))));
    if (!greeted_) Close();  // Not even the lobby had a place.
  }

  // The greeting is the first that a member hears in a room; what was said before it is not for it.
  void EnterRoom(Place place) {
    std::string greeting = absl::StrCat("* you are now in ", place.room, "\n");
    if (greeted_) {
      // Who goes to another room does not wait for the old one, which may stand still
      // (--slow=park).
      Spawn<Herald>(place_.hub, absl::StrCat("* ", place_.name, " left\n"),
                    sluice::ExceptOf(*this));
      sluice::Unsubscribe(*this, subscription_);
    } else {
      greeting = absl::StrCat("Welcome to the Sluice chat, ", place.name,
                              ". /help tells what there is.\n");
    }
    place_ = std::move(place);
    // Nothing is read until On(Subscribed).
    PauseReading();
    if (Send(place_.hub, sluice::Subscribe(this, options_, std::move(greeting))) !=
        Answer::kAccepted) {
      On(sluice::Subscribed{});
    }
  }

  void Nick(const std::string& name) {
    AskRooms(Rename{RefOf(this), name}, [this, name](const std::string& old) {
      place_.name = name;
      Tell(absl::StrCat("* you are now ", name));
      Say(absl::StrCat("* ", old, " is now ", name));
    });
  }

  void Message(std::string_view argument) {
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

  // To all others in the room.
  void Say(std::string line) {
    line += '\n';
    std::optional<sluice::Bytes> payload = sluice::Bytes::Copy(line, runtime().budget());
    if (!payload.has_value() ||
        Send(place_.hub, sluice::Publish{*std::move(payload), sluice::ExceptOf(*this)}) !=
            Answer::kAccepted) {
      Tell("error: not said, the server is out of memory");
    }
  }
  void Tell(std::string line) {
    line += '\n';
    if (Write(line) == Answer::kFull) ++missed_;
  }

  void LeaveChat() {
    SayGoodbye();
    Close();
  }
  // At most once, and not when everybody leaves.
  void SayGoodbye() {
    if (gone_) return;
    gone_ = true;
    if (greeted_ && !worker().Draining()) Say(absl::StrCat("* ", place_.name, " left"));
    (void)Send(rooms_, Leave{RefOf(this)});  // If it is refused, the monitor tells.
  }

  const Ref<Rooms> rooms_;
  const sluice::SubscribeOptions options_;
  Place place_;
  sluice::Subscribed subscription_;
  int64_t missed_ = 0;  // Of what was for this member alone.
  bool greeted_ = false;
  bool gone_ = false;
};

}  // namespace chat

int main(int argc, char** argv) {
  sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
  sluice::SubscribeOptions options;
  options.slow = absl::GetFlag(FLAGS_slow);
  options.queue_messages_max = absl::GetFlag(FLAGS_queue);
  if (options.queue_messages_max == 0)
    runtime.KeepError(absl::InvalidArgumentError("--queue must be at least 1"));
  const uint32_t line_bytes_max = absl::GetFlag(FLAGS_max_line);
  if (line_bytes_max == 0 || line_bytes_max > 512 * 1024) {
    runtime.KeepError(absl::InvalidArgumentError("--max_line must be from 1 to 524288"));
  }
  const auto rooms = runtime.Spawn<chat::Rooms>(sluice::HubOptions{&chat::MissedNotice});
  runtime.Listen<chat::Member>("127.0.0.1:7000", rooms, line_bytes_max, options);
  return runtime.RunUntilSignal();
}
