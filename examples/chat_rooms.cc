#include "sluice/examples/chat_rooms.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace chat {

namespace {

absl::Status CheckName(const std::string& what, const std::string& name) {
  const bool good =
      !name.empty() && name.size() <= kNameBytesMax &&
      std::all_of(name.begin(), name.end(), [](char c) {
        return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
      });
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a ", what, " has 1 to ", kNameBytesMax, " letters, digits, _ or -"));
}

// Refuses a name that looks like the server's own. Otherwise a line of such a member ("error: ...")
// would look like one of the server's.
absl::Status CheckNotTheServers(const std::string& name) {
  std::string letters = absl::AsciiStrToLower(name);
  std::erase_if(letters, [](char c) { return c == '_' || c == '-'; });
  for (const char* taken : {"error", "server", "welcome", "system", "admin"}) {
    if (letters == taken) {
      return absl::InvalidArgumentError(
          absl::StrCat("the name ", name, " looks like the server's own"));
    }
  }
  return absl::OkStatus();
}

// "a, b, c", cut where it becomes too long for one answer.
template <class Map, class NameOf>
std::string List(const Map& map, NameOf name_of) {
  std::string text;
  size_t listed = 0;
  for (const auto& entry : map) {
    if (text.size() + kNameBytesMax > kListBytesMax) {
      absl::StrAppend(&text, ", and ", map.size() - listed, " more");
      break;
    }
    absl::StrAppend(&text, listed++ == 0 ? "" : ", ", name_of(entry));
  }
  return text;
}

}  // namespace

absl::StatusOr<Place> Rooms::On(Enter question) {
  std::string name;
  do {
    name = absl::StrCat("guest", ++guests_);
  } while (by_name_.contains(name));
  by_name_.emplace(name, question.member);
  const sluice::MonitorId monitor = Monitor(question.member);
  by_monitor_.emplace(monitor, question.member);
  Person& person = people_[question.member] = Person{std::move(name), "", monitor};
  return MoveTo(person, kLobby);
}

absl::StatusOr<std::string> Rooms::On(Rename question) {
  if (absl::Status status = CheckName("name", question.name); !status.ok()) return status;
  auto person = people_.find(question.member);
  if (person == people_.end()) return absl::FailedPreconditionError("you have left");
  if (question.name == person->second.name) return question.name;
  if (absl::Status status = CheckNotTheServers(question.name); !status.ok()) return status;
  const std::string key = absl::AsciiStrToLower(question.name);
  const std::string old_key = absl::AsciiStrToLower(person->second.name);
  if (key != old_key) {
    if (!by_name_.emplace(key, question.member).second) {
      return absl::AlreadyExistsError(absl::StrCat("the name ", question.name, " is in use"));
    }
    by_name_.erase(old_key);
  }
  auto& members = rooms_.at(person->second.room).members;
  members.erase(old_key);
  members.emplace(key, question.name);
  return std::exchange(person->second.name, question.name);  // The old name.
}

absl::StatusOr<Place> Rooms::On(Join question) {
  if (absl::Status status = CheckName("room", question.room); !status.ok()) return status;
  auto person = people_.find(question.member);
  if (person == people_.end()) return absl::FailedPreconditionError("you have left");
  if (person->second.room == absl::AsciiStrToLower(question.room)) {
    return absl::AlreadyExistsError(absl::StrCat("you are in ", question.room));
  }
  return MoveTo(person->second, question.room);
}

absl::StatusOr<Place> Rooms::MoveTo(Person& person, std::string_view room_name) {
  const std::string key = absl::AsciiStrToLower(std::string(room_name));
  auto found = rooms_.find(key);
  if (found == rooms_.end()) {
    // The lobby does not count, nor does the old room if this is its last member.
    const auto old = rooms_.find(person.room);
    const bool ends =
        old != rooms_.end() && old->first != kLobby && old->second.members.size() == 1;
    const size_t uncounted = rooms_.count(kLobby) + (ends ? 1 : 0);
    if (key != kLobby && rooms_.size() - uncounted >= kRoomsMax) {
      return absl::ResourceExhaustedError(absl::StrCat("there are ", kRoomsMax, " rooms already"));
    }
    const sluice::Ref<sluice::Hub> hub = Spawn<sluice::Hub>(hub_options_);
    if (!hub) return absl::ResourceExhaustedError("the server has no place for another room");
    found = rooms_.emplace(key, Room{std::string(room_name), hub, {}}).first;
  }
  LeaveRoom(person);
  person.room = key;
  found->second.members.emplace(absl::AsciiStrToLower(person.name), person.name);
  return Place{person.name, found->second.name, found->second.hub};
}

void Rooms::LeaveRoom(Person& person) {
  auto room = rooms_.find(person.room);
  if (room == rooms_.end()) return;
  room->second.members.erase(absl::AsciiStrToLower(person.name));
  if (room->second.members.empty() && room->first != kLobby) {
    sluice::StopWhenLeft(room->second.hub);
    rooms_.erase(room);
  }
}

absl::StatusOr<sluice::Ref<Member>> Rooms::On(Find question) {
  auto found = by_name_.find(absl::AsciiStrToLower(question.name));
  if (found == by_name_.end())
    return absl::NotFoundError(absl::StrCat("no member is called ", question.name));
  return found->second;
}

std::string Rooms::On(ListMembers question) {
  auto person = people_.find(question.member);
  if (person == people_.end()) return "";
  return List(rooms_.at(person->second.room).members,
              [](const auto& entry) { return entry.second; });
}

std::string Rooms::On(ListRooms) {
  return List(rooms_, [](const auto& entry) { return entry.second.name; });
}

void Rooms::OnDown(const sluice::Down& down) {
  auto found = by_monitor_.find(down.monitor);
  if (found != by_monitor_.end()) Forget(found->second);
}

void Rooms::Forget(sluice::Ref<Member> member) {
  auto person = people_.find(member);
  if (person == people_.end()) return;
  LeaveRoom(person->second);
  by_name_.erase(absl::AsciiStrToLower(person->second.name));
  Demonitor(person->second.monitor);
  by_monitor_.erase(person->second.monitor);
  people_.erase(person);
}

}  // namespace chat
