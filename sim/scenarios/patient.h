// Patient is an actor or a session of the scenario `cancels`: its task waits, is cancelled, and
// waits once more, to the end.
//
// Owner:  the scenario.
// Thread: its worker's; a Case is also looked at by the script of its peer. One thread of a
//         simulation runs at a time.
// Bound:  a Case for each pair of a run.
// Errors: Simulation::Broken.
#ifndef SLUICE_SIM_SCENARIOS_PATIENT_H_
#define SLUICE_SIM_SCENARIOS_PATIENT_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/sim/scenarios/cancels.h"
#include "sluice/sim/scenarios/cases.h"
#include "sluice/sluice.h"

namespace sluice::sim::cancels_scenario {

template <class Base>
class Patient : public Base {
 protected:
  static constexpr bool kSession = std::derived_from<Base, TaskSession>;

  explicit Patient(World* world) : world_(world) {}
  ~Patient() override {
    if (case_ == nullptr) return;
    if (case_->FramesLeft() != 0) Broken("frames outlive their actor");
    case_->done = case_->way != Way::kRestarts || case_->lives == 2;
  }

  // All that this patient does.
  Task<> Live() {
    const Framed framed(&case_->frames);
    if constexpr (kSession) co_await FillOutput();
    const size_t timers = TimerCount();
    // A parked actor runs no handler.
    const bool parks = case_->kind == Kind::kUnparked;
    TaskGroup aside(this);
    if (case_->lives == 1) {
      if (case_->aside) aside.Start(WaitAside());
      ArmCancel();
      switch (case_->way) {
        case Way::kLoses:
          if (case_->first) {
            (void)co_await FirstOf(this->Sleep(case_->cancel_after), WaitWatched());
          } else {
            // It has a name: what it has not cancelled would go on waiting.
            auto wait = FirstOf(WaitWatched(), this->Sleep(case_->cancel_after));
            (void)co_await wait;
            LooksOver(timers);
          }
          break;
        case Way::kIsLate:
          (void)co_await this->Within(case_->cancel_after, WaitWatched());
          break;
        case Way::kGroupCancels: {
          TaskGroup group(this);
          group.Start(WaitWatched());
          TimerId timer = 0;
          if (case_->first) {
            timer = this->After(case_->cancel_after, [&group] { group.Cancel(); });
          } else {
            if (!parks) co_await this->Sleep(case_->cancel_after);
            group.Cancel();
          }
          co_await group.Join();
          this->CancelTimer(timer);
          break;
        }
        case Way::kGroupEnds: {
          TaskGroup group(this);
          group.Start(WaitWatched());
          if (!parks) co_await this->Sleep(case_->cancel_after);
          break;
        }
        default:
          co_await WaitWatched();
          co_await this->Sleep(kLong);  // It has ended just before the cancel.
          Broken("a task goes on after its actor's end");
      }
      LooksOver(timers);
      if constexpr (kSession) {
        if (case_->kind == Kind::kLongWrite && case_->met > 0) {
          if (!this->HasEnded()) Broken("a connection with a half of a write lives on");
          co_await this->Sleep(kLong);
        }
      }
    }
    if (!co_await Wait(Role::kAgain, absl::Milliseconds(1), &case_->frames)) {
      Broken("the wait behind a cancelled one has a wrong result");
    }
    if (case_->lives == 1) co_await aside.Join();
    if (LivesOn(case_->way)) co_await CancelOneBehind();
    if constexpr (!kSession) {
      // Another message follows that one behind which the first life has failed.
      if (case_->way != Way::kRestarts || !case_->by_message) this->Stop();
    }
  }

  // Each monitor is that of an EndOf.
  void OnDown(const Down&) override { Broken("OnDown is called for a wait"); }

  World* const world_;
  Case* case_ = nullptr;

 private:
  static constexpr absl::Duration kSoon = absl::Milliseconds(3);

  void Broken(std::string_view what) {
    world_->simulation.Broken("L8 death",
                              absl::StrCat(Name(case_->kind, case_->way), ": ", ToAbsl(what)));
  }
  size_t TimerCount() {
    const ActorExtra* const extra = this->slot()->extra;
    return extra == nullptr ? 0 : extra->timers.size();
  }

  // Nothing of the cancelled wait is left.
  void LooksOver(size_t timers) {
    case_->over = true;
    if (case_->frames != (kSession ? 2 : 1)) Broken("frames of a cancelled task are left");
    if (case_->aside || case_->acts) return;
    if (TimerCount() != timers) Broken("timers of a cancelled task are left");
    const ActorExtra* const extra = this->slot()->extra;
    if (extra == nullptr) return;
    if (extra->AsksOpen()) Broken("a question of a cancelled task is open");
    for (const auto& [id, watched] : extra->watching) {
      if (!watched.taken_back) Broken("a monitor of a cancelled task is left");
    }
  }

  // A handler that ends the actor in a moment. While the actor is parked no handler runs: so an end
  // comes before.
  void ArmCancel() {
    const bool parks = case_->kind == Kind::kUnparked;
    switch (case_->way) {
      case Way::kStops:
        if (parks) return this->Stop();
        (void)this->After(case_->cancel_after, [this] {
          case_->over = true;
          this->Stop();
        });
        break;
      case Way::kFails:
      case Way::kRestarts:
        (void)this->After(parks ? absl::ZeroDuration() : case_->cancel_after, [this] {
          case_->over = true;
          throw std::runtime_error("as asked");
        });
        break;
      case Way::kCloses:
        if constexpr (kSession) {
          if (parks) return this->Close();
          (void)this->After(case_->cancel_after, [this] { this->Close(); });
        }
        break;
      default:
        break;
    }
  }

  // Counts how a wait ends.
  class Watch {
   public:
    explicit Watch(Case* of) : case_(*of) { case_.waits = true; }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch() {
      case_.waits = false;
      ++(ended_ ? case_.ended : case_.met);
    }
    void Ended() { ended_ = true; }

   private:
    Case& case_;
    bool ended_ = false;
  };
  // In a frame: its destructor begins what callbacks and tasks would end.
  class Acts {
   public:
    explicit Acts(Patient* of) : patient_(*of) {}
    Acts(const Acts&) = delete;
    Acts& operator=(const Acts&) = delete;
    ~Acts() {
      if (patient_.case_->acts) patient_.BeginMore();
    }

   private:
    Patient& patient_;
  };
  void BeginMore() {
    const auto never = [this](auto&&...) {
      if (!LivesOn(case_->way) && case_->over) Broken("a callback runs after its actor's end");
    };
    (void)this->After(absl::ZeroDuration(), never);
    (void)this->Send(world_->oracle, Later{1, absl::ZeroDuration()});
    (void)this->Ask(world_->oracle, Later{1, absl::ZeroDuration()}, kLong, never);
    (void)this->RunBlocking([] {}, never);
    this->StartTask(Inner(absl::Milliseconds(1), &case_->more_frames));
  }
  Task<> WaitWatched() {
    const Framed framed(&case_->frames);
    const Acts acts(this);
    Watch watch(case_);
    const bool right = co_await Wait(Role::kMain, case_->end_after, &case_->frames);
    watch.Ended();
    if (case_->over) Broken("a cancelled task goes on");
    if (!right && !world_->drains) Broken("a wait has a wrong result");
  }
  Task<> WaitAside() {
    const Framed framed(&case_->aside_frames);
    if (Writes(case_->kind)) co_await this->Sleep(absl::ZeroDuration());  // Behind the main one.
    if (!co_await Wait(Role::kAside, kSoon, &case_->aside_frames)) {
      Broken("a wait beside a cancelled one has a wrong result");
    }
  }
  Task<> Inner(absl::Duration time, int64_t* frames) {
    const Framed framed(frames);
    co_await this->Sleep(time);
  }

  // Two tasks are to go on behind this one. The first is cancelled before, and the other goes on.
  Task<> CancelOneBehind() {
    TaskGroup work(this);
    TaskGroup more_work(this);
    TaskGroup one(this);
    TaskGroup other(this);
    work.Start(Inner(kLong, &case_->frames));
    more_work.Start(Inner(kLong, &case_->frames));
    one.Start(JoinWork(&work));
    other.Start(JoinWork(&more_work));
    work.Cancel();
    more_work.Cancel();
    one.Cancel();
    co_await other.Join();
  }
  Task<> JoinWork(TaskGroup* work) {
    const Framed framed(&case_->frames);
    co_await work->Join();
  }

  // Waits until about `time` has passed. False: with a wrong result.
  Task<bool> Wait(Role role, absl::Duration time, int64_t* frames) {
    const Framed framed(frames);
    if constexpr (kSession) {
      if (Reads(case_->kind)) co_return co_await ReadAll(role);
      if (Writes(case_->kind)) co_return co_await WriteAll(role);
    }
    switch (case_->kind) {
      case Kind::kAsk: {
        const int64_t number = 3 + static_cast<int64_t>(role);
        const auto answer = co_await this->Ask(world_->oracle, Later{number, time}, kLong);
        co_return answer.ok() && *answer == number* number;
      }
      case Kind::kBlock: {
        auto call = this->RunBlocking(Function(world_, case_, time));
        const absl::StatusOr<int64_t> seven = co_await call;
        co_return seven.ok() && *seven == 7;
      }
      case Kind::kSleep:
        co_await this->Sleep(time);
        co_return true;
      case Kind::kUnparked: {
        const Ref<Full> full = case_->way == Way::kDrain ? world_->stuck : world_->full;
        // A due deadline of a parked actor waits, too: only an earlier one is first.
        if (case_->way == Way::kIsLate || case_->way == Way::kLoses)
          co_await this->Sleep(absl::ZeroDuration());
        // It takes one, has room for one, and so the third waits.
        for (int i = 0; i < 3; ++i) {
          if (this->Send(full, Note{}) != Answer::kAccepted) co_return false;
        }
        co_await this->Unparked();
        co_return !this->slot()->has_outbox;
      }
      case Kind::kFirstOf: {
        const int64_t before = *frames;
        auto both = FirstOf(Inner(kLong, frames), Inner(time, frames));
        const auto first = co_await both;
        co_return first.index() == 1 && *frames == before;
      }
      case Kind::kWithin: {
        const absl::Status in_time = co_await this->Within(kLong, Inner(time, frames));
        co_return in_time.ok();
      }
      case Kind::kJoin: {
        const int64_t before = *frames;
        TaskGroup group(this);
        group.Start(Inner(time, frames));
        group.Start(Inner(absl::ZeroDuration(), frames));
        co_await group.Join();
        co_return *frames == before;
      }
      case Kind::kEndOf: {
        const auto mortal = this->runtime().template SpawnWith<Mortal>(Anywhere(), time);
        const Down down = co_await this->EndOf(mortal);
        co_return down.reason == EndReason::kStopped;
      }
      case Kind::kConnect: {
        // The wait behind the cancelled one meets a listener.
        const bool heard = role == Role::kAgain;
        const auto open = co_await Connect<Caller>(this, heard ? kDoor : kNowhere,
                                                   heard ? kLong : time, &case_->callers);
        co_return heard ? open.ok() : open.status().code() == absl::StatusCode::kUnavailable;
      }
      case Kind::kSubscribe:
      case Kind::kNext:
        co_return co_await WaitForHub(time);
      default:
        co_await Inner(time, frames);
        co_return true;
    }
  }

  SpawnOptions Anywhere() {
    SpawnOptions at;
    at.worker = static_cast<int>(
        world_->simulation.random().Below(static_cast<uint64_t>(this->runtime().WorkerCount())));
    return at;
  }
  Task<bool> WaitForHub(absl::Duration time) {
    const auto hub = this->runtime().template SpawnWith<LateHub>(Anywhere());
    const bool late = case_->kind == Kind::kSubscribe;
    if (late) (void)hub.TrySend(TakeNothing{time});
    Subscription news(this);
    const absl::Status joined = co_await news.Join(Ref<Hub>(hub.slot(), hub.generation()));
    if (late || !joined.ok()) co_return joined.ok();
    (void)hub.TrySend(SayNow{time});
    const auto message = co_await news.Next();
    co_return message && message->payload.view() == "now";
  }

  // --- Sessions only.

  static size_t FrameLength(std::string_view bytes) { return bytes.empty() ? 0 : kReadBytes; }
  Task<bool> ReadAll(Role role) {
    // What the cancelled read has left is here, too.
    const size_t whole = role == Role::kMain ? kReadBytes : 2 * kReadBytes;
    while (got_.size() < whole) {
      std::optional<std::string_view> some;
      switch (case_->kind) {
        case Kind::kRead:
          some = co_await Base::Read();
          break;
        case Kind::kLine:
          some = co_await this->Line();
          break;
        case Kind::kExactly:
          some = co_await this->Exactly(kReadBytes);
          break;
        default:
          some = co_await this->Frame(&FrameLength);
      }
      if (!some) co_return false;
      got_ += *some;
      if (case_->kind == Kind::kLine) got_ += '\n';
    }
    const std::string once = std::string(kReadBytes - 1, 'r') + '\n';
    co_return (once + once).starts_with(got_);
  }
  Task<bool> WriteAll(Role role) {
    if (case_->kind == Kind::kFile) {
      const SharedFile& file = world_->files[static_cast<size_t>(role)];
      co_return co_await this->SendFile(file, 0, file->Bytes());
    }
    const std::string text(BytesOf(case_->kind, role), LetterOf(case_->kind, role));
    co_return co_await Base::Write(text);
  }
  // Leaves no room in the output: the next write must wait for the peer.
  Task<> FillOutput() {
    if (!Writes(case_->kind)) co_return;
    const std::string filler(10'000, 'f');
    const size_t high =
        case_->kind == Kind::kLongWrite ? kOutputMax - 2 * filler.size() : kOutputMax;
    do {
      while (this->OutputBytes() + filler.size() <= high) {
        if (this->Session::Write(filler) != Answer::kAccepted) break;
        case_->filler += static_cast<int64_t>(filler.size());
      }
      co_await this->Sleep(absl::Milliseconds(2));
    } while (this->OutputBytes() + filler.size() <= high);
  }

  std::string got_;  // What it has read.
};

class Lone final : public Patient<Actor> {
 public:
  Lone(World* world, Case* of) : Patient(world) {
    case_ = of;
    ++case_->lives;
  }
  void OnStart() override {
    case_->over = false;
    if (!case_->by_message) StartTask(Live());
  }
  Task<> On(Go) { return ++taken_ == 1 ? Live() : End(); }
  void OnStop() override { case_->over = true; }

 private:
  Task<> End() {
    Stop();
    co_return;
  }
  int taken_ = 0;
};

// Its peer names the case.
class Talker final : public Patient<TaskSession> {
 public:
  explicit Talker(World* world) : Patient(world) {}
  Task<> Serve() override {
    const auto line = co_await Line();
    size_t number = 0;
    if (!line || !absl::SimpleAtoi(ToAbsl(*line), &number)) co_return;
    case_ = world_->cases[number].get();
    ++case_->lives;
    const Framed framed(&case_->frames);
    co_await Live();
  }
  void OnClose(CloseReason) override {
    if (case_ != nullptr) case_->over = true;
  }
};

}  // namespace sluice::sim::cancels_scenario

#endif  // SLUICE_SIM_SCENARIOS_PATIENT_H_
