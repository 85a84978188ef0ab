// Rooms knows all members and rooms: names are unique in the server, a room lives while it has
// members, the lobby always. Members ask it; their messages go to the hub of their room, never
// through here.
#ifndef SLUICE_EXAMPLES_CHAT_ROOMS_H_
#define SLUICE_EXAMPLES_CHAT_ROOMS_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "sluice/sluice.h"

namespace chat {

class Member;

inline constexpr size_t kNameBytesMax = 32;
// Besides the lobby, which is always there for newcomers.
inline constexpr size_t kRoomsMax = 1'024;
inline constexpr char kLobby[] = "lobby";
inline constexpr size_t kListBytesMax = 64 * 1024;  // Longest list in an answer to /who or /rooms.

// A member's place: its name, its room, and the room's hub.
struct Place {
  std::string name;
  std::string room;
  sluice::Ref<sluice::Hub> hub;
};

// Questions of members. A refusal is a status with words for the user.
struct Enter {
  using Reply = Place;
  sluice::Ref<Member> member;
};
struct Rename {
  using Reply = std::string;
  sluice::Ref<Member> member;
  std::string name;
};
struct Join {
  using Reply = Place;
  sluice::Ref<Member> member;
  std::string room;
};
struct Find {
  using Reply = sluice::Ref<Member>;
  std::string name;
};
struct ListMembers {
  using Reply = std::string;
  sluice::Ref<Member> member;  // Lists the room of this member.
};
struct ListRooms {
  using Reply = std::string;
};
struct Leave {
  sluice::Ref<Member> member;
};

class Rooms : public sluice::Actor {
 public:
  explicit Rooms(sluice::HubOptions hub_options) : hub_options_(hub_options) {}

  absl::StatusOr<Place> On(Enter question);
  absl::StatusOr<std::string> On(Rename question);
  absl::StatusOr<Place> On(Join question);
  absl::StatusOr<sluice::Ref<Member>> On(Find question);
  std::string On(ListMembers question);
  std::string On(ListRooms question);
  void On(Leave message) { Forget(message.member); }
  void OnDown(const sluice::Down& down) override;  // Removes a member that ended without Leave.

 private:
  struct Room {
    std::string name;
    sluice::Ref<sluice::Hub> hub;
    std::map<std::string, std::string> members;  // Lower-case name to name.
  };
  struct Person {
    std::string name;
    std::string room;  // Lower-case.
    sluice::MonitorId monitor;
  };

  absl::StatusOr<Place> MoveTo(Person& person, std::string_view room_name);
  void LeaveRoom(Person& person);
  void Forget(sluice::Ref<Member> member);

  const sluice::HubOptions hub_options_;
  absl::flat_hash_map<sluice::Ref<Member>, Person> people_;
  absl::flat_hash_map<std::string, sluice::Ref<Member>> by_name_;  // Lower-case.
  absl::flat_hash_map<sluice::MonitorId, sluice::Ref<Member>> by_monitor_;
  std::map<std::string, Room> rooms_;  // By lower-case name.
  int64_t guests_ = 0;
};

}  // namespace chat

#endif  // SLUICE_EXAMPLES_CHAT_ROOMS_H_
