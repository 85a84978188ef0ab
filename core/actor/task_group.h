// Several waits of one task at once. FirstOf goes on with the first that ends, and cancels the
// rest. A TaskGroup runs tasks that end with it.
//
//   auto first = co_await FirstOf(Ask(stock, Price{}, absl::Seconds(1)), Sleep(absl::Seconds(2)));
//   if (first.index() == 1) co_return;  // The Sleep was first.
//
//   TaskGroup group(this);
//   for (const Address& peer : peers) group.Start(Greet(peer));
//   co_await group.Join();
//
// Owner:  the frame that awaits; the group's holder.
// Thread: the worker's.
// Bound:  the frames of the tasks are charged to the memory budget.
// Errors: an exception of the first task leaves the co_await of FirstOf. The first exception of a
//         group's task leaves Join(), which cancels the other tasks. If nobody joins any more, it
//         is logged. Each further exception of a group is logged, with its number.
#ifndef SLUICE_CORE_ACTOR_TASK_GROUP_H_
#define SLUICE_CORE_ACTOR_TASK_GROUP_H_

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/task.h"
#include "sluice/core/actor/waits.h"
#include "sluice/core/base/intrusive_list.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/coroutine.h"

// GCC 12 warns of a coroutine template in a header whose argument is of an unnamed namespace: it
// takes the frame for a class that several files share.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wsubobject-linkage"

namespace sluice {

namespace internal {

template <class A>
struct ValueOfAwaitable {
  using Type = std::remove_cvref_t<decltype(std::declval<A&>().Result())>;
};
template <class T>
struct ValueOfAwaitable<Task<T>> {
  using Type = T;
};
template <class T>
using NoVoid = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class A>
concept MayBeAwaited = kIsTask<std::remove_reference_t<A>> || Awaitable<std::remove_reference_t<A>>;

template <class T>
Task<T> AsTask(Task<T> task) {
  return task;
}
template <Awaitable A>
Task<ValueOf<A>> AsTask(A awaited) {
  co_return co_await std::move(awaited);
}

// The task that waits for several others: it is told of the first that has ended.
class FirstOfBase {
 protected:
  // One of the others. Lives in the frame that awaits.
  class Alternative : public Coroutine {
   public:
    // False: it, or one before it, has ended.
    bool Begin(FirstOfBase& of, int index);
    void Cancel() override {
      DoNotGoOn();
      Destroy();
    }

   protected:
    ~Alternative() = default;

   private:
    virtual void StartIn() = 0;
    virtual void Destroy() = 0;
    Coroutine* Ended() override { return of_->OnEnded(index_); }
    FirstOfBase* of_ = nullptr;
    int index_ = 0;
  };

  Coroutine* waiting_ = nullptr;
  std::coroutine_handle<> frame_;
  int first_ = -1;        // Which has ended first.
  bool starting_ = true;  // Not all were started.

 private:
  Coroutine* OnEnded(int index);
};

template <class... T>
class SLUICE_AWAITED FirstOfWait : public FirstOfBase {
 public:
  using Value = std::variant<NoVoid<T>...>;
  FirstOfWait(Where where, Task<T>... tasks) : place_(where), alternatives_(std::move(tasks)...) {}

  bool Begin(Coroutine& coroutine, std::coroutine_handle<> frame) {
    waiting_ = &coroutine;
    frame_ = frame;
    coroutine.WaitsAt(place_, "the first of several", coroutine.slot()->worker->NowNs());
    std::apply(
        [this](auto&... alternative) {
          int index = 0;
          (void)(alternative.Begin(*this, index++) && ...);
        },
        alternatives_);
    starting_ = false;
    return first_ < 0;
  }
  Value Result() { return ResultOf<0>(); }

 private:
  template <class V>
  class Of final : public Alternative {
   public:
    explicit Of(Task<V> task) : task_(std::move(task)) {}
    Of(Of&& other) noexcept : task_(std::move(other.task_)) {}  // Before it begins.
    Task<V> task_;

   private:
    void StartIn() override { task_.StartIn(*this); }
    void Destroy() override { task_.Destroy(); }
  };

  // The others are cancelled before the task goes on.
  template <size_t I>
  Value ResultOf() {
    if constexpr (I < sizeof...(T)) {
      if (first_ != static_cast<int>(I)) return ResultOf<I + 1>();
      auto task = std::move(std::get<I>(alternatives_).task_);
      std::apply(
          [](auto&... alternative) {
            SLUICE_PLANT(losers_wait_on, return);
            (alternative.LeaveList(), ...);
            (alternative.Cancel(), ...);
          },
          alternatives_);
      using V = std::tuple_element_t<I, std::tuple<T...>>;
      if constexpr (std::is_void_v<V>) {
        task.Take();
        return Value(std::in_place_index<I>);
      } else {
        return Value(std::in_place_index<I>, task.Take());
      }
    } else {
      SLUICE_CHECK(false, "the first of several tasks is none of them");
      std::terminate();
    }
  }

  WaitPlace place_;
  std::tuple<Of<T>...> alternatives_;
};

class GroupTask;

}  // namespace internal

// Awaits the first of several tasks or waits, which it takes over. Answers a std::variant: index()
// says which was first, its value is what co_await would answer (std::monostate for void). The
// others are cancelled.
template <class... A>
requires(sizeof...(A) > 0 && (internal::MayBeAwaited<A> && ...)) auto FirstOf(A&&... alternatives) {
  static_assert(!(internal::kDestroyedTwice<A> || ...), SLUICE_DESTROYED_TWICE);
  return internal::FirstOfWait<internal::ValueOf<std::remove_reference_t<A>>...>(
      Where("", 0), internal::AsTask(std::move(alternatives))...);
}

class TaskGroup {
 public:
  explicit TaskGroup(Actor* actor) : slot_(actor->slot()) {}
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // As Actor::StartTask: the task runs now, until it waits for the first time.
  void Start(Task<void> task);
  size_t size() const { return tasks_.Size(); }  // Walks the tasks.
  bool empty() const { return tasks_.Empty(); }
  // Destroys the tasks that have not ended. Not from one of them.
  void Cancel();

  // Waits until all tasks have ended. Requires: nobody else does. When the last one has ended, the
  // group may end, or be joined by another, before this wait goes on.
  class SLUICE_AWAITED JoinWait {
   public:
    JoinWait(TaskGroup& group, Where where) : group_(&group), place_(where) {}
    JoinWait(JoinWait&&) = default;  // Until it waits.
    ~JoinWait() {
      SLUICE_PLANT(join_not_withdrawn, if (joins_ && group_->joining_ != nullptr) return);
      if (joins_) group_->Joined();
    }
    bool Begin(Coroutine& coroutine, std::coroutine_handle<> frame);
    void Result();

   private:
    friend class TaskGroup;
    TaskGroup* group_;  // nullptr: it has let this wait go on without it.
    WaitPlace place_;
    std::exception_ptr error_;  // The error of a group that has ended.
    bool joins_ = false;        // This wait is the group's join_.
  };
  JoinWait Join(Where where = SLUICE_HERE) { return JoinWait(*this, where); }

 private:
  friend class internal::GroupTask;
  struct Tag {};

  void CancelAll();
  Coroutine* OnEnded(internal::GroupTask& task);
  void Joined() {
    join_ = nullptr;
    joining_ = nullptr;
  }
  void Failed(const std::exception_ptr& error);
  std::exception_ptr TakeError() {
    errors_ = 0;
    return std::exchange(error_, nullptr);
  }
  // A Join that is to go on, and has not yet, does without the group.
  void LeaveJoin();

  Slot* const slot_;
  IntrusiveList<internal::GroupTask, Tag> tasks_;
  std::exception_ptr error_;      // The first one, until a Join has told it.
  uint32_t errors_ = 0;           // Since the last Join that told one.
  JoinWait* join_ = nullptr;      // The wait that waits, or is to go on.
  Coroutine* joining_ = nullptr;  // While join_ waits.
  std::coroutine_handle<> frame_;
};

namespace internal {

class GroupTask final : public OwnedTask<void>, public ListNode<TaskGroup::Tag> {
 public:
  GroupTask(TaskGroup& group, Slot* slot, Task<void> task)
      : OwnedTask(slot, std::move(task)), group_(group) {}
  ~GroupTask() override = default;
  void Cancel() override;
  std::exception_ptr TakeError() { return task_.TakeError(); }

 private:
  Coroutine* Ended() override { return group_.OnEnded(*this); }
  TaskGroup& group_;
};

}  // namespace internal

template <class A>
Task<internal::InTimeOf<A>> Actor::InTime(absl::Duration timeout, A awaited) {
  auto first = co_await FirstOf(awaited, Sleep(timeout));
  if (first.index() == 1) co_return absl::DeadlineExceededError("not before the deadline");
  if constexpr (std::is_void_v<internal::ValueOf<A>>) {
    co_return absl::OkStatus();
  } else {
    co_return std::get<0>(std::move(first));
  }
}

template <class A>
auto Actor::Within(absl::Duration timeout, A&& awaited) {
  static_assert(!internal::kDestroyedTwice<A>, SLUICE_DESTROYED_TWICE);
  return InTime<std::remove_reference_t<A>>(timeout, std::move(awaited));
}

}  // namespace sluice

#pragma GCC diagnostic pop

#endif  // SLUICE_CORE_ACTOR_TASK_GROUP_H_
