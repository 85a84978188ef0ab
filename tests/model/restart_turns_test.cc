// Tests of an actor that fails and is recreated, in every order of the turns of three workers: its
// senders, its monitor, its parent or its child live on other workers.
#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "sluice/tests/model/turns.h"

namespace sluice::model {
namespace {

struct Work {
  int number;
};
struct Go {
  int count;
};

SpawnOptions Placed(int worker, uint32_t capacity = 0) {
  return {.name = "", .mailbox_messages_max = capacity, .worker = worker};
}

// Observations of one run; outlives its actors.
struct Seen {
  std::vector<int> handled;
  std::vector<int> failed;
  int downs = 0;         // Down messages of the target.
  int parent_downs = 0;  // Down messages of its parent.
  int late = 0;          // Messages that the target handled after its Down.
  int made = 0;
  int children = 0;  // Alive now.
  int children_most = 0;
};

class Child : public Actor {
 public:
  explicit Child(Seen* seen) : seen_(*seen) {
    seen_.children_most = std::max(seen_.children_most, ++seen_.children);
  }
  ~Child() override { --seen_.children; }

 private:
  Seen& seen_;
};

class Target : public Actor {
 public:
  Target(Seen* seen, std::vector<int> fails_at) : seen_(*seen), fails_at_(std::move(fails_at)) {
    ++seen_.made;
  }
  void OnStart() override { SpawnWith<Child>(Placed(2), &seen_); }
  void On(Work work) {
    seen_.late += seen_.downs;
    if (std::count(fails_at_.begin(), fails_at_.end(), work.number) > 0) {
      seen_.failed.push_back(work.number);
      throw std::runtime_error("boom");
    }
    seen_.handled.push_back(work.number);
  }

 private:
  Seen& seen_;
  const std::vector<int> fails_at_;
};

// Monitors the target, and sends more than it has room for.
class Sender : public Actor {
 public:
  Sender(Seen* seen, Ref<Target> target) : seen_(*seen), target_(target) {}
  void OnStart() override { Monitor(target_); }
  void On(Go go) {
    // If the target has ended, Send answers kClosed; some orders of turns are about that.
    for (int i = 1; i <= go.count; ++i) (void)Send(target_, Work{i});
  }
  void OnDown(const Down&) override { ++seen_.downs; }

 private:
  Seen& seen_;
  const Ref<Target> target_;
};

class Parent : public Actor {
 public:
  Parent(Seen* seen, RestartPolicy policy, std::vector<int> fails_at)
      : target(SpawnRestarting<Target>(policy, Placed(0, 1), seen, std::move(fails_at))) {}
  const Ref<Target> target;
};
class Watcher : public Actor {
 public:
  Watcher(Seen* seen, Ref<Parent> parent) : seen_(*seen), parent_(parent) {}
  void OnStart() override { Monitor(parent_); }
  void OnDown(const Down&) override { ++seen_.parent_downs; }

 private:
  Seen& seen_;
  const Ref<Parent> parent_;
};

struct Story {
  std::vector<int> fails_at;
  uint32_t restarts_max = 10;
  int sends = 3;
  bool outsider = false;      // An outside thread sends one message too.
  bool stops = false;         // The target is ordered to stop, at any time.
  bool parent = false;        // The target has a parent on another worker.
  bool parent_stops = false;  // The parent is ordered to stop, at any time.
};

Options ThreeWorkers() {
  Options options = testing::WireOptions();
  options.workers = 3;
  return options;
}

class RestartSystem : public TurnsSystem {
 public:
  explicit RestartSystem(const Story& story) : TurnsSystem(ThreeWorkers()), story_(story) {
    const RestartPolicy policy{.restarts_max = story.restarts_max,
                               .backoff_min = absl::ZeroDuration()};
    if (story.parent) {
      parent_ = runtime.SpawnWith<Parent>(Placed(2), &seen_, policy, story.fails_at);
      Settle();
      target_ = static_cast<Parent*>(parent_.slot()->actor)->target;
      runtime.SpawnWith<Watcher>(Placed(0), &seen_, parent_);
    } else {
      target_ = runtime.SpawnRestarting<Target>(policy, Placed(0, 1), &seen_, story.fails_at);
    }
    sender_ = runtime.SpawnWith<Sender>(Placed(1), &seen_, target_);
    Settle();
    outside.push_back({[this] { (void)sender_.TrySend(Go{story_.sends}); }});
    if (story.outsider) {
      outside.push_back({[this] { outsiders_ += target_.TrySend(Work{0}) == Answer::kAccepted; }});
    }
    if (story.stops) outside.push_back({[this] { target_.Stop(); }});
    if (story.parent_stops) outside.push_back({[this] { parent_.Stop(); }});
  }

  void CheckEnd() override {
    const std::string handled = absl::StrJoin(seen_.handled, " ");
    const bool ends =
        story_.stops || story_.parent_stops || story_.fails_at.size() > story_.restarts_max;
    std::vector<int> from_sender = seen_.handled;
    std::erase(from_sender, 0);
    Expect(std::is_sorted(from_sender.begin(), from_sender.end()),
           absl::StrCat("out of order: ", handled));
    Expect(seen_.late == 0, "a message was handled after the word of the end");
    Expect(seen_.downs == ends, absl::StrCat(seen_.downs, " words of the target's end"));
    Expect(seen_.parent_downs == (ends && story_.parent && !story_.stops),
           absl::StrCat(seen_.parent_downs, " words of the parent's end"));
    Expect(seen_.children == (ends ? 0 : 1), absl::StrCat(seen_.children, " children live"));
    Expect(seen_.children_most == 1, "a child of two incarnations at once");
    if (!ends) {
      Expect(seen_.handled.size() + seen_.failed.size() ==
                 static_cast<size_t>(story_.sends + outsiders_),
             absl::StrCat("handled only: ", handled));
      Expect(seen_.failed == story_.fails_at, "it failed otherwise than it should");
      Expect(seen_.made == 1 + static_cast<int>(story_.fails_at.size()), "made too often");
    }
  }

 private:
  const Story story_;
  Seen seen_;
  int outsiders_ = 0;
  Ref<Parent> parent_;
  Ref<Target> target_;
  Ref<Sender> sender_;
};

void ExpectHolds(const Story& story, int64_t orders) {
  const TurnsReport report = AllTurns<RestartSystem>(2'000'000, story);
  std::printf("%s\n", report.Summary().c_str());
  EXPECT_EQ(report.failure, "");
  EXPECT_TRUE(report.complete);
  EXPECT_GT(report.runs, orders);
}

TEST(RestartTurns, LosesOnlyTheMessageThatItFailedOn) {
  ExpectHolds({.fails_at = {1, 2}}, 30);
  ExpectHolds({.fails_at = {2, 3}, .sends = 4, .outsider = true}, 500);
}

TEST(RestartTurns, ActorStoppedMeanwhileEndsOnce) {
  ExpectHolds({.fails_at = {1, 2}, .outsider = true, .stops = true}, 2'000);
}

TEST(RestartTurns, GivingUpFailsTheParentWithOneDown) {
  ExpectHolds({.fails_at = {1, 2}, .restarts_max = 1, .outsider = true, .parent = true}, 700);
  ExpectHolds({.fails_at = {1, 2}, .restarts_max = 1, .parent = true, .parent_stops = true}, 500);
}

TEST(RestartTurns, StoppedParentEndsOnceAfterItsChild) {
  ExpectHolds({.fails_at = {2}, .outsider = true, .parent = true, .parent_stops = true}, 5'000);
}

}  // namespace
}  // namespace sluice::model
