// The waits of a task besides those for another task: an answer, a blocking call, a time.
// Actor's functions return these; they are awaited at once.
//
// Owner:  the frame that awaits it.
// Thread: the worker's.
// Bound:  as the call of Actor that it stands for: asks_max, timers_max, monitors_max.
// Errors: a refused question or blocking call answers a Status that says why. Sleep throws if
//         timers_max is reached, and EndOf if monitors_max is.
#ifndef SLUICE_CORE_ACTOR_WAITS_H_
#define SLUICE_CORE_ACTOR_WAITS_H_

#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/promise.h"
#include "sluice/core/actor/ref.h"
#include "sluice/core/actor/task.h"
#include "sluice/core/base/check.h"
#include "sluice/core/base/plant.h"

namespace sluice::internal {

// The frame that waits, and goes on.
class Wait {
 protected:
  Where where() const { return place_.where; }
  // Movable until it waits.
  Wait(Wait&& other) noexcept : actor_(other.actor_), place_(other.place_) {
    SLUICE_CHECK(other.coroutine_ == nullptr);
  }
  Wait(Actor& actor, Where where) : actor_(actor), place_(where) {}
  ~Wait() = default;
  // The frame waits from now on, unless the caller's Begin() answers false.
  void Suspend(Coroutine& coroutine, std::coroutine_handle<> frame, const char* what,
               const Slot* target = nullptr);
  // In a handler of the actor: the frame goes on. Nothing of this may be used after the call.
  void GoOn() { coroutine_->Resume(frame_); }
  Actor& actor_;

 private:
  WaitPlace place_;
  Coroutine* coroutine_ = nullptr;
  std::coroutine_handle<> frame_;
};

// A wait for a reply to this actor; it withdraws from the question when it is destroyed.
class ReplyWait : public Wait {
 protected:
  using Wait::Wait;
  ReplyWait(ReplyWait&&) = default;
  ~ReplyWait() {
    if (ask_ != 0) actor_.WithdrawAsk(ask_);
  }
  // A promise of M's reply for somebody who is no actor yet; the callback hears of it. If the actor
  // has asks_max questions, ask_ stays 0.
  template <class M, class F>
  Promise<typename M::Reply> OpenReply(F callback) {
    Actor::ReplyCallback told = Actor::AskCallback<M>(std::move(callback));
    ask_ = actor_.OpenAsk(absl::InfiniteDuration(), told);
    if (ask_ == 0) return {};
    return Promise<typename M::Reply>(actor_.slot(), actor_.generation(), ask_);
  }
  AskId ask_ = 0;  // 0: not asked, or answered.
};

template <class A, class M>
class SLUICE_AWAITED AskWait : public ReplyWait {
 public:
  using R = typename M::Reply;
  AskWait(Actor& actor, const Ref<A>& target, M question, absl::Duration timeout, Where where)
      : ReplyWait(actor, where),
        target_(target),
        question_(std::move(question)),
        timeout_(timeout) {}

  bool Begin(Coroutine& coroutine, std::coroutine_handle<> frame) {
    Suspend(coroutine, frame, "an answer", target_.slot());
    const auto answered = [this](absl::StatusOr<R> reply) {
      ask_ = 0;
      reply_ = std::move(reply);
      GoOn();
    };
    const Answer answer = actor_.AskNumbered(target_, std::move(question_), timeout_,
                                             Actor::AskCallback<M>(answered), &ask_);
    if (answer == Answer::kAccepted) return true;
    reply_ = RefusedStatus(answer);
    return false;
  }
  absl::StatusOr<R> Result() { return std::move(reply_); }

 private:
  const Ref<A> target_;
  M question_;
  const absl::Duration timeout_;
  absl::StatusOr<R> reply_;
};

template <class F>
class SLUICE_AWAITED BlockingWait : public ReplyWait {
 public:
  using Told = typename ResultOfBlocking<F>::Told;
  BlockingWait(Actor& actor, F function, Where where)
      : ReplyWait(actor, where), function_(std::move(function)) {}

  bool Begin(Coroutine& coroutine, std::coroutine_handle<> frame) {
    Suspend(coroutine, frame, "a blocking call");
    const Answer answer = actor_.RunBlockingNumbered(
        std::move(function_),
        [this](Told told) {
          ask_ = 0;
          told_ = std::move(told);
          GoOn();
        },
        &ask_);
    if (answer == Answer::kAccepted) return true;
    told_ = Told(RefusedStatus(answer));
    return false;
  }
  Told Result() { return *std::move(told_); }

 private:
  F function_;
  std::optional<Told> told_;
};

// A wait that a timer of the actor ends.
class TimerWait : public Wait {
 public:
  void Result() const {}

 protected:
  using Wait::Wait;
  TimerWait(TimerWait&&) = default;
  ~TimerWait() {
    SLUICE_PLANT(sleep_leaves_timer, if (timer_ != 0) actor_.After(absl::Hours(1), [] {}));
    if (timer_ != 0) actor_.CancelTimer(timer_);
  }
  // False: the actor has timers_max timers.
  bool BeginTimer(Coroutine& coroutine, std::coroutine_handle<> frame, const char* what,
                  absl::Duration delay);

 private:
  TimerId timer_ = 0;  // 0: it does not wait.
};

// Waits while the actor is parked: until then its due timers wait, too.
class SLUICE_AWAITED UnparkedWait : public TimerWait {
 public:
  UnparkedWait(Actor& actor, Where where) : TimerWait(actor, where) {}
  bool Ready() const { return !actor_.slot()->has_outbox; }
  // With timers_max timers the task goes on, and its actor parks after it.
  bool Begin(Coroutine& coroutine, std::coroutine_handle<> frame) {
    return BeginTimer(coroutine, frame, "room for what its actor sent", absl::ZeroDuration());
  }
};

class SLUICE_AWAITED SleepWait : public TimerWait {
 public:
  SleepWait(Actor& actor, absl::Duration delay, Where where)
      : TimerWait(actor, where), delay_(delay) {}
  bool Begin(Coroutine& coroutine, std::coroutine_handle<> frame);

 private:
  const absl::Duration delay_;
};

// Waits for the end of an actor.
class SLUICE_AWAITED EndWait final : public Wait, public DownListener {
 public:
  EndWait(Actor& actor, Slot* target, uint32_t generation, Where where)
      : Wait(actor, where), target_(target), generation_(generation) {}
  EndWait(EndWait&&) = default;
  ~EndWait() {
    if (monitor_ != 0) Withdraw();
  }
  bool Begin(Coroutine& coroutine, std::coroutine_handle<> frame);
  Down Result() { return std::move(down_); }

 private:
  void Told(Down down) override;
  void Withdraw();

  Slot* const target_;
  const uint32_t generation_;
  MonitorId monitor_ = 0;  // 0: it does not wait.
  Down down_;
};

// The connection of a session may wait for the end of its tasks (Session::CloseWhenDone).
void TaskIsOver(Slot* slot);

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
// g++ before 13 destroys a braced message, or the captures of a lambda, twice if they are
// temporaries within the co_await expression (GCC PR 99576).
template <class A, class M>
inline constexpr bool kDestroyedTwice<AskWait<A, M>> =
    std::is_aggregate_v<M> && !std::is_trivially_destructible_v<M>;
template <class F>
inline constexpr bool kDestroyedTwice<BlockingWait<F>> = !std::is_trivially_destructible_v<F>;
#endif

// A coroutine that owns its task. Both are in blocks of the worker's stock for frames.
template <class T>
class OwnedTask : public Coroutine {
 public:
  static void* operator new(size_t bytes) { return GetFrame(bytes); }
  static void operator delete(void* place, size_t bytes) { PutFrame(place, bytes); }
  void BeginTask() {
    task_.StartIn(*this);
    Begin();
  }
  void Cancel() override { delete this; }

 protected:
  OwnedTask(Slot* slot, Task<T> task) : Coroutine(slot), task_(std::move(task)) {}
  virtual ~OwnedTask() = default;
  Task<T> task_;
};

// A task that an actor has started, and that no other task awaits.
class StartedTask : public OwnedTask<void> {
 public:
  StartedTask(Slot* slot, Task<void> task) : OwnedTask(slot, std::move(task)) {}
  ~StartedTask() override = default;

 private:
  Coroutine* Ended() override {
    const std::unique_ptr<StartedTask> own(this);
    TaskIsOver(slot());
    task_.Take();
    return nullptr;
  }
};

// A task that a message has begun counts towards tasks_max.
void MessageTaskBegins(Slot* slot);
void MessageTaskEnds(Slot* slot);

// A task that handles a message: `Task<> On(M)`.
class HandlingTask final : public StartedTask {
 public:
  HandlingTask(Slot* slot, Task<void> task) : StartedTask(slot, std::move(task)) {
    MessageTaskBegins(slot);
  }
  ~HandlingTask() override { MessageTaskEnds(slot()); }
};

// A task that answers a question: `Task<R> On(Q)`. T is R, or a StatusOr of it.
template <class T, class R>
class AnsweringTask final : public OwnedTask<T> {
 public:
  AnsweringTask(Slot* slot, Task<T> task, Promise<R> promise)
      : OwnedTask<T>(slot, std::move(task)), promise_(std::move(promise)) {
    MessageTaskBegins(slot);
  }
  ~AnsweringTask() override { MessageTaskEnds(this->slot()); }

 private:
  Coroutine* Ended() override {
    const std::unique_ptr<AnsweringTask> own(this);
    TaskIsOver(this->slot());
    try {
      AnswerWith<R>(promise_, this->task_.Take());
    } catch (...) {
      promise_.Fail(ThrownStatus(this->slot()));
      throw;
    }
    return nullptr;
  }
  Promise<R> promise_;
};

template <class T, class R>
void StartAnswering(Slot* slot, Task<T> task, Promise<R> promise) {
  auto started = std::make_unique<AnsweringTask<T, R>>(slot, std::move(task), std::move(promise));
  if (JoinTasks(slot, *started)) started.release()->BeginTask();
}

}  // namespace sluice::internal

namespace sluice {

inline internal::UnparkedWait Actor::Unparked(Where where) {
  return internal::UnparkedWait(*this, where);
}
template <class A>
internal::EndWait Actor::EndOf(const Ref<A>& target, Where where) {
  return internal::EndWait(*this, target.slot(), target.generation(), where);
}
template <class A>
internal::EndWait Actor::EndOf(const absl::StatusOr<Ref<A>>&, Where where) {
  static_assert(internal::kNever<A>, "EndOf() takes a Ref: after link.ok(), EndOf(*link)");
  return internal::EndWait(*this, nullptr, 0, where);
}
inline internal::SleepWait Actor::Sleep(absl::Duration delay, Where where) {
  return internal::SleepWait(*this, delay, where);
}

}  // namespace sluice

#endif  // SLUICE_CORE_ACTOR_WAITS_H_
