// Ref<A> is a handle of an actor: two words, copyable, never dangling. Recipient<M> is a handle of
// any actor that takes M.
//
// Owner:  its holder; a handle keeps nothing alive.
// Thread: any. TrySend is the way in from outside threads; handlers use Actor::Send.
// Bound:  two words (a Recipient: three).
// Errors: a send answers kClosed if the actor or its runtime has ended; it never reaches the next
//         actor in its slot.
#ifndef SLUICE_CORE_ACTOR_REF_H_
#define SLUICE_CORE_ACTOR_REF_H_

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "absl/status/statusor.h"
#include "sluice/core/actor/promise.h"
#include "sluice/core/actor/refused.h"
#include "sluice/core/actor/takes.h"
#include "sluice/core/actor/task.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace internal {

// A question on its way, with the promise for its answer.
template <class M>
struct Asked {
  M question;
  Promise<typename M::Reply> promise;
  int64_t HeldBytes() const { return sluice::HeldBytes(question); }
};

void StartHandling(Slot* slot, Task<void> task);
template <class T, class R>
void StartAnswering(Slot* slot, Task<T> task, Promise<R> promise);  // waits.h

template <class A, class M>
void HandleMessage(void* actor, Envelope& e) {
  A& a = *static_cast<A*>(static_cast<ActorBase*>(actor));
  if constexpr (TakesMessage<A, M>) {
    using T = OnResult<A, M>;
    if constexpr (std::same_as<T, Task<void>>) {
      StartHandling(a.slot(), a.On(std::move(e.Get<M>())));
    } else if constexpr (kIsTask<T>) {
      StartAnswering(a.slot(), a.On(std::move(e.Get<M>())), Promise<typename M::Reply>());
    } else {
      a.On(std::move(e.Get<M>()));
    }
  } else {
    a.On(std::move(e.Get<M>()), Promise<typename M::Reply>());
  }
}

template <class R, class T>
void AnswerWith(Promise<R>& promise, T returned) {
  if constexpr (std::convertible_to<T, R>) {
    promise.Resolve(std::move(returned));
  } else if (returned.ok()) {
    promise.Resolve(*std::move(returned));
  } else {
    promise.Fail(returned.status());
  }
}

template <class A, class M>
void HandleAsked(void* actor, Envelope& e) {
  A& a = *static_cast<A*>(static_cast<ActorBase*>(actor));
  Asked<M>& asked = e.Get<Asked<M>>();
  using R = typename M::Reply;
  // The asker of a handler that throws is told what was thrown.
  if constexpr (TakesPromise<A, M>) {
    Slot* const asker = asked.promise.Asker();
    const uint32_t generation = asked.promise.AskerGeneration();
    const AskId ask = asked.promise.Question();
    const AnsweringScope scope(asker, ask);
    try {
      a.On(std::move(asked.question), std::move(asked.promise));
    } catch (...) {
      if (scope.Dropped()) Promise<R>(asker, generation, ask).Fail(ThrownStatus(e.target));
      asked.promise.Fail(ThrownStatus(e.target));  // If it was not moved from.
      throw;
    }
    // The handler has caught the exception that destroyed its promise.
    if (scope.Dropped()) [[unlikely]]
      Promise<R>(asker, generation, ask).Fail(DroppedStatus());
  } else {
    try {
      if constexpr (kIsTask<OnResult<A, M>>) {
        StartAnswering(a.slot(), a.On(std::move(asked.question)), std::move(asked.promise));
      } else {
        AnswerWith<R>(asked.promise, a.On(std::move(asked.question)));
      }
    } catch (...) {
      asked.promise.Fail(ThrownStatus(e.target));
      throw;
    }
  }
}

// A static table for each pair of actor and message.
template <class A, class M>
inline const MessageOps kMessageOps = {
    MessageKind::kUser,
    &HandleMessage<A, M>,
    Envelope::DestroyOf<M>(),
    Envelope::RelocateOf<M>(),
    [] { return typeid(M).name(); },
    [] { return typeid(A).name(); },
};
template <class A, class M>
inline const MessageOps kAskedOps = {
    MessageKind::kUser,
    &HandleAsked<A, M>,
    Envelope::DestroyOf<Asked<M>>(),
    Envelope::RelocateOf<Asked<M>>(),
    [] { return typeid(M).name(); },
    [] { return typeid(A).name(); },
};

template <class M>
Answer TrySendTo(Slot* slot, uint32_t generation, const MessageOps* ops, M& message) {
  if (slot == nullptr) return Answer::kClosed;
  Worker* here = Worker::Current();
  if (here != nullptr) return here->TrySend(slot, generation, ops, message);
  return Worker::TrySendOutside(slot, generation, ops, message);
}

void StopActor(Slot* slot, uint32_t generation);

}  // namespace internal

template <class A>
class Ref {
 public:
  Ref() = default;  // No actor: every send answers kClosed.
  Ref(Slot* slot, uint32_t generation) : slot_(slot), generation_(generation) {}
  template <class B>
  requires std::derived_from<B, A> Ref(const Ref<B>& other)
      : slot_(other.slot()), generation_(other.generation()) {}

  // Best effort, from any thread. The message is moved from only when it is accepted.
  template <class M>
  Answer TrySend(M&& message) const {
    using Sent = std::remove_cvref_t<M>;
    using Refused = internal::SendRefused<A, Sent>;
    if constexpr (!std::is_void_v<Refused>) {
      return Refused();
    } else if constexpr (std::is_lvalue_reference_v<M>) {
      Sent copy(message);
      return internal::TrySendTo(slot_, generation_, &internal::kMessageOps<A, Sent>, copy);
    } else {
      return internal::TrySendTo(slot_, generation_, &internal::kMessageOps<A, Sent>, message);
    }
  }
  // Asks the actor to stop. Its current handler returns, OnStop runs, and all messages it holds are
  // dropped and counted. In a handler of that very actor: as Actor::Stop().
  void Stop() const { internal::StopActor(slot_, generation_); }

  explicit operator bool() const { return slot_ != nullptr; }
  Slot* slot() const { return slot_; }
  uint32_t generation() const { return generation_; }
  friend bool operator==(const Ref&, const Ref&) = default;
  template <class H>
  friend H AbslHashValue(H h, const Ref& ref) {
    return H::combine(std::move(h), ref.slot_, ref.generation_);
  }

 private:
  Slot* slot_ = nullptr;
  uint32_t generation_ = 0;
};

template <class M>
class Recipient {
 public:
  Recipient() = default;
  template <class A>
  requires Takes<A, M> Recipient(const Ref<A>& ref)
      : slot_(ref.slot()), generation_(ref.generation()), ops_(&internal::kMessageOps<A, M>) {}
  template <class A>
  requires(!Takes<A, M>) Recipient(const Ref<A>& ref)
  = delete;  // A has no public On(M), On(const M&) or On(M&&).

  // An M, or in braces what makes one.
  template <class S = M>
  Answer TrySend(S&& message) const {
    using Refused = internal::RecipientRefused<M, std::remove_cvref_t<S>>;
    if constexpr (!std::is_void_v<Refused>) {
      return Refused();
    } else if constexpr (std::is_lvalue_reference_v<S>) {
      M copy(message);
      return internal::TrySendTo(slot_, generation_, ops_, copy);
    } else {
      return internal::TrySendTo(slot_, generation_, ops_, message);
    }
  }

  explicit operator bool() const { return slot_ != nullptr; }
  Slot* slot() const { return slot_; }
  uint32_t generation() const { return generation_; }
  const MessageOps* ops() const { return ops_; }
  friend bool operator==(const Recipient&, const Recipient&) = default;

 private:
  Slot* slot_ = nullptr;
  uint32_t generation_ = 0;
  const MessageOps* ops_ = nullptr;
};

// Send is a function of an actor. A call from elsewhere finds this one, and does not compile.
template <class A, class M>
Answer Send(const Ref<A>&, M&&) {
  return refused::SendOutsideAnActor<std::remove_cvref_t<M>>();
}
template <class M, class S = M>
Answer Send(const Recipient<M>&, S&&) {
  return refused::SendOutsideAnActor<M>();
}

}  // namespace sluice

#endif  // SLUICE_CORE_ACTOR_REF_H_
