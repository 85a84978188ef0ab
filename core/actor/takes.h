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
// Errors: a message that an actor does not take stops the compiler: MayBeSent and MayBeAsked say
//         why, in one error, and nothing after it is compiled.
#ifndef SLUICE_CORE_ACTOR_TAKES_H_
#define SLUICE_CORE_ACTOR_TAKES_H_

#include <concepts>
#include <type_traits>
#include <utility>

#include "absl/status/statusor.h"
#include "sluice/core/actor/promise.h"
#include "sluice/core/actor/task.h"
#include "sluice/core/memory/held_bytes.h"

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
    (internal::kIsTask<T>&& PlainReplyOf<typename internal::ValueOfTask<T>, R>);
// A answers M: its On(M) returns the reply, or takes a promise and replies later.
template <class A, class M>
concept Answers = Question<M> &&
    (TakesPromise<A, M> ||
     (TakesMessage<A, M> && ReplyOf<internal::OnResult<A, M>, typename M::Reply>));

namespace internal {

template <class...>
inline constexpr bool kNever = false;

// Not defined: the compiler's error names both types, and shows the line below.
template <class A, class M>
struct ActorHasNoOnFor;  // No public On(M), On(const M&) or On(M&&); messages are not converted.

// True: an M may be sent to an A. False comes with one error, so the caller compiles nothing else.
template <class A, class M>
consteval bool IsTaken() {
  constexpr bool kKnown = requires { sizeof(A); };
  static_assert(kKnown, "the class of this actor is declared only: include its header");
  if constexpr (TakesPromise<A, M>) {
    using P = typename PromiseOf<M>::Type;
    constexpr bool kVoid = std::is_void_v<OnResult<A, M, P>>;
    static_assert(kVoid,
                  "an On that takes a promise returns void: return the reply, or take a promise");
    return kVoid;
  } else if constexpr (TakesMessage<A, M>) {
    using T = OnResult<A, M>;
    constexpr bool kLives = !kIsTask<T> || HasOn<A, T, M>;
    static_assert(kLives,
                  "an On that returns a Task takes its message by value: a reference is gone after "
                  "the first co_await");
    return kLives;
  } else if constexpr (TakesReference<A, M>) {
    static_assert(kNever<A, M>, "On(M&) takes no message: write On(M), On(const M&) or On(M&&)");
  } else if constexpr (kKnown) {
    static_assert(sizeof(ActorHasNoOnFor<A, M>) > 0);
  }
  return Takes<A, M>;
}

template <class M>
consteval bool IsMessage() {
  if constexpr (!std::is_move_constructible_v<M>) {
    static_assert(kNever<M>, "a message must be movable");
  } else if constexpr (!std::is_nothrow_move_constructible_v<M>) {
    static_assert(kNever<M>,
                  "a message must be movable without throwing: its move constructor is noexcept, "
                  "and so is that of each member (a std::deque's is not)");
  } else {
    static_assert(Message<M>, "a message that owns memory defines int64_t HeldBytes() const");
  }
  return Message<M>;
}

template <class A, class M>
consteval bool MayBeSent() {
  if constexpr (std::is_array_v<M>) {
    return IsTaken<A, M>();  // False: no function takes an array.
  } else if constexpr (IsMessage<M>()) {
    return IsTaken<A, M>();
  }
  return false;
}

template <class A, class M, class F>
consteval bool MayBeAsked() {
  if constexpr (!Question<M>) {
    static_assert(kNever<M>, "a question names the type of its answer: `using Reply = ...;`");
  } else if constexpr (IsMessage<M>() && IsTaken<A, M>()) {
    constexpr bool kAnswers = Answers<A, M>;
    static_assert(kAnswers, "On returns the question's Reply, or an absl::StatusOr of it");
    constexpr bool kHears = std::invocable<F&, absl::StatusOr<typename M::Reply>>;
    static_assert(kHears, "the callback takes an absl::StatusOr of the question's Reply");
    return kAnswers && kHears;
  }
  return false;
}

// For a question that a task awaits.
struct AnyAnswer {
  template <class T>
  void operator()(T&&) const {}
};

// To a Recipient<M>: an S is sent as it is.
template <class M, class S>
consteval bool IsExactly() {
  static_assert(std::same_as<M, S>, "a Recipient<M> takes an M, and converts no other message");
  return std::same_as<M, S> && IsMessage<M>();
}

}  // namespace internal

}  // namespace sluice

#endif  // SLUICE_CORE_ACTOR_TAKES_H_
