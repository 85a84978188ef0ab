// The chat that ships, with members who talk, rename themselves, change rooms, write to each other
// and stop to read: who is in a room hears each line once, in its speaker's order, or is told how
// many it missed; and no two have one name.
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "sluice/core/strings.h"
#include "sluice/examples/chat_member.h"
#include "sluice/examples/chat_rooms.h"
#include "sluice/sim/client.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/site.h"
#include "sluice/sluice.h"

namespace sluice::sim {

namespace {

constexpr const char* kNames[] = {"ann", "Ann", "bob", "cid", "dee", "eve"};
constexpr const char* kRooms[] = {"lobby", "red", "blue"};
constexpr absl::Duration kListens = absl::Milliseconds(30);  // For another line.
constexpr int kQuietTimes = 40;  // So often nothing came: it has heard all.

class Person {
 public:
  Person(Simulation& simulation, SimOs& machine, SlowPolicy policy, int64_t number)
      : simulation_(simulation),
        random_(simulation.random()),
        door_(AnyDoor(simulation, machine)),
        client_(*door_.machine, kListens),
        policy_(policy),
        number_(number) {}

  void Run(int64_t turns) {
    if (random_.Below(3) == 0) client_.LimitBuffers(0, static_cast<int>(random_.Below(8'000)));
    if (!Allowed(simulation_, client_.Connect(door_.address))) return;
    for (; turns > 0; --turns) {
      if (!Act() || !Listen(1)) return;
      if (random_.Below(8) == 0) simulation_.Sleep(absl::Milliseconds(random_.Below(2'000)));
    }
    if (random_.Below(4) == 0) return client_.Reset();
    if (!Listen(kQuietTimes)) return;
    quits_ = true;
    if (!client_.Write("/quit\n").ok()) return Cut(absl::UnavailableError("/quit"));
    Listen(kQuietTimes);
    if (!over_ && !MayEndConnections(simulation_.faults)) {
      Broken("L5 progress", "who has quit does not hear the end");
    }
  }

 private:
  bool Act() {
    std::string text;
    switch (random_.Below(12)) {
      case 0:
        text = absl::StrCat("/nick ", kNames[random_.Below(std::size(kNames))], "\n");
        break;
      case 1:
        text = absl::StrCat("/join ", kRooms[random_.Below(std::size(kRooms))], "\n");
        ++stay_;
        said_ = 0;
        break;
      case 2:
        text = "/who\n";
        break;
      case 3:
        text = absl::StrCat("/msg ", kNames[random_.Below(std::size(kNames))], " p ", number_, " ",
                            ++privates_, " 0 -\n");
        break;
      default:
        for (int64_t i = random_.Between(1, 6); i > 0; --i) {
          absl::StrAppend(&text, "s ", number_, " ", ++said_, " ", stay_, " ",
                          std::string(random_.Below(600), 'x'), "\n");
        }
    }
    const absl::Status status = client_.Write(text);
    if (!status.ok()) Cut(status);
    return status.ok();
  }

  // Until nothing has come so often. False: the connection is over.
  bool Listen(int times) {
    while (times > 0) {
      const absl::StatusOr<std::string> line = client_.ReadLine();
      if (line.ok()) {
        Hear(*line);
      } else if (absl::IsDeadlineExceeded(line.status())) {
        --times;
      } else {
        over_ = true;
        if (!quits_ || !absl::IsOutOfRange(line.status())) Cut(line.status());
        return false;
      }
    }
    return true;
  }

  void Hear(const std::string& line) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    const bool is_private = words.size() == 7 && words[1] == "(private):";
    if (line.rfind("* missed ", 0) == 0) {
      int64_t missed = 0;
      if (!absl::SimpleAtoi(words[2], &missed) || missed <= 0) Broken("L1 ledger", line);
      told_ += missed;
    } else if (line.rfind("* you are now in ", 0) == 0) {
      heard_.clear();  // What is said where it is not is not for it.
      told_ = gaps_ = 0;
    } else if (is_private || (words.size() == 6 && words[1] == "s")) {
      const size_t at = is_private ? 3 : 2;
      int64_t number = 0;
      if (!absl::SimpleAtoi(words[at + 1], &number)) return Broken("L2 order", line);
      const std::string of = absl::StrCat(words[at], is_private ? " private" : words[at + 2]);
      const auto [last, first] = heard_.emplace(of, number);
      if (!first && number <= last->second) {
        Broken("L2 order", absl::StrCat("after ", last->second, " came: ", line));
      }
      if (!first && !is_private) gaps_ += number - last->second - 1;
      if (gaps_ > told_) {
        Broken("L1 ledger", absl::StrCat(gaps_, " are missing, ", told_, " are told, at: ", line));
      }
      last->second = number;
    } else if (line.find(", ") != std::string::npos && line[0] != '*' && words[0] != "Welcome") {
      std::set<std::string> names;  // The answer to /who.
      for (const auto part : absl::StrSplit(line, ", ")) {
        if (!names.insert(absl::AsciiStrToLower(part)).second) {
          Broken("names", absl::StrCat("two have one name: ", line));
        }
      }
    }
  }

  void Cut(const absl::Status& status) {
    // Who reads late is ended, where that is the policy; where it is park, the speakers wait.
    if (policy_ == SlowPolicy::kDisconnect || MayEndConnections(simulation_.faults)) return;
    if (policy_ == SlowPolicy::kPark && absl::IsDeadlineExceeded(status)) return;
    Broken("L9 close", absl::StrCat("a member was cut off: ", status.ToString()));
  }

  void Broken(std::string_view law, const std::string& what) {
    simulation_.Broken(law, absl::StrCat(what.substr(0, 200), " (member ", number_, ", policy ",
                                         ToAbsl(SlowPolicyName(policy_)), ")"));
  }

  Simulation& simulation_;
  Random& random_;
  const Door door_;
  Client client_;
  const SlowPolicy policy_;
  const int64_t number_;
  int64_t stay_ = 0;  // In the room that it asked for last.
  int64_t said_ = 0;
  int64_t privates_ = 0;
  int64_t told_ = 0;
  int64_t gaps_ = 0;
  std::map<std::string, int64_t> heard_;  // The last number, by speaker and stay.
  bool quits_ = false;
  bool over_ = false;
};

}  // namespace

void RunChat(Simulation& simulation) {
  CalmOrHarsh(simulation);
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 4)));
  options.mailbox_messages_max = static_cast<uint32_t>(simulation.Amount("mailbox", 2, 64));
  options.output_bytes_high = simulation.Amount("output_high", 2'000, 64'000);
  options.output_bytes_low = options.output_bytes_high / 4;
  SubscribeOptions subscription;
  subscription.slow = static_cast<SlowPolicy>(simulation.Amount("policy", 0, 3));
  subscription.queue_messages_max = static_cast<uint32_t>(simulation.Amount("queue", 1, 64));
  Site site(simulation, options);
  const auto rooms = site.runtime().Spawn<chat::Rooms>(HubOptions{&chat::MissedNotice});
  site.runtime().Listen<chat::Member>(kDoors, rooms, uint32_t{1'000}, subscription);
  if (!site.Start()) return;
  Crowd crowd(simulation, simulation.NewMachine("clients"));
  SimOs& machine = *simulation.machines().back();
  const int64_t turns = simulation.Amount("turns", 1, 25);
  for (int64_t i = simulation.Amount("members", 1, 10); i > 0; --i) {
    crowd.Add(absl::StrCat("member ", i),
              [&, i] { Person(simulation, machine, subscription.slow, i).Run(turns); });
  }
  crowd.Join();
  site.End();
  const HubTotals totals = HubLedger::Of(site.runtime());
  if (totals.queued != 0 ||
      totals.due != totals.received + totals.missed + totals.conflated + totals.skipped) {
    simulation.Broken("L1 ledger", totals.ToString());
  }
}

}  // namespace sluice::sim
