// Promise<R> is the duty to answer a question: once, from any thread. A dropped promise answers
// with an error; if its holder has failed, with the text of that failure.
//
// Owner:  its holder; movable.
// Thread: any, one at a time.
// Bound:  the place for the reply is reserved in the asker's mailbox when the question is asked.
// Errors: none: an answer cannot be refused. A reply after the deadline, or after the end of the
//         asker or of its runtime, is discarded.
#ifndef SLUICE_CORE_ACTOR_PROMISE_H_
#define SLUICE_CORE_ACTOR_PROMISE_H_

#include <cstdint>
#include <typeinfo>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sluice/core/actor/refused.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/mailbox/answer.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

class Actor;

namespace internal {

template <class R>
struct ReplyMessage {
  AskId ask = 0;
  absl::StatusOr<R> reply;
  int64_t HeldBytes() const {
    if constexpr (Message<R>) {
      return reply.ok() ? sluice::HeldBytes(*reply) : 0;
    } else {
      return 0;  // A reply need not say its HeldBytes(); then only its place is charged.
    }
  }
};

// Calls the asker's callback and ends the reservation.
void HandleReply(void* actor, AskId ask, void* reply);

// While a handler answers a question by its promise: if an exception destroys the promise, the
// asker is told of the exception, which is known only when it has left the handler.
class AnsweringScope {
 public:
  AnsweringScope(const Slot* asker, AskId ask)
      : asker_(asker), ask_(ask), before_(std::exchange(current, this)) {}
  ~AnsweringScope() { current = before_; }
  AnsweringScope(const AnsweringScope&) = delete;
  AnsweringScope& operator=(const AnsweringScope&) = delete;

  // True: an exception destroys the promise of the running handler.
  static bool NoteDropped(const Slot* asker, AskId ask);
  bool Dropped() const { return dropped_; }

 private:
  static thread_local constinit AnsweringScope* current;
  const Slot* const asker_;
  const AskId ask_;
  AnsweringScope* const before_;
  bool dropped_ = false;
};

// Why a promise was dropped that is destroyed now: its holder has failed or ended, or has forgotten
// it.
absl::Status DroppedStatus() noexcept;
// How an actor has ended, or is about to.
absl::Status EndStatus(const Slot* actor);
// Why a question or a blocking call was not accepted.
absl::Status RefusedStatus(Answer answer);
// In a catch block of a handler of `actor`: its exception.
absl::Status ThrownStatus(const Slot* actor) noexcept;

template <class R>
inline const MessageOps kReplyOps = {
    MessageKind::kReserved,
    [](void* actor, Envelope& e) {
      auto& message = e.Get<ReplyMessage<R>>();
      HandleReply(actor, message.ask, &message.reply);
    },
    Envelope::DestroyOf<ReplyMessage<R>>(),
    Envelope::RelocateOf<ReplyMessage<R>>(),
    [] { return typeid(R).name(); },
};

}  // namespace internal

template <class R>
class Promise {
 public:
  Promise() = default;  // For a question that was sent, not asked: the answer is discarded.
  Promise(Slot* asker, uint32_t generation, AskId ask)
      : asker_(asker), generation_(generation), ask_(ask) {}
  ~Promise() {
    if (asker_ != nullptr) Drop();
  }
  Promise(const Promise&) = delete;  // Move it: [promise = std::move(promise)]() mutable { ... }.
  Promise(Promise&& other) noexcept
      : asker_(std::exchange(other.asker_, nullptr)),
        generation_(other.generation_),
        ask_(other.ask_) {}
  Promise& operator=(Promise&& other) noexcept {
    Promise taken(std::move(other));
    std::swap(asker_, taken.asker_);
    std::swap(generation_, taken.generation_);
    std::swap(ask_, taken.ask_);
    return *this;
  }

  void Resolve(R reply) { Send(std::move(reply)); }
  // An OK status is no failure: the asker gets an Internal error instead.
  void Fail(absl::Status status) {
    if (status.ok()) status = absl::InternalError("the question failed with an OK status");
    Send(std::move(status));
  }
  void Resolve(R) const { static_cast<void>(refused::PromiseIsConst<R>()); }
  void Fail(const absl::Status&) const { static_cast<void>(refused::PromiseIsConst<R>()); }
  int64_t HeldBytes() const { return 0; }
  // Gives no answer: the question was never sent and its asker knows, or the runtime has ended.
  void Forget() { asker_ = nullptr; }

  // For the framework: what it takes to make the same promise again.
  Slot* Asker() const { return asker_; }
  uint32_t AskerGeneration() const { return generation_; }
  AskId Question() const { return ask_; }

 private:
  void Drop() {
    SLUICE_PLANT(promise_silent, return Forget());
    if (internal::AnsweringScope::NoteDropped(asker_, ask_)) return Forget();
    Fail(internal::DroppedStatus());
  }
  void Send(absl::StatusOr<R> reply) {
    Slot* asker = std::exchange(asker_, nullptr);
    if (asker == nullptr) return;
    Worker::SendReserved(asker, generation_, &internal::kReplyOps<R>,
                         internal::ReplyMessage<R>{ask_, std::move(reply)});
  }

  Slot* asker_ = nullptr;
  uint32_t generation_ = 0;
  AskId ask_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_CORE_ACTOR_PROMISE_H_
