// A publisher numbers its messages to a hub; subscribers of every policy come, go, and stop
// reading. The count of each is exact: received + missed + conflated + skipped equals the messages
// published since it joined, after each message and at the end, though memory for any of it may be
// spent.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "sluice/core/base/strings.h"
#include "sluice/protocols/line_session.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/feed.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sluice.h"

namespace sluice::sim::broadcast_scenario {

namespace {

constexpr uint32_t kKeys = 6;
constexpr absl::Duration kDigests = absl::Seconds(1);  // By then no glutton holds memory.
constexpr uint64_t kHeldUsMax = 2'000;
constexpr absl::Duration kParkTimeout = absl::Milliseconds(500);
// A tick, a held worker, and the steps between two checks.
constexpr absl::Duration kParkLate = absl::Milliseconds(50);
constexpr int kStepsPerLook = 16;
// Messages after the flood: the next message reports those that memory refused.
constexpr int kTicks = 3;

class Publisher : public Actor {
 public:
  struct Go {};
  explicit Publisher(Feed* feed) : feed_(*feed) {}
  void OnStart() override {
    const int64_t wait_ms = feed_.simulation.random().Between(0, 200);
    After(absl::Milliseconds(wait_ms), [this] { On(Go{}); });
  }
  void On(Go) {
    Random& random = feed_.simulation.random();
    if (feed_.published >= feed_.messages) {
      feed_.flooding = false;
      After(kDigests, [this] { Tick(kTicks); });
      return;
    }
    bool said = true;
    for (int64_t i = random.Between(1, 12); i > 0 && said; --i) said = Say();
    if (!said || random.Below(3) == 0 || Send(RefOf(this), Go{}) != Answer::kAccepted) {
      After(absl::Milliseconds(random.Between(1, 20)), [this] { On(Go{}); });
    }
  }

 private:
  void Tick(int left) {
    if (left == 0) {
      feed_.done_ns = feed_.simulation.NowNs();
      return;
    }
    const bool said = Say();
    After(absl::Milliseconds(20), [this, left, said] { Tick(said ? left - 1 : left); });
  }
  bool Say() {
    Random& random = feed_.simulation.random();
    const int64_t number = feed_.published + 1;
    const uint64_t key = random.Below(kKeys);
    const std::string text = absl::StrCat(
        "m ", number, " ", key, " ",
        std::string(random.Below(static_cast<uint64_t>(feed_.bytes_max)), 'a' + number % 26), "\n");
    std::optional<Bytes> payload = random.Below(2) == 0 ? Bytes::Copy(text, runtime().budget())
                                                        : std::optional<Bytes>(Bytes::Copy(text));
    if (!payload.has_value()) return false;
    if (Send(feed_.hub, Publish{*std::move(payload), {}, key}) != Answer::kAccepted) return false;
    ++feed_.published;
    feed_.said[absl::StrCat(key)] = number;
    return true;
  }

  Feed& feed_;
};

}  // namespace

// The server side of a Subscriber.
class Talker : public LineSession {
 public:
  explicit Talker(Feed* feed) : LineSession(256), feed_(*feed) {}
  void OnLine(std::string_view line) override {
    if (line[0] == '?') {
      // The first is copied if the kernel does not take it, the second is shared.
      if (Write(std::string(kAsideBytes, '?') + "\n") != Answer::kAccepted) return;
      (void)Write(Bytes::Copy("!\n"));
      return;
    }
    if (line[0] != 's') {
      leaving_ = line[0];
      if (!subscription_.Joined()) return Left();
      seat_->ordered = HubLedger::Of(runtime()).published;
      hold_ = HoldReading();
      Unsubscribe(*this, std::exchange(subscription_, {}));
      return;
    }
    const std::vector<std::string> words = absl::StrSplit(ToAbsl(line), ' ');
    size_t seat = 0;
    int policy = 0;
    int close_ms = 0;
    SubscribeOptions options;
    if (!absl::SimpleAtoi(words[1], &seat) || !absl::SimpleAtoi(words[2], &policy) ||
        !absl::SimpleAtoi(words[3], &options.queue_messages_max) ||
        !absl::SimpleAtoi(words[5], &close_ms)) {
      feed_.simulation.Broken("L9 close", "a line came that no client says");
    }
    if (seat_ == nullptr) here().push_back(this);
    seat_ = &feed_.seats[seat];
    options.slow = static_cast<SlowPolicy>(policy);
    options.keys_max = feed_.all_conflate ? kKeys : 1 + options.queue_messages_max % 8;
    options.park_timeout = kParkTimeout;
    if (words[4] == "1") {
      options.filter = [at = seat_](std::string_view payload, uint64_t) {
        const int64_t number = NumberOf(payload);
        if (number % kFilterStep != 0) return true;
        at->rejected.push_back(number);
        return false;
      };
    }
    // Close while subscribed, with any backlog.
    if (close_ms > 0) {
      After(absl::Milliseconds(close_ms), [this] {
        seat_->closing = true;
        Close();
      });
    }
    hold_ = HoldReading();
    if (Send(feed_.hub, Subscribe(this, options)) != Answer::kAccepted) On(Subscribed{});
  }
  void On(Subscribed subscribed) {
    hold_.Release();
    if (!subscribed.Joined()) {
      Say("r\n");
      return;
    }
    subscription_ = subscribed;
    seat_->joined = static_cast<int64_t>(subscribed.sequence);
  }
  void On(Unsubscribed unsubscribed) {
    if (unsubscribed.sequence.has_value()) {
      seat_->left = static_cast<int64_t>(*unsubscribed.sequence);
    } else if (connection() != nullptr && !seat_->closing) {
      feed_.simulation.Broken("hub, leave",
                              "a subscriber that leaves is not notified at which message");
    }
    hold_.Release();
    Left();
  }
  void Left() {
    if (leaving_ == 'l') return Say("l\n");
    if (Write("b\n") != Answer::kAccepted) return Abort(CloseReason::kMemory);
    Close();
  }
  // Retries until there is memory.
  void Say(const char* line) {
    if (connection() == nullptr || Write(line) == Answer::kAccepted) return;
    After(absl::Milliseconds(1), [this, line] { Say(line); });
  }
  void OnClose(CloseReason reason) override {
    if (seat_ == nullptr) return;
    seat_->ended = reason;
    if (seat_->closing && reason == CloseReason::kSlow) {
      feed_.simulation.Broken("hub", "one that was closing has been waited for, and ended as slow");
    }
    std::vector<Talker*>& all = here();
    std::erase(all, this);
    // Ends another session while the spoke is in the middle of its work for all of them.
    if (reason != CloseReason::kSlow || !feed_.takes_along || all.empty()) return;
    all.front()->seat_->taken_along = true;
    all.front()->Abort();
  }

 private:
  std::vector<Talker*>& here() { return feed_.talkers[&worker()]; }

  Feed& feed_;
  Seat* seat_ = nullptr;
  Subscribed subscription_;
  ReadHold hold_;
  char leaving_ = 0;
};

namespace {

// Now and then holds all memory, with its worker's overdraft: any charge there may be refused.
class Glutton : public Actor {
 public:
  Glutton(Feed* feed, int64_t hunger) : feed_(*feed), hunger_(hunger) {}
  void OnStart() override { Rest(); }
  void OnStop() override { Release(); }

 private:
  void Rest() {
    if (!feed_.flooding) return;
    After(absl::Microseconds(feed_.simulation.random().Between(100, 30'000)), [this] { Grab(); });
  }
  void Grab() {
    // Meanwhile more arrives for the other actors of this worker than one turn would find.
    feed_.simulation.Sleep(absl::Microseconds(feed_.simulation.random().Below(kHeldUsMax)));
    Lease& lease = worker().lease();
    for (int64_t bytes = 1 << 22; bytes >= 16; bytes /= 2) {
      while (lease.ChargeOverdraft(bytes)) held_ += bytes;
    }
    Random& random = feed_.simulation.random();
    const auto left = static_cast<int64_t>(random.Below(random.Below(2) == 0 ? 1'000 : 100'000));
    lease.Refund(std::min(left, held_));
    held_ -= std::min(left, held_);
    After(absl::Milliseconds(random.Between(1, hunger_)), [this] {
      Release();
      Rest();
    });
  }
  void Release() { worker().lease().Refund(std::exchange(held_, 0)); }

  Feed& feed_;
  const int64_t hunger_;
  int64_t held_ = 0;
};

// While subscribers with policy park are full, no message is handed to any other subscriber, so
// each of them must end after park_timeout, whichever others come and go.
class RoomCheck {
 public:
  explicit RoomCheck(Site& site) : site_(site) {}
  void AfterStep() {
    if (++steps_ % kStepsPerLook != 0) return;
    Simulation& simulation = site_.simulation();
    const int64_t due = HubLedger::Of(site_.runtime()).due;
    if (!Held() || std::exchange(due_, due) != due) {
      since_ns_ = simulation.NowNs();
    } else if (simulation.NowNs() - since_ns_ >
               absl::ToInt64Nanoseconds(kParkTimeout + kParkLate)) {
      simulation.Broken("hub", "one subscriber holds the room for longer than park_timeout");
    }
  }

 private:
  bool Held() const {
    bool held = false;
    for (int i = 0; i < site_.runtime().WorkerCount(); ++i) {
      site_.runtime().shared().slots.ForEach(&site_.runtime().worker(i), [&](Slot* slot) {
        held |= (slot->suspended & Slot::kBySelf) != 0 && slot->state == ActorState::kLive;
      });
    }
    return held;
  }

  Site& site_;
  int64_t steps_ = 0;
  int64_t due_ = 0;
  int64_t since_ns_ = 0;  // The last step with room, or with a message handed over.
};

// If nothing was missed, a conflating subscriber must have received the newest message of each key.
void CheckNewest(const Feed& feed) {
  for (const Newest& subscriber : feed.conflated) {
    for (const auto& [key, number] : feed.said) {
      const auto heard = subscriber.heard.find(key);
      const int64_t last = heard == subscriber.heard.end() ? 0 : heard->second;
      if (number <= subscriber.joined || last == number) continue;
      feed.simulation.Broken("conflate", absl::StrCat("the last message received of key ", key,
                                                      " is ", last, ", and ", number, " was said"));
    }
  }
}

}  // namespace

void Run(Simulation& simulation) {
  CalmOrHarsh(simulation);
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 4)));
  options.output_bytes_max = 64 * 1024;
  options.output_bytes_high = simulation.Amount("output_high", 500, 8'000);
  options.output_bytes_low = options.output_bytes_high / 4;
  options.input_bytes_max = 4'096;
  options.mailbox_messages_max = static_cast<uint32_t>(simulation.Amount("mailbox", 2, 64));
  options.lane_messages_max = static_cast<uint32_t>(simulation.Amount("lane", 1, 64));
  options.memory_bytes_max = options.MemoryBytesMin() + simulation.Amount("memory", 0, 1'000'000);
  Feed feed{simulation, simulation.Amount("messages", 1, 1'000),
            simulation.Amount("message_bytes", 1, 4'000)};
  feed.takes_along = simulation.Amount("takes_along", 0, 3) == 1;
  feed.all_conflate = simulation.Amount("all_conflate", 0, 3) == 1;
  feed.closes = simulation.Amount("closes", 0, 3) == 1;
  Site site(simulation, options);
  Runtime& runtime = site.runtime();
  feed.hub = runtime.Spawn<Hub>(
      HubOptions{[](int64_t missed) { return absl::StrCat("x ", missed, "\n"); }});
  runtime.Spawn<Publisher>(&feed);
  const int64_t hunger = simulation.Amount("hunger", 0, 300);
  for (int worker = 0; hunger > 0 && worker < options.workers; ++worker) {
    SpawnOptions where;
    where.worker = worker;
    runtime.SpawnWith<Glutton>(where, &feed, hunger);
  }
  runtime.Listen<Talker>("10.0.0.1:7001", &feed);
  RoomCheck room(site);
  bool over = false;
  simulation.AfterEachStep([&] {
    if (!over) room.AfterStep();
  });
  if (!site.Start()) return;
  Crowd crowd(simulation, simulation.NewMachine("clients"));
  SimOs& machine = *simulation.machines().back();
  int64_t subscribers = simulation.Amount("subscribers", 1, 16);
  // More than one portion of a round, on one or two workers.
  if (simulation.Amount("crowd", 0, 7) == 1) subscribers += simulation.Amount("more", 8, 46);
  for (int64_t i = subscribers; i > 0; --i) {
    crowd.Add(absl::StrCat("subscriber ", i), [&feed, &machine, &simulation, i] {
      Random random(simulation.seed() * 1'000 + static_cast<uint64_t>(i));
      simulation.Sleep(absl::Milliseconds(random.Between(0, 100)));
      Subscriber(feed, machine, random.Next()).Run();
    });
  }
  crowd.Join();
  if (!simulation.RunUntil([&feed] { return feed.done_ns != 0; }, absl::Minutes(2))) {
    simulation.Broken("L5 progress", "the publisher does not come to its end");
  }
  over = true;
  site.End();
  const HubTotals totals = HubLedger::Of(runtime);
  if (totals.published != feed.published || totals.queued != 0 ||
      totals.due != totals.received + totals.missed + totals.conflated + totals.skipped) {
    simulation.Broken("L1 ledger", totals.ToString());
  }
  if (totals.missed == 0) CheckNewest(feed);
}

}  // namespace sluice::sim::broadcast_scenario
