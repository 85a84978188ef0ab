// Actor is state and handlers, pinned to one worker for life. A message is any movable struct;
// On(M) handles it.
//
//   struct Deposit { int64_t cents; };
//   struct Balance { using Reply = int64_t; };
//
//   class Account : public sluice::Actor {
//    public:
//     void On(Deposit d) { cents_ += d.cents; }
//     int64_t On(Balance) { return cents_; }  // Or take a Promise<int64_t>, and answer later.
//    private:
//     int64_t cents_ = 0;
//   };
//
// Owner:  its slot; made by Spawn, deleted by its end.
// Thread: its worker's, for every handler, callback, constructor and destructor; these never
//         overlap, and each may call every function of this class. No handler runs inside another
//         actor's handler: an end that is asked for there comes later.
// Bound:  its mailbox; its outbox (outbox_messages_max), questions (asks_max), timers (timers_max),
//         monitors (monitors_max) and tasks that messages begin (tasks_max).
// Errors: an exception that leaves a handler ends the actor with its text as the reason, which is
//         also told to askers that it owes an answer; one that leaves the constructor fails the
//         spawn. When the actor ends or is restarted, the callbacks of timers, questions and
//         blocking calls that have not run yet never run: they are destroyed, with what they
//         captured, before the actor is.
#ifndef SLUICE_CORE_ACTOR_ACTOR_H_
#define SLUICE_CORE_ACTOR_ACTOR_H_

#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/actor/blocking_pool.h"
#include "sluice/core/actor/mail_hold.h"  // IWYU pragma: export
#include "sluice/core/actor/ref.h"
#include "sluice/core/actor/task.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_base.h"
#include "sluice/core/slot/restart_policy.h"
#include "sluice/core/worker/placing.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

class OpenQuestion;
class Runtime;

namespace internal {
template <class A, class M>
class AskWait;
template <class F>
class BlockingWait;
class EndWait;
class ReplyWait;
class SleepWait;
class TimerWait;
class UnparkedWait;
template <class A>
struct ValueOfAwaitable;
template <class A>
using ValueOf = typename ValueOfAwaitable<A>::Type;
template <class A>
using InTimeOf = std::conditional_t<
    std::is_void_v<ValueOf<A>>, absl::Status,
    absl::StatusOr<std::conditional_t<std::is_void_v<ValueOf<A>>, int, ValueOf<A>>>>;

void HandleAskOver(void* actor, Envelope& e);
[[noreturn]] void RefuseThread(const Slot* slot, const char* call);
// Puts a coroutine on the list of its actor. False: the actor's callbacks do not run any more.
bool JoinTasks(Slot* slot, Coroutine& coroutine);
void TaskIsOver(Slot* slot);

template <class A, class... Args>
concept MadeFrom = requires {
  new A(std::declval<Args>()...);
};

template <class A, class... Args>
consteval auto NotSpawned() {
  if constexpr (!requires { sizeof(A); }) {
    return Why<refused::ActorIsDeclaredOnly<A>>();
  } else if constexpr (!std::derived_from<A, ActorBase>) {
    return Why<refused::NotAnActor<A>>();
  } else if constexpr (std::is_abstract_v<A>) {
    return Why<refused::ActorIsAbstract<A>>();
  } else if constexpr (!MadeFrom<A, Args...>) {
    return Why<refused::NoConstructorTakes<A, Args...>>();
  } else {
    return Why<void>();
  }
}
// Why no A is made from these arguments, as SendRefused; void: it is.
template <class A, class... Args>
using SpawnRefused = typename decltype(NotSpawned<A, Args...>())::Type;
// An actor that is restarted is made from copies of the arguments, each time.
template <class A, class... Args>
consteval auto NotRestarted() {
  if constexpr (!std::is_void_v<SpawnRefused<A, const std::decay_t<Args>&...>>) {
    return Why<SpawnRefused<A, const std::decay_t<Args>&...>>();
  } else if constexpr (!A::kRestartable) {
    return Why<refused::ActorCannotBeRestarted<A>>();
  } else if constexpr (!(std::copy_constructible<std::decay_t<Args>> && ...)) {
    return Why<refused::ArgumentIsNotCopyable<A, std::decay_t<Args>...>>();
  } else {
    return Why<void>();
  }
}
template <class A, class... Args>
using RestartRefused = typename decltype(NotRestarted<A, Args...>())::Type;
// On this worker a child is made from the arguments themselves, and on another one from copies.
template <class A, class... Args>
using ChildRefused =
    std::conditional_t<std::is_void_v<SpawnRefused<A, Args...>>,
                       SpawnRefused<A, std::decay_t<Args>...>, SpawnRefused<A, Args...>>;

template <class F>
auto TimerCallback(F&& callback) {
  if constexpr (std::invocable<std::decay_t<F>&, int64_t>) {
    return std::forward<F>(callback);
  } else {
    return [f = std::forward<F>(callback)](int64_t) mutable { f(); };
  }
}
}  // namespace internal

class Actor : public ActorBase {
 public:
  // Can SpawnRestarting recreate this actor? False for a class with state that other objects share.
  static constexpr bool kRestartable = true;

  Slot* slot() const { return slot_; }
  uint32_t generation() const { return slot_->generation; }

 protected:
  Actor();

  // To a handler's own target: never blocks. If the target is full, the message waits in the
  // outbox. The actor is then parked, once this handler has returned, until the outbox is empty.
  // kOverloaded: the outbox or the memory is spent; or the actor's own mailbox is full; or the
  // target is full and lives in another runtime, as an actor cannot wait across runtimes.
  // kTooLarge: the message is larger than the memory budget, or than 4 GiB. The message is moved
  // from only when it is accepted.
  template <class A, class M>
  Answer Send(const Ref<A>& target, M&& message) {
    using Sent = std::remove_cvref_t<M>;
    using Refused = internal::SendRefused<A, Sent>;
    if constexpr (!std::is_void_v<Refused>) {
      return Refused();
    } else {
      return SendWith(target.slot(), target.generation(), &internal::kMessageOps<A, Sent>,
                      std::forward<M>(message));
    }
  }
  // An M, or in braces what makes one.
  template <class M, class S = M>
  Answer Send(const Recipient<M>& target, S&& message) {
    using Refused = internal::RecipientRefused<M, std::remove_cvref_t<S>>;
    if constexpr (!std::is_void_v<Refused>) {
      return Refused();
    } else {
      return SendWith(target.slot(), target.generation(), target.ops(), std::forward<S>(message));
    }
  }

  // Asks a question. If the answer is kAccepted, the callback runs exactly once: with the reply, or
  // with the status that says why there is none (deadline, the target ended, the promise dropped).
  // If this actor ends or is restarted first, the callback never runs. Parks as Send does.
  // A question past its deadline counts towards asks_max until its promise is answered or dropped:
  // the late answer comes without a credit, into the place that is kept for it. So a target that
  // keeps promises for ever may use up asks_max, and then every question of this actor is
  // kOverloaded. Ask such a target from a child of its own: the child's end gives the places back.
  template <class A, class M, class F>
  Answer Ask(const Ref<A>& target, M question, absl::Duration timeout, F&& callback) {
    using Refused = internal::AskRefused<A, M, F>;
    if constexpr (!std::is_void_v<Refused>) {
      return Refused();
    } else {
      return AskNumbered(target, std::move(question), timeout,
                         AskCallback<M>(std::forward<F>(callback)), nullptr);
    }
  }
  // In a task: `co_await Ask(...)` is an absl::StatusOr of the reply. A refused question is
  // Unavailable.
  template <class A, class M>
  auto Ask(const Ref<A>& target, M question, absl::Duration timeout, Where where = SLUICE_HERE) {
    using Refused = internal::AskRefused<A, M, internal::AnyAnswer>;
    if constexpr (!std::is_void_v<Refused>) {
      static_cast<void>(Refused());
      return internal::NoWait();
    } else {
      return internal::AskWait<A, M>(*this, target, std::move(question), timeout, where);
    }
  }

  // As Ask, but the callback runs in any case: at once with Unavailable, if the question is
  // refused.
  template <class A, class M, class F>
  void AskOrTell(const Ref<A>& target, M question, absl::Duration timeout, F callback) {
    using Refused = internal::AskRefused<A, M, F>;
    if constexpr (!std::is_void_v<Refused>) {
      static_cast<void>(Refused());
    } else {
      ReplyCallback told = AskCallback<M>(std::move(callback));
      const Answer answer =
          AskNumbered(target, std::move(question), timeout, std::move(told), nullptr);
      if (answer != Answer::kAccepted && HearsBack()) {
        told(nullptr, internal::RefusedStatus(answer));
      }
    }
  }
  // Passes a question on: asks `target`, and its answer, or the status that says why there is none,
  // goes to the promise. Its R is the question's Reply, or what a Reply becomes without loss. If
  // this actor ends or is restarted first, the promise is dropped. Parks as Send does.
  template <class R, class A, class M>
  void AskFor(Promise<R> promise, const Ref<A>& target, M question, absl::Duration timeout) {
    using Refused = internal::AskForRefused<R, A, M>;
    if constexpr (!std::is_void_v<Refused>) {
      static_cast<void>(Refused());
    } else {
      AskOrTell(target, std::move(question), timeout,
                [promise = std::move(promise)](absl::StatusOr<typename M::Reply> reply) mutable {
                  SLUICE_PLANT(passed_on_silent, if (!reply.ok()) return promise.Forget());
                  if (reply.ok()) {
                    internal::AnswerWith<R>(promise, *std::move(reply));
                  } else {
                    promise.Fail(std::move(reply).status());
                  }
                });
    }
  }

  // Runs `function` on a thread of the blocking pool. If the answer is kAccepted, the callback then
  // runs here, exactly once, unless this actor ends or is restarted first. It takes an
  // absl::StatusOr of the result, or an absl::Status when the function returns void or a Status. An
  // exception becomes an error. If the pool is full, this actor is parked, as with Send. The
  // function may use only its own data (captures by value) or data that is safe from any thread:
  // the actor goes on meanwhile, and may end. kOverloaded: asks_max, the outbox or the memory is
  // spent. kClosed: the runtime ends.
  //
  // A function that takes a std::stop_token may look at it now and then, and return early: stop is
  // requested when nobody waits for the result any more: this actor has ended or is restarted, the
  // awaiting task was cancelled, or the deadline of a drain has come (until then a drain waits for
  // the function). A std::stop_callback runs on the actor's worker, while the actor's callbacks are
  // destroyed, or on the function's own thread if it is made later than that. So it is short,
  // touches no actor, and throws nothing.
  template <class F, class C>
  Answer RunBlocking(F&& function, C&& callback) {
    return RunBlockingNumbered(std::forward<F>(function), std::forward<C>(callback), nullptr);
  }
  // In a task: `co_await RunBlocking(...)` is what the callback would get.
  template <class F>
  internal::BlockingWait<std::decay_t<F>> RunBlocking(F&& function, Where where = SLUICE_HERE) {
    return internal::BlockingWait<std::decay_t<F>>(*this, std::forward<F>(function), where);
  }

  // From the end of this handler on the actor takes no message while it has a hold: they wait, and
  // then their senders do. All its other handlers run. In OnStop and later the hold is empty.
  [[nodiscard]] MailHold HoldMail();

  // A child on this worker (or on the worker that `options` name), which ends before this actor
  // does. A dead Ref: actors_max is reached, `options` are invalid (SpawnOptions), or the
  // constructor threw.
  template <class A, class... Args>
  Ref<A> Spawn(Args&&... args) {
    using Refused = internal::ChildRefused<A, Args...>;
    if constexpr (!std::is_void_v<Refused>) {
      return Refused();
    } else {
      return SpawnWith<A>(SpawnOptions{}, std::forward<Args>(args)...);
    }
  }
  template <class A, class... Args>
  Ref<A> SpawnWith(const SpawnOptions& options, Args&&... args);
  // A child that is recreated when it fails, from copies of the arguments, behind the same Ref and
  // with the messages that wait for it. If the child fails more often than the policy allows, it
  // ends and this actor fails. Does not compile for sessions, acceptors and hubs: a restart would
  // lose their connections or subscribers.
  template <class A, class... Args>
  Ref<A> SpawnRestarting(const RestartPolicy& policy, const SpawnOptions& options, Args&&... args);

  // Runs a task of this actor: now, until it waits for the first time, and then whenever it may go
  // on. An exception that leaves it fails the actor. From OnStart on: in the constructor it throws
  // std::logic_error, and after the actor's end the task is destroyed instead.
  void StartTask(Task<void> task);
  // In a task that sends much: `co_await Unparked()` goes on when what this actor has sent has left
  // its outbox; at once if it is empty.
  internal::UnparkedWait Unparked(Where where = SLUICE_HERE);
  // In a task: `co_await Sleep(...)` goes on after `delay`, or later while the actor is parked.
  internal::SleepWait Sleep(absl::Duration delay, Where where = SLUICE_HERE);
  // In a task: `co_await Within(timeout, WAIT)` is an absl::StatusOr of what WAIT answers (an
  // absl::Status, if that is nothing). At the deadline it is DeadlineExceeded, and the wait or task
  // is cancelled.
  template <class A>
  auto Within(absl::Duration timeout, A&& awaited);

  using TimerId = sluice::TimerId;  // 0: refused, timers_max.
  template <class F>
  TimerId After(absl::Duration delay, F&& callback) {
    static_assert(std::invocable<std::decay_t<F>&>, "the callback of After() takes no arguments");
    return AddTimer(delay, absl::ZeroDuration(),
                    internal::TimerCallback(std::forward<F>(callback)));
  }
  // Each deadline is the previous deadline plus `interval`, so the timer does not drift. If a timer
  // is late by whole periods (a slow handler, a parked actor), the callback runs once for all of
  // them, and next at the first deadline that is still to come. A callback that takes an int64_t
  // gets the number of skipped periods; the ledger counts them too. Calls and skipped periods
  // together equal the periods that have passed. An interval is whole milliseconds, rounded up. 0:
  // refused, also an interval that is not positive.
  template <class F>
  TimerId Every(absl::Duration interval, F&& callback) {
    static_assert(std::invocable<std::decay_t<F>&> || std::invocable<std::decay_t<F>&, int64_t>,
                  "the callback of Every() takes no arguments, or the number of skipped periods");
    if (interval <= absl::ZeroDuration()) return 0;
    return AddTimer(interval, interval, internal::TimerCallback(std::forward<F>(callback)));
  }
  void CancelTimer(TimerId id);

  // OnDown follows, once. 0: refused, monitors_max. After Demonitor() a monitor still counts until
  // the target's worker has confirmed it.
  template <class A>
  MonitorId Monitor(const Ref<A>& target) {
    return MonitorSlot(target.slot(), target.generation());
  }
  void Demonitor(MonitorId id);
  // In a task: `co_await EndOf(actor)` goes on when that actor has ended, after its last message,
  // and answers the Down, for which OnDown is not called.
  template <class A>
  internal::EndWait EndOf(const Ref<A>& target, Where where = SLUICE_HERE);
  template <class A>
  internal::EndWait EndOf(const absl::StatusOr<Ref<A>>& no_ref, Where where = SLUICE_HERE);

  // Ends this actor after this handler.
  void Stop(std::string reason = "") {
    CheckThread("Stop()");
    worker().life().Stop(slot_, EndReason::kStopped, std::move(reason));
  }

  void SetName(std::string name);

  template <class Self>
  Ref<Self> RefOf(Self* self) const {
    return Ref<Self>(self->slot_, self->slot_->generation);
  }
  // The Os's clock as the worker last read it, in a turn a moment ago. Counts from an arbitrary
  // point in time: for differences only.
  absl::Duration Now() const { return absl::Nanoseconds(worker().NowNs()); }
  Worker& worker() const { return *slot_->worker; }
  // The runtime drains: no new work comes from outside, and work under way should come to its end.
  // A session gets OnDrain; any other actor asks, as its tasks and timers run on.
  bool Draining() const { return worker().Draining(); }
  // For calls that may come from the actor's own code only: on another thread, a call of this actor
  // ends the process, with a line that names the call and the actor.
  void CheckThread(const char* call) const {
    if (!worker().desk().OnWorker()) [[unlikely]]
      internal::RefuseThread(slot_, call);
  }
  Runtime& runtime() const { return worker().runtime(); }

 private:
  friend void internal::HandleReply(void* actor, AskId ask, void* reply);
  friend void internal::HandleAskOver(void* actor, Envelope& e);
  friend class OpenQuestion;
  friend class internal::EndWait;
  friend class internal::ReplyWait;
  friend class internal::TimerWait;
  template <class A, class M>
  friend class internal::AskWait;
  template <class F>
  friend class internal::BlockingWait;
  friend void internal::TaskIsOver(Slot* slot);

  // False in the destructor: the actor that a callback would run for is gone.
  bool HearsBack() const {
    return slot_->state != ActorState::kLingering && slot_->state != ActorState::kRestarting;
  }
  template <class M>
  Answer SendWith(Slot* target, uint32_t generation, const MessageOps* ops, M&& message) {
#ifndef NDEBUG
    CheckThread("Send()");  // In an optimized build a send that parks finds it.
#endif
    if (target == nullptr) return Answer::kClosed;
    if constexpr (std::is_lvalue_reference_v<M>) {
      std::remove_cvref_t<M> copy(message);
      return worker().Send(slot_, target, generation, ops, copy);
    } else {
      return worker().Send(slot_, target, generation, ops, message);
    }
  }
  // nullptr: actors_max is reached, or `options` are invalid. The slot's actor is not constructed
  // yet.
  Slot* OpenChild(const SpawnOptions& options);
  bool LivesHere(const SpawnOptions& options) const {
    return options.worker == -1 || options.worker == worker().Index();
  }
  TimerId AddTimer(absl::Duration delay, absl::Duration interval,
                   absl::AnyInvocable<void(int64_t skipped)> callback);
  MonitorId MonitorSlot(Slot* target, uint32_t generation);
  using ReplyCallback = absl::AnyInvocable<void(void* reply, const absl::Status& status)>;
  template <class M, class F>
  static ReplyCallback AskCallback(F callback) {
    using R = typename M::Reply;
    return [f = std::move(callback)](void* reply, const absl::Status& status) mutable {
      if (reply != nullptr) {
        f(std::move(*static_cast<absl::StatusOr<R>*>(reply)));
      } else {
        f(absl::StatusOr<R>(status));
      }
    };
  }
  // Takes the callback, if it answers another id than 0.
  AskId OpenAsk(absl::Duration timeout, ReplyCallback& callback);
  // Ask; *number is the question's. Takes the callback, if the question is accepted. Requires: the
  // question may be asked.
  template <class A, class M>
  Answer AskNumbered(const Ref<A>& target, M question, absl::Duration timeout,
                     ReplyCallback&& callback, AskId* number) {
    using R = typename M::Reply;
    CheckThread("Ask()");
    if (target.slot() == nullptr) return Answer::kClosed;
    const AskId ask = OpenAsk(timeout, callback);
    if (ask == 0) return Answer::kOverloaded;
    if (number != nullptr) *number = ask;
    internal::Asked<M> asked{std::move(question), Promise<R>(slot_, generation(), ask)};
    const Answer answer =
        worker().Send(slot_, target.slot(), target.generation(), &internal::kAskedOps<A, M>, asked);
    if (answer != Answer::kAccepted) {
      asked.promise.Forget();
      if (ReplyCallback back = DropAsk(ask)) callback = std::move(back);
      if (number != nullptr) *number = 0;
    }
    return answer;
  }
  template <class F, class C>
  Answer RunBlockingNumbered(F&& function, C&& callback, AskId* number) {
    using Function = std::decay_t<F>;
    constexpr bool kMayRun = internal::Stoppable<Function> || std::invocable<Function&>;
    static_assert(kMayRun, "a blocking function takes no arguments, or a std::stop_token");
    if constexpr (kMayRun) {
      using Result = internal::ResultOfBlocking<Function>;
      using Value = typename Result::Value;
      static_assert(std::move_constructible<Value>,
                    "the result of a blocking function must be movable");
      constexpr bool kHears = std::invocable<std::decay_t<C>&, typename Result::Told>;
      static_assert(kHears,
                    "the callback takes an absl::StatusOr of what the function returns, or an "
                    "absl::Status where it returns void or a Status");
      if constexpr (kHears) {
        CheckThread("RunBlocking()");
        if constexpr (internal::Stoppable<Function>) {
          std::stop_source source;
          std::stop_token token = source.get_token();
          return SubmitFunction<Result>(
              internal::WithToken<Function>{std::forward<F>(function), std::move(token)},
              [f = std::forward<C>(callback), stop = internal::StopAtEnd(std::move(source))](
                  typename Result::Told told) mutable { f(std::move(told)); },
              number);
        } else {
          return SubmitFunction<Result>(std::forward<F>(function), std::forward<C>(callback),
                                        number);
        }
      }
    }
    return Answer::kClosed;  // Never compiled.
  }
  template <class Result, class F, class C>
  Answer SubmitFunction(F&& function, C&& callback, AskId* number) {
    using Task = internal::BlockingTaskOf<std::decay_t<F>, Result>;
    using Value = typename Result::Value;
    ReplyCallback told = [f = std::forward<C>(callback)](void* reply, const absl::Status&) mutable {
      f(Result::Tell(std::move(*static_cast<absl::StatusOr<Value>*>(reply))));
    };
    const AskId ask = OpenAsk(absl::InfiniteDuration(), told);
    if (ask == 0) return Answer::kOverloaded;
    if (number != nullptr) *number = ask;
    const Answer answer =
        SubmitBlocking(ask, sizeof(Task),
                       std::make_unique<Task>(typeid(*this).name(), std::forward<F>(function),
                                              Promise<Value>(slot_, generation(), ask)));
    if (answer != Answer::kAccepted && number != nullptr) *number = 0;
    return answer;
  }
  template <class A>
  Task<internal::InTimeOf<A>> InTime(absl::Duration timeout, A awaited);
  int64_t NextTickMs() const;
  void DisarmAsk(OpenQuestion& question);
  ReplyCallback CloseAsk(OpenQuestion& question);
  // The question's callback does not run any more; its entry waits for the late reply.
  void WithdrawAsk(AskId ask);
  Answer SubmitBlocking(AskId ask, size_t bytes, std::unique_ptr<internal::BlockingTask> task);
  ReplyCallback DropAsk(AskId ask);
  void AskTimedOut(AskId ask);
  void AskIsOver(AskId ask);
  void CallbackRan();
  void Replied(AskId ask, void* reply);

  Slot* slot_;
};

namespace internal {

// The slot of the actor that is being constructed on this thread.
struct ConstructionScope {
  explicit ConstructionScope(Slot* slot) : before(std::exchange(current, slot)) {}
  ~ConstructionScope() { current = before; }
  Slot* const before;
  static thread_local constinit Slot* current;
};

template <class A, class... Args>
void Construct(Worker& worker, Slot* slot, Args&&... args) {
  Actor* actor = nullptr;
  try {
    const ConstructionScope scope(slot);
    const HandlerScope handler(worker.desk(), slot, "the constructor", typeid(A).name());
    actor = new A(std::forward<Args>(args)...);
  } catch (...) {
    worker.life().Fail(slot, std::current_exception());
    return;
  }
  worker.life().Install(slot, actor);
  worker.PieceDone(slot, "the constructor");
}

// Makes an A in a slot that keeps all it needs to recreate the actor.
template <class A, class... Args>
auto RestartingMaker(const RestartPolicy& policy, Args&&... args) {
  return [policy, kept = std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...)](
             Worker& worker, Slot* slot) mutable {
    auto make = [kept = std::move(kept)](Worker& on, Slot* in) {
      std::apply([&](const auto&... arg) { Construct<A>(on, in, arg...); }, kept);
    };
    worker.restarts().Make(slot,
                           std::make_unique<Restart>(policy, typeid(A).name(), std::move(make)));
  };
}

// Makes an A on the worker that the options name, or on the next in turn.
template <class A, class... Args>
Ref<A> Place(Shared& shared, const SpawnOptions& options, Slot* parent, Args&&... args) {
  const auto [slot, generation] = PlaceSlot(
      shared, options, parent,
      [captured = std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...)](
          Worker& worker, Slot* made) mutable {
        std::apply([&](auto&... arg) { Construct<A>(worker, made, std::move(arg)...); }, captured);
      });
  return Ref<A>(slot, generation);
}

}  // namespace internal

template <class A, class... Args>
Ref<A> Actor::SpawnWith(const SpawnOptions& options, Args&&... args) {
  using Refused = internal::ChildRefused<A, Args...>;
  if constexpr (!std::is_void_v<Refused>) {
    return Refused();
  } else {
    if (!worker().family().MayHaveChild(slot_)) return Ref<A>();
    if (!LivesHere(options)) {
      return internal::Place<A>(worker().shared(), options, slot_, std::forward<Args>(args)...);
    }
    Slot* slot = OpenChild(options);
    if (slot == nullptr) return Ref<A>();
    const Ref<A> ref(slot, slot->generation);
    internal::Construct<A>(worker(), slot, std::forward<Args>(args)...);
    return slot->actor == nullptr ? Ref<A>() : ref;
  }
}

template <class A, class... Args>
Ref<A> Actor::SpawnRestarting(const RestartPolicy& policy, const SpawnOptions& options,
                              Args&&... args) {
  using Refused = internal::RestartRefused<A, Args...>;
  if constexpr (!std::is_void_v<Refused>) {
    return Refused();
  } else {
    if (!worker().family().MayHaveChild(slot_)) return Ref<A>();
    auto make = internal::RestartingMaker<A>(policy, std::forward<Args>(args)...);
    if (!LivesHere(options)) {
      const auto [slot, generation] =
          internal::PlaceSlot(worker().shared(), options, slot_, std::move(make));
      return Ref<A>(slot, generation);
    }
    Slot* slot = OpenChild(options);
    if (slot == nullptr) return Ref<A>();
    const Ref<A> ref(slot, slot->generation);
    make(worker(), slot);
    return slot->actor == nullptr ? Ref<A>() : ref;
  }
}

}  // namespace sluice

// Its classes are complete where a task awaits them.
#include "sluice/core/actor/task_group.h"  // IWYU pragma: export
#include "sluice/core/actor/waits.h"       // IWYU pragma: export

#endif  // SLUICE_CORE_ACTOR_ACTOR_H_
