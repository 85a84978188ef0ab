// Member is one connection of the chat: its lines are messages to its room, or commands.
//
// Owner:  its slot. Thread: its worker's.
// Bound:  one line, and the queue of its subscription. Errors: reported to the member, as lines.
#ifndef SLUICE_EXAMPLES_CHAT_MEMBER_H_
#define SLUICE_EXAMPLES_CHAT_MEMBER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "sluice/examples/chat_rooms.h"
#include "sluice/protocols/line_session.h"
#include "sluice/sluice.h"

namespace chat {

std::string MissedNotice(int64_t missed);

struct Private {
  std::string text;
};

class Member : public sluice::LineSession {
 public:
  Member(sluice::Ref<Rooms> rooms, uint32_t line_bytes_max, sluice::SubscribeOptions options)
      : LineSession(line_bytes_max), rooms_(rooms), options_(options) {}

  void OnOpen() override;
  void On(sluice::Subscribed subscription);
  void On(sluice::Unsubscribed unsubscribed);
  void On(Private message);
  void OnWritable() override;
  void OnLine(std::string_view line) override;
  void OnLongLine() override { Tell("error: line too long"); }
  void OnLastLine() override { LeaveChat(); }
  void OnDrain() override;
  void OnClose(sluice::CloseReason) override { SayGoodbye(); }

 private:
  template <class Q, class F>
  void AskRooms(Q question, F on_answer);
  void Refused(const absl::Status& status);
  void EnterRoom(Place place);
  void JoinRoom();
  void LeaveRoom();
  void Nick(const std::string& name);
  void Message(std::string_view argument);
  sluice::Answer TellRoom(std::string line);  // Sends to all others in the room.
  void Say(std::string line);                 // The same; reports an error to the member.
  void Tell(std::string line);
  void LeaveChat();
  void SayGoodbye();

  const sluice::Ref<Rooms> rooms_;
  const sluice::SubscribeOptions options_;
  Place place_;
  sluice::ReadHold moves_;           // Between two rooms, and after the last, nothing is read.
  std::optional<Place> next_place_;  // Place to go to after the old room.
  sluice::Subscribed subscription_;
  int64_t missed_ = 0;  // Lines for this member alone that were dropped.
  bool greeted_ = false;
  bool gone_ = false;
};

}  // namespace chat

#endif  // SLUICE_EXAMPLES_CHAT_MEMBER_H_
