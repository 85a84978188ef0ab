// Case is one pair of the scenario `cancels` in a run: how it is drawn, and what became of it. Here
// are also the actors that its waits need.
//
// Owner:  the World, which ends after the runtime.
// Thread: the worker's of its patient, and the script of its peer. One thread of a simulation runs
//         at a time.
// Bound:  a Case for each pair of a run.
// Errors: Simulation::Broken.
#ifndef SLUICE_SIM_SCENARIOS_CASES_H_
#define SLUICE_SIM_SCENARIOS_CASES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "sluice/actors/connection/session.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/memory/buffer.h"
#include "sluice/core/os/open_file.h"
#include "sluice/sim/scenarios/cancels.h"
#include "sluice/sim/world/simulation.h"

namespace sluice::sim::cancels_scenario {

inline constexpr absl::Duration kLong = absl::Seconds(60);
// No machine is there, and nobody refuses.
inline constexpr std::string_view kNowhere = "10.9.9.9:7";
inline constexpr std::string_view kDoor = "10.0.0.1:7001";
inline constexpr size_t kOutputMax = 80'000;
// The peer sends two times so many bytes to a read.
inline constexpr size_t kReadBytes = 20;

// The part of a wait in its case. Each writes letters of its own.
enum class Role : uint8_t { kMain, kAside, kAgain };

struct Case {
  Kind kind;
  Way way;
  bool in_session;
  bool together;  // The end of the wait is due when the cancel comes.
  bool aside;     // Another task of the actor waits in the same way, and is not cancelled.
  bool by_message;
  bool first;  // An order of two, where there is one.
  bool acts;   // A destructor in the frame that waits begins more work.
  absl::Duration cancel_after;
  absl::Duration end_after;

  int64_t frames = 0;        // Living frames of the task.
  int64_t aside_frames = 0;  // Those of the other one.
  int64_t more_frames = 0;   // Those of tasks that a destructor has begun.
  int64_t callers = 0;       // Sessions that its tasks have made.
  int64_t FramesLeft() const { return frames + aside_frames + more_frames + callers; }
  int64_t lives = 0;
  int64_t met = 0;     // The wait was cancelled.
  int64_t ended = 0;   // The wait has ended.
  bool waits = false;  // The wait begins in this handler, or waits.
  bool over = false;   // The task must not go on behind its wait.
  bool done = false;   // The actor is gone.
  int64_t filler = 0;  // Bytes written before the wait.
};

struct Later {
  using Reply = int64_t;
  int64_t number;
  absl::Duration time;
};
struct Note {};
struct Go {};

struct World {
  World(Simulation& in, Counts* of) : simulation(in), counts(*of) {}
  Simulation& simulation;
  Counts& counts;
  std::vector<std::unique_ptr<Case>> cases;
  Ref<class Oracle> oracle = {};
  Ref<class Full> full = {};
  Ref<class Full> stuck = {};       // Until the drain's deadline.
  std::array<SharedFile, 3> files;  // By role.
  bool drains = false;
};

// How much is written, and by which letter.
size_t BytesOf(Kind kind, Role role);
char LetterOf(Kind kind, Role role);

// Lives in a frame.
class Framed {
 public:
  explicit Framed(int64_t* count) : count_(*count) { ++count_; }
  Framed(const Framed&) = delete;
  Framed& operator=(const Framed&) = delete;
  ~Framed() { --count_; }

 private:
  int64_t& count_;
};

// Answers after the time that the question names.
class Oracle : public Actor {
 public:
  void On(Later q, Promise<int64_t> promise) {
    (void)After(q.time, [number = q.number, promise = std::move(promise)]() mutable {
      promise.Resolve(number * number);
    });
  }
};

// Has room for one message, and takes one in `time`: actors that send to it are parked.
class Full : public Actor {
 public:
  explicit Full(absl::Duration time) : time_(time) {}
  void On(Note) {
    (void)After(time_, [hold = HoldMail()] {});
  }

 private:
  const absl::Duration time_;
};

// Ends after `time`.
class Mortal : public Actor {
 public:
  explicit Mortal(absl::Duration time) : time_(time) {}
  void OnStart() override {
    (void)After(time_, [this] { Stop(); });
  }

 private:
  const absl::Duration time_;
};

struct TakeNothing {
  absl::Duration time;
};
struct SayNow {
  absl::Duration time;
};
// A hub that takes no message for a time, or publishes one after it.
class LateHub : public Hub {
 public:
  using Hub::On;
  void On(TakeNothing order) {
    (void)After(order.time, [hold = HoldMail()] {});
  }
  void On(SayNow order) {
    (void)After(order.time, [this] { On(Publish{Bytes::Copy("now"), {}, 0}); });
  }
};

// A connection that its task has no use for.
class Caller : public Session {
 public:
  explicit Caller(int64_t* living) : living_(*living) { ++living_; }
  ~Caller() override { --living_; }
  void OnOpen() override { Close(); }
  void OnData(Input& in) override { in.TakeAll(); }

 private:
  int64_t& living_;
};

// A blocking function that returns after `time`, or when it is told to stop.
class Function {
 public:
  Function(World* world, Case* of, absl::Duration time) : world_(*world), case_(*of), time_(time) {}
  int64_t operator()(const std::stop_token& stop) const {
    Simulation& simulation = world_.simulation;
    constexpr absl::Duration kLook = absl::Microseconds(100);
    int64_t for_nobody = 0;
    for (absl::Duration passed; passed < time_; passed += kLook) {
      if (stop.stop_requested()) return -1;
      for_nobody += case_.done || (case_.over && time_ == kLong) ? 1 : 0;
      if (for_nobody > 500) {
        simulation.Broken("L8 death", "a function for nobody is not told to stop");
        return -1;
      }
      simulation.Sleep(kLook);
    }
    return 7;
  }

 private:
  World& world_;
  Case& case_;
  absl::Duration time_;
};

}  // namespace sluice::sim::cancels_scenario

#endif  // SLUICE_SIM_SCENARIOS_CASES_H_
