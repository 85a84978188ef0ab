// Takes<A, M> says that actors of class A take the message M: A has a public On whose parameter is
// M, const M& or M&&. Nothing is converted: On(int) takes no int64_t, and On(Base) no Derived.
//
//   void On(Deposit);                    // A message.
//   int64_t On(const Balance&);          // A question that is answered at once.
//   void On(Balance, Promise<int64_t>);  // A question that is answered later.
//   Task<int64_t> On(Balance);           // The same, by a task.
//
// Owner:  none; for the compiler only.
// Thread: none.
// Bound:  none.
// Errors: a message that an actor does not take stops the compiler, as core/actor/refused.h says.
#ifndef SLUICE_CORE_ACTOR_TAKES_H_
#define SLUICE_CORE_ACTOR_TAKES_H_

#include <concepts>
#include <type_traits>
#include <utility>

#include "absl/status/statusor.h"
#include "sluice/core/actor/promise.h"
#include "sluice/core/actor/refused.h"
#include "sluice/core/actor/task.h"
#include "sluice/core/memory/held_bytes.h"
#include "sluice/core/memory/held_kinds.h"
#include "sluice/core/memory/members.h"

namespace sluice {

// A question: a message that names the type of its answer.
template <class M>
concept Question = requires {
  typename M::Reply;
};

namespace internal {

// The result of the On that a call with these arguments runs.
template <class A, class... Args>
using OnResult = decltype(std::declval<A&>().On(std::declval<Args>()...));

template <class A, class F>
concept OnIs = requires {
  static_cast<F>(&A::On);
};
// One of the functions On has exactly these parameters, and the result R. If there is one, a call
// with such arguments never runs an On that converts them: an exact match wins, or the call is
// ambiguous.
template <class A, class R, class... P>
concept HasOn = OnIs<A, R (A::*)(P...)> || OnIs<A, R (A::*)(P...) const> || OnIs<A, R (*)(P...)>;

template <class A, class M, class... Rest>
concept TakesExactly = requires {
  typename OnResult<A, M, Rest...>;
}
&&(HasOn<A, OnResult<A, M, Rest...>, M, Rest...> ||
   HasOn<A, OnResult<A, M, Rest...>, const M&, Rest...> ||
   HasOn<A, OnResult<A, M, Rest...>, M&&, Rest...>);

template <class A, class M>
concept TakesReference = requires {
  typename OnResult<A, M&>;
}
&&HasOn<A, OnResult<A, M&>, M&>;

template <class M>
struct PromiseOf {};
template <Question M>
struct PromiseOf<M> {
  using Type = Promise<typename M::Reply>;
};

}  // namespace internal

// A takes M: it has On(M), or On(M, Promise<M::Reply>).
template <class A, class M>
concept TakesMessage = internal::TakesExactly<A, M>;
template <class A, class M>
concept TakesPromise = Question<M> &&
    (internal::TakesExactly<A, M, typename internal::PromiseOf<M>::Type> ||
     internal::TakesExactly<A, M, typename internal::PromiseOf<M>::Type&&>);
template <class A, class M>
concept Takes = TakesMessage<A, M> || TakesPromise<A, M>;
// Result types of On(M): the reply, a type that becomes the reply without narrowing, or an
// absl::StatusOr of the reply, so that On can refuse; or a Task of one of these, which answers when
// it ends.
template <class T, class R>
concept PlainReplyOf = std::same_as<T, absl::StatusOr<R>> ||
    (std::convertible_to<T, R> && (!std::is_arithmetic_v<T> || requires(T t) { R{t}; }));
template <class T, class R>
concept ReplyOf = PlainReplyOf<T, R> ||
    (internal::kIsTask<T>&& PlainReplyOf<internal::ValueOfTask<T>, R>);
// A answers M: its On(M) returns the reply, or takes a promise and replies later.
template <class A, class M>
concept Answers = Question<M> &&
    (TakesPromise<A, M> ||
     (TakesMessage<A, M> && ReplyOf<internal::OnResult<A, M>, typename M::Reply>));

namespace internal {

template <class A, class M>
consteval auto NotTaken() {
  if constexpr (!requires { sizeof(A); }) {
    return Why<refused::ActorIsDeclaredOnly<A>>();
  } else if constexpr (TakesPromise<A, M>) {
    using Result = OnResult<A, M, typename PromiseOf<M>::Type>;
    if constexpr (!std::is_void_v<Result>) {
      return Why<refused::OnTakesAPromiseAndReturnsAValue<A, M>>();
    } else {
      return Why<void>();
    }
  } else if constexpr (TakesMessage<A, M>) {
    using Result = OnResult<A, M>;
    if constexpr (kIsTask<Result> && !HasOn<A, Result, M>) {
      return Why<refused::TaskTakesAReference<A, M>>();
    } else {
      return Why<void>();
    }
  } else if constexpr (TakesReference<A, M>) {
    return Why<refused::OnTakesAReference<A, M>>();
  } else {
    return Why<refused::ActorHasNoOnFor<A, M>>();
  }
}

template <class M>
consteval auto NoMessage() {
  if constexpr (!std::is_move_constructible_v<M>) {
    return Why<refused::MessageIsNotMovable<M>>();
  } else if constexpr (!std::is_nothrow_move_constructible_v<M>) {
    return Why<refused::MessageMayThrowWhenMoved<M>>();
  } else if constexpr (!Message<M>) {
    return []<class T>(held::Types<T>) {
      if constexpr (MemberCount<T>() == kMembersTooMany) {
        return Why<refused::MessageHasTooManyMembers<T>>();
      } else if constexpr (MemberCount<T>() == kMembersOfBase) {
        return Why<refused::MessageHasABaseClass<T>>();
      } else {
        return Why<refused::MemoryIsUnknown<T>>();
      }
    }(held::UnknownIn<M>());
  } else {
    return Why<void>();
  }
}

template <class A, class M>
consteval auto NotSent() {
  if constexpr (!std::is_array_v<M> && !std::is_void_v<typename decltype(NoMessage<M>())::Type>) {
    return NoMessage<M>();
  } else {
    return NotTaken<A, M>();
  }
}

template <class A, class M, class F>
consteval auto NotAsked() {
  if constexpr (!Question<M>) {
    return Why<refused::QuestionHasNoReply<M>>();
  } else if constexpr (!std::is_void_v<typename decltype(NotSent<A, M>())::Type>) {
    return NotSent<A, M>();
  } else if constexpr (!Answers<A, M>) {
    return Why<refused::OnReturnsAnotherTypeThanReply<A, M>>();
  } else if constexpr (!std::invocable<F&, absl::StatusOr<typename M::Reply>>) {
    return Why<refused::CallbackTakesNoStatusOr<typename M::Reply>>();
  } else {
    return Why<void>();
  }
}

// A question that passes a Promise<R> on.
template <class R, class A, class M>
consteval auto NotAskedFor() {
  if constexpr (!Question<M>) {
    return Why<refused::QuestionHasNoReply<M>>();
  } else if constexpr (!PlainReplyOf<typename M::Reply, R>) {
    return Why<refused::PromiseTakesAnotherTypeThanReply<R, typename M::Reply>>();
  } else if constexpr (!std::is_void_v<typename decltype(NotSent<A, M>())::Type>) {
    return NotSent<A, M>();
  } else if constexpr (!Answers<A, M>) {
    return Why<refused::OnReturnsAnotherTypeThanReply<A, M>>();
  } else {
    return Why<void>();
  }
}

// The callback of a question that a task awaits.
struct AnyAnswer {
  template <class T>
  void operator()(T&&) const {}
};

// Why an M is not sent to an A, or not asked: a class of namespace `refused`; void: it may be.
template <class A, class M>
using SendRefused = typename decltype(NotSent<A, M>())::Type;
template <class A, class M, class F>
using AskRefused = typename decltype(NotAsked<A, M, F>())::Type;
template <class R, class A, class M>
using AskForRefused = typename decltype(NotAskedFor<R, A, M>())::Type;
// An S to a Recipient<M>.
template <class M, class S>
using RecipientRefused =
    std::conditional_t<std::is_same_v<M, S>, typename decltype(NoMessage<M>())::Type,
                       refused::RecipientConvertsNoMessage<M, S>>;

}  // namespace internal

}  // namespace sluice

#endif  // SLUICE_CORE_ACTOR_TAKES_H_
