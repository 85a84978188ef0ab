// Actors join a hub in their tasks, under every policy, and leave it, wait with a deadline, end,
// fail and join again. What comes is in order, each message says exactly how many were missed
// before it, no wait sleeps on while a message is there, and who has left may join at once.
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/core/base/strings.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sluice.h"

namespace sluice::sim::subscriptions_scenario {

namespace {

constexpr uint64_t kKeys = 5;
constexpr uint64_t kLastKey = 99;
constexpr int64_t kStep = 7;  // Filters refuse each seventh number.

struct World {
  explicit World(Simulation& in) : simulation(in) {}
  Simulation& simulation;
  Ref<Hub> hub = {};
  int64_t messages = 0;
  int64_t published = 0;
  int64_t readers = 0;  // That have not seen the last message, and do not end before it.
  bool over = false;    // The hub ends.
};

class Publisher : public Actor {
 public:
  explicit Publisher(World* world) : world_(*world) {}
  void OnStart() override { Next(); }

 private:
  void Next() {
    Random& random = world_.simulation.random();
    for (int64_t i = random.Between(1, 9); i > 0; --i) {
      // No filter refuses the last one.
      const bool last =
          world_.published + 1 >= world_.messages && (world_.published + 1) % kStep != 0;
      const std::string text = absl::StrCat(world_.published + 1, last ? " last" : "");
      const auto bytes = Bytes::Copy(text, runtime().budget());
      const uint64_t key = last ? kLastKey : 1 + static_cast<uint64_t>(world_.published) % kKeys;
      if (!bytes || Send(world_.hub, Publish{*bytes, {}, key}) != Answer::kAccepted) break;
      ++world_.published;
      if (last) return;
    }
    (void)After(absl::Microseconds(random.Between(0, 3'000)), [this] { Next(); });
  }

  World& world_;
};

// Joins, reads for a while in one way or another, leaves, and joins again, until the last message.
class Reader : public Actor {
 public:
  Reader(World* world, bool ends) : world_(*world), ends_(ends) {}
  void OnStart() override {
    StartTask(Reads());
    if (!ends_) return;
    const bool throws = random().Below(2) == 0;
    (void)After(absl::Milliseconds(random().Between(0, 20)), [this, throws] {
      if (throws) throw std::runtime_error("as planned");
      Stop();
    });
  }

 private:
  Random& random() const { return world_.simulation.random(); }
  void Broken(const std::string& what) { world_.simulation.Broken("L4 count", what); }

  Task<> Reads() {
    bool last = false;
    while (!last) last = co_await Visit();
    --world_.readers;
  }

  // True: the last message has come.
  Task<bool> Visit() {
    SubscribeOptions options;
    constexpr SlowPolicy kPolicies[] = {SlowPolicy::kDropOldest, SlowPolicy::kDropNewest,
                                        SlowPolicy::kDisconnect, SlowPolicy::kConflate};
    options.slow = kPolicies[random().Below(4)];
    conflates_ = options.slow == SlowPolicy::kConflate;
    options.queue_messages_max = options.keys_max =
        static_cast<uint32_t>(random().Between(conflates_ ? kKeys + 1 : 1, 12));
    filters_ = !conflates_ && random().Below(4) == 0;
    if (filters_) {
      options.filter = [](std::string_view payload, uint64_t) {
        return NumberOf(payload) % kStep != 0;
      };
    }
    Subscription news(this);
    if (random().Below(6) == 0) {
      // Cancelled while it joins, or just behind that.
      (void)co_await FirstOf(news.Join(world_.hub), Sleep(absl::Microseconds(random().Below(300))));
      news.Leave();
      co_return false;
    }
    const absl::Status joined = co_await news.Join(world_.hub, options);
    if (!joined.ok()) {
      if (world_.over) co_return true;
      // No memory; or the queue was full before this task went on (kDisconnect).
      if (joined.code() != absl::StatusCode::kResourceExhausted &&
          joined.code() != absl::StatusCode::kAborted) {
        Broken(absl::StrCat("a join is refused: ", joined.message()));
      }
      co_await Sleep(absl::Milliseconds(1));
      co_return false;
    }
    known_ = false;
    const bool to_the_end = random().Below(3) == 0;
    for (int64_t takes = random().Between(0, 40); takes > 0 || to_the_end; --takes) {
      if (random().Below(5) == 0) co_await Sleep(absl::Microseconds(random().Below(5'000)));
      std::optional<Subscription::Message> message;
      if (random().Below(3) == 0) {
        auto first =
            co_await FirstOf(news.Next(), Sleep(absl::Microseconds(random().Below(2'000))));
        if (first.index() == 1) continue;
        message = std::get<0>(std::move(first));
      } else {
        message = co_await news.Next();
      }
      if (!message) {
        // Too slow for kDisconnect.
        if (world_.over) co_return true;
        if (news.status().code() != absl::StatusCode::kAborted) {
          Broken(absl::StrCat("no message, and the reason is: ", news.status().message()));
        }
        co_return false;
      }
      if (!Check(*message)) co_return true;
      if (message->payload.view().ends_with("last")) co_return true;
    }
    co_return false;
  }

  static int64_t NumberOf(std::string_view payload) {
    int64_t number = 0;
    (void)absl::SimpleAtoi(ToAbsl(payload.substr(0, payload.find(' '))), &number);
    return number;
  }
  static int64_t Filtered(int64_t from, int64_t to) {  // In [from, to].
    return to / kStep - (from - 1) / kStep;
  }

  // False: a count is wrong.
  bool Check(const Subscription::Message& message) {
    const int64_t number = NumberOf(message.payload.view());
    if (conflates_) return CheckConflated(message, number);
    // Which message was the first one after the join, is not known.
    int64_t due = known_ ? number - next_ : message.missed;
    if (known_ && filters_) due -= Filtered(next_, number - 1);
    if (message.missed != due || message.missed >= number) {
      Broken(
          absl::StrCat("before ", number, " ", due, " are missing, and it says ", message.missed));
      return false;
    }
    known_ = true;
    next_ = number + 1;
    return true;
  }

  // The sum counts where the queue is empty, as it is behind the last message.
  bool CheckConflated(const Subscription::Message& message, int64_t number) {
    int64_t& newest = newest_[message.key == kLastKey ? 0 : message.key];
    if (!std::exchange(known_, true)) {
      for (int64_t& of : newest_) of = 0;
      counted_ = 0;
    }
    if (number <= newest) {
      Broken(absl::StrCat("key ", message.key, " is at ", newest, ", and then at ", number));
      return false;
    }
    newest = number;
    counted_ += 1 + message.missed;
    const bool last = message.payload.view().ends_with("last");
    if (last && counted_ > number) Broken("more is counted than was published");
    return true;
  }

  World& world_;
  const bool ends_;
  bool conflates_ = false;
  bool filters_ = false;
  bool known_ = false;  // A message has come since the join.
  int64_t next_ = 0;    // The number of the message that is due.
  int64_t counted_ = 0;
  int64_t newest_[kKeys + 1] = {};  // Of each key; the first of kLastKey.
};

}  // namespace

void Run(Simulation& simulation) {
  CalmOrHarsh(simulation);
  const auto workers = static_cast<int>(simulation.Amount("workers", 1, 3));
  Site site(simulation, SmallOptions(workers));
  World world(simulation);
  world.messages = simulation.Amount("messages", 1, 400);
  world.hub = site.runtime().Spawn<Hub>();
  Random& random = simulation.random();
  for (int64_t i = simulation.Amount("readers", 1, 8); i > 0; --i) {
    const bool ends = random.Below(4) == 0;
    if (!ends) ++world.readers;
    site.runtime().Spawn<Reader>(&world, ends);
  }
  site.runtime().Spawn<Publisher>(&world);
  if (!site.Start()) return;
  // Who is not joined when the last message comes, misses it: it is said again until all have it.
  for (int rounds = 0; world.readers > 0 && rounds < 2'000 && !simulation.Failed(); ++rounds) {
    simulation.Sleep(absl::Milliseconds(5));
    if (world.published < world.messages || rounds % 20 != 0) continue;
    ++world.messages;
    site.runtime().Spawn<Publisher>(&world);
  }
  if (world.readers > 0) {
    simulation.Broken("L5 progress", absl::StrCat(world.readers, " readers wait for a message"));
  }
  world.over = true;
  StopWhenLeft(world.hub);
  site.End();
}

}  // namespace sluice::sim::subscriptions_scenario
