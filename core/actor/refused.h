// The classes below say in the compiler's first line why a call does not compile, and for which
// types. They have no definition, and the compiler shows the line that declares them.
//
//   using Refused = internal::SendRefused<A, M>;  // void: it compiles.
//   if constexpr (!std::is_void_v<Refused>) return Refused();  // An error, and the only one.
//
// Owner:  none; for the compiler only.
// Thread: none.
// Bound:  at most 12 lines by g++ and by clang, which tests/compile_errors checks.
// Errors: these are the errors.
#ifndef SLUICE_CORE_ACTOR_REFUSED_H_
#define SLUICE_CORE_ACTOR_REFUSED_H_

#include "sluice/core/base/language.h"

namespace sluice {

namespace refused {

// The declarations stay on one line each, as the compiler shows one line.
// clang-format off
template <class M> struct MessageIsNotMovable;  // Give the message a move constructor.
template <class M> struct MessageMayThrowWhenMoved;  // Make the move noexcept; a std::deque's is not.
template <class T> struct MemoryIsUnknown;  // Define int64_t HeldBytes() const, there or in the message.
template <class M> struct MessageHasTooManyMembers;  // Over 16: define int64_t HeldBytes() const.
template <class M> struct MessageHasABaseClass;  // Define int64_t HeldBytes() const.
template <class A> struct ActorIsDeclaredOnly;  // Include the header that defines the class.
template <class A, class M> struct ActorHasNoOnFor;  // No public On(M), On(const M&) or On(M&&).
template <class A, class M> struct OnTakesAReference;  // Not On(M&): On(M), On(const M&) or On(M&&).
template <class A, class M> struct TaskTakesAReference;  // A Task's On(M) takes M by value: it waits.
template <class A, class M> struct OnTakesAPromiseAndReturnsAValue;  // Do one of both.
template <class M, class S> struct RecipientConvertsNoMessage;  // A Recipient<M> takes an M, no S.
template <class M> struct QuestionHasNoReply;  // In the question: using Reply = ...;
template <class A, class M> struct OnReturnsAnotherTypeThanReply;  // M::Reply, or absl::StatusOr of it.
template <class R, class Reply> struct PromiseTakesAnotherTypeThanReply;  // Pass a Promise<Reply> on.
template <class Reply> struct CallbackTakesNoStatusOr;  // Let it take an absl::StatusOr<Reply>.
template <class Result> struct AnswerIsNoString;  // AskPipelined's function returns a std::string.
template <class A> struct NotAnActor;  // Only a class derived from sluice::Actor can be spawned.
template <class A> struct ActorIsAbstract;  // A virtual function is missing: OnData or another.
template <class A, class... Args> struct NoConstructorTakes;  // No public A(Args...).
template <class A> struct ActorCannotBeRestarted;  // A session, acceptor or hub loses its connections.
template <class A, class... Args> struct ArgumentIsNotCopyable;  // A restart copies each argument.
template <class M> struct SendOutsideAnActor;  // Here: target.TrySend(message).
template <class R> struct PromiseIsConst;  // In a lambda: [promise = std::move(promise)]() mutable.
// clang-format on

}  // namespace refused

namespace internal {

template <class Reason>
struct Why {
  using Type = Reason;
};

}  // namespace internal

}  // namespace sluice

#endif  // SLUICE_CORE_ACTOR_REFUSED_H_
