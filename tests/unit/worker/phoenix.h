// Phoenix is an actor that logs its lives. RestartTest is a fixture with a runtime of two workers;
// the test takes their turns.
#ifndef SLUICE_TESTS_UNIT_PHOENIX_H_
#define SLUICE_TESTS_UNIT_PHOENIX_H_

#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/restart_policy.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing {

struct Note {
  int value;
};
struct Fail {};
struct Do {
  std::function<void(class Phoenix&)>* act;
};
struct Question {
  using Reply = int;
};

using Log = std::vector<std::string>;

// Fails when a message says so, and logs its callbacks. `born` counts the incarnations.
class Phoenix : public Actor {
 public:
  Phoenix(Log* log, std::string name, std::shared_ptr<int> born,
          int constructors_fail_after = 1'000)
      : log_(*log), name_(std::move(name)), incarnation_(++*born) {
    if (incarnation_ > constructors_fail_after) throw std::runtime_error("not born");
  }
  ~Phoenix() override { Say("gone"); }
  void OnStart() override {
    Say("start");
    if (on_start) on_start(*this);
  }
  void OnStop() override { Say("stop"); }
  void OnDown(const Down& down) override {
    Say("down " + std::string(EndReasonName(down.reason)) + ": " + down.text);
  }
  void On(Note note) { Say("note " + std::to_string(note.value)); }
  void On(Fail) {
    Say("fails");
    throw std::runtime_error("boom");
  }
  void On(Do order) { (*order.act)(*this); }
  void On(Question, Promise<int> promise) { promises.push_back(std::move(promise)); }
  void Say(const std::string& what) {
    log_.push_back(name_ + std::to_string(incarnation_) + " " + what);
  }
  using Actor::After;
  using Actor::Ask;
  using Actor::Every;
  using Actor::Monitor;
  using Actor::Now;
  using Actor::RefOf;
  using Actor::Send;
  using Actor::SpawnRestarting;
  using Actor::SpawnWith;
  using Actor::Stop;
  std::vector<Promise<int>> promises;
  static inline std::function<void(Phoenix&)> on_start;

 private:
  Log& log_;
  const std::string name_;
  const int incarnation_;
};

inline SpawnOptions On(int worker, uint32_t capacity = 0, std::string name = "") {
  return {.name = std::move(name), .mailbox_messages_max = capacity, .worker = worker};
}
inline const RestartPolicy kOften{.restarts_max = 100, .backoff_min = absl::ZeroDuration()};

class RestartTest : public ::testing::Test {
 protected:
  static Options RestartOptions() {
    Options options = SmallOptions(2);
    options.linger_timeout = absl::Seconds(600);  // A test that waits for it hangs.
    return options;
  }
  RestartTest() : runtime_(RestartOptions()), step_(runtime_) { Phoenix::on_start = nullptr; }
  ~RestartTest() override {
    Phoenix::on_start = nullptr;
    runtime_.Drain(absl::Seconds(30));
    EXPECT_EQ(runtime_.ActorCount(), 0);
    EXPECT_TRUE(runtime_.TotalLedger().Balanced()) << runtime_.TotalLedger().ToString();
  }
  Ref<Phoenix> Make(const std::string& name, const RestartPolicy& policy = kOften, int worker = 0,
                    uint32_t capacity = 0) {
    const Ref<Phoenix> ref = runtime_.SpawnRestarting<Phoenix>(policy, On(worker, capacity), &log_,
                                                               name, std::make_shared<int>(0));
    step_.Round(2);
    return ref;
  }
  // Runs `act` as a handler of the actor.
  void Do(const Ref<Phoenix>& ref, std::function<void(Phoenix&)> act) {
    Worker& worker = *ref.slot()->worker;
    worker.Enter();
    EXPECT_TRUE(worker.RunHandler(ref.slot(), "test",
                                  [&] { act(*static_cast<Phoenix*>(ref.slot()->actor)); }));
    worker.Leave();
  }
  int Count(const std::string& line) {
    return static_cast<int>(std::count(log_.begin(), log_.end(), line));
  }
  int IndexOf(const std::string& line) {
    return static_cast<int>(std::find(log_.begin(), log_.end(), line) - log_.begin());
  }
  Ledger TotalLedger() { return runtime_.TotalLedger(); }
  Log log_;
  Runtime runtime_;
  Stepper step_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_UNIT_PHOENIX_H_
