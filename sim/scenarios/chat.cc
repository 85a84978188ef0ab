// The chat example, with members that talk, rename themselves, change rooms, write to each other
// and stop reading. A member of a room receives each line once, in its speaker's order, or the
// number of missed lines. No two members have one name. A member that leaves a room has received,
// or been told to have missed, all lines that others received there before its own last line.
#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "sluice/core/base/strings.h"
#include "sluice/examples/chat_member.h"
#include "sluice/examples/chat_rooms.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/world/client.h"
#include "sluice/sluice.h"

namespace sluice::sim::chat_scenario {

namespace {

constexpr const char* kNames[] = {"ann", "Ann", "bob", "cid", "dee", "eve"};
constexpr const char* kRooms[] = {"lobby", "red", "blue"};
constexpr absl::Duration kListens = absl::Milliseconds(30);  // How long it waits for another line.
constexpr int kQuietTimes = 40;  // After so many waits without a line, all have come.

// A member's stay in a room, as the member received it: from "you are now in" to the next one, or
// to the end.
struct Stay {
  std::vector<std::string> heard;  // Speaker, number and stay of each line, in their order.
  int64_t told = 0;                // Lines it was told to have missed.
  std::vector<std::string> said;   // In the same form.
  bool left = false;               // Left by itself: the room had time to deliver all.
};

// If a witness received two lines of a leaver, the leaver must have received all lines between
// them, too.
void CheckLeavers(Simulation& simulation, const std::deque<Stay>& stays) {
  for (const Stay& leaver : stays) {
    if (!leaver.left || leaver.said.size() < 2) continue;
    const std::set<std::string> own(leaver.said.begin(), leaver.said.end());
    const std::set<std::string> heard(leaver.heard.begin(), leaver.heard.end());
    for (const Stay& witness : stays) {
      const auto is_own = [&own](const std::string& line) { return own.contains(line); };
      const auto first = std::ranges::find_if(witness.heard, is_own);
      const auto last = std::find_if(witness.heard.rbegin(), witness.heard.rend(), is_own);
      if (first == witness.heard.end()) continue;
      const int64_t unheard = std::count_if(first, last.base(), [&](const std::string& line) {
        return !own.contains(line) && !heard.contains(line);
      });
      if (unheard <= leaver.told) continue;
      simulation.Broken("hub, leave", absl::StrCat("a member that left has not received ", unheard,
                                                   " lines that came before its last one, ", *last,
                                                   ", and was notified of ", leaver.told));
    }
  }
}

class Person {
 public:
  Person(Simulation& simulation, SimOs& machine, SlowPolicy policy, int64_t number,
         std::deque<Stay>& stays)
      : stays_(stays),
        simulation_(simulation),
        random_(simulation.random()),
        door_(AnyDoor(simulation, machine)),
        client_(*door_.machine, kListens),
        policy_(policy),
        number_(number) {}

  void Run(int64_t turns) {
    stays_.emplace_back();
    here_ = &stays_.back();
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
      Broken("L5 progress", "the connection of a member that has quit does not end");
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
        said_in_.emplace_back();
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
          said_in_.back().push_back(absl::StrCat(number_, " ", said_, " ", stay_));
        }
    }
    const absl::Status status = client_.Write(text);
    if (!status.ok()) Cut(status);
    return status.ok();
  }

  // Reads until so many waits brought nothing. False: the connection is over.
  bool Listen(int times) {
    while (times > 0) {
      const absl::StatusOr<std::string> line = client_.ReadLine();
      if (line.ok()) {
        Hear(*line);
      } else if (absl::IsDeadlineExceeded(line.status())) {
        --times;
      } else {
        over_ = true;
        if (quits_ && absl::IsOutOfRange(line.status())) EndStay();
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
      here_->told += missed;
    } else if (line.rfind("* you are now in ", 0) == 0) {
      heard_.clear();  // Lines said while it was elsewhere are not for it.
      told_ = gaps_ = 0;
      EndStay();
      stays_.emplace_back();
      here_ = &stays_.back();
    } else if (line.rfind("error: you are in ", 0) == 0) {
      TakeSaid();  // The member stays.
    } else if (is_private || (words.size() == 6 && words[1] == "s")) {
      const size_t at = is_private ? 3 : 2;
      int64_t number = 0;
      if (!absl::SimpleAtoi(words[at + 1], &number)) return Broken("L2 order", line);
      if (!is_private) {
        here_->heard.push_back(absl::StrCat(words[2], " ", words[3], " ", words[4]));
      }
      const std::string of = absl::StrCat(words[at], is_private ? " private" : words[at + 2]);
      const auto [last, first] = heard_.emplace(of, number);
      if (!first && number <= last->second) {
        Broken("L2 order", absl::StrCat("after ", last->second, " came: ", line));
      }
      if (!first && !is_private) gaps_ += number - last->second - 1;
      if (gaps_ > told_) {
        Broken("L1 ledger",
               absl::StrCat(gaps_, " are missing, ", told_, " are reported, at: ", line));
      }
      last->second = number;
    } else if (line.find(", ") != std::string::npos && line[0] != '*' && words[0] != "Welcome") {
      std::set<std::string> names;  // An answer to /who.
      for (const auto part : absl::StrSplit(line, ", ")) {
        if (!names.insert(absl::AsciiStrToLower(part)).second) {
          Broken("names", absl::StrCat("two have one name: ", line));
        }
      }
    }
  }

  // Lines said before its oldest unanswered order to change rooms were said in this room.
  void TakeSaid() {
    for (std::string& line : said_in_.front()) here_->said.push_back(std::move(line));
    said_in_.pop_front();
    if (said_in_.empty()) said_in_.emplace_back();
  }
  void EndStay() {
    TakeSaid();
    here_->left = true;
  }

  void Cut(const absl::Status& status) {
    // A late reader is ended by policy disconnect; with park, the speakers wait.
    if (policy_ == SlowPolicy::kDisconnect || MayEndConnections(simulation_.faults)) return;
    if (policy_ == SlowPolicy::kPark && absl::IsDeadlineExceeded(status)) return;
    Broken("L9 close", absl::StrCat("a member was cut off: ", status.ToString()));
  }

  void Broken(std::string_view law, const std::string& what) {
    simulation_.Broken(law, absl::StrCat(what.substr(0, 200), " (member ", number_, ", policy ",
                                         ToAbsl(SlowPolicyName(policy_)), ")"));
  }

  std::deque<Stay>& stays_;  // Stays of all members.
  Stay* here_ = nullptr;
  // A new part begins at each order to change rooms.
  std::deque<std::vector<std::string>> said_in_{1};
  Simulation& simulation_;
  Random& random_;
  const Door door_;
  Client client_;
  const SlowPolicy policy_;
  const int64_t number_;
  int64_t stay_ = 0;  // Number of the room that it asked for last.
  int64_t said_ = 0;
  int64_t privates_ = 0;
  int64_t told_ = 0;
  int64_t gaps_ = 0;
  std::map<std::string, int64_t> heard_;  // The last number of each speaker and stay.
  bool quits_ = false;
  bool over_ = false;
};

}  // namespace

void Run(Simulation& simulation) {
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
  std::deque<Stay> stays;
  const int64_t turns = simulation.Amount("turns", 1, 25);
  for (int64_t i = simulation.Amount("members", 1, 10); i > 0; --i) {
    crowd.Add(absl::StrCat("member ", i),
              [&, i] { Person(simulation, machine, subscription.slow, i, stays).Run(turns); });
  }
  crowd.Join();
  CheckLeavers(simulation, stays);
  site.End();
  const HubTotals totals = HubLedger::Of(site.runtime());
  if (totals.queued != 0 ||
      totals.due != totals.received + totals.missed + totals.conflated + totals.skipped) {
    simulation.Broken("L1 ledger", totals.ToString());
  }
}

}  // namespace sluice::sim::chat_scenario
