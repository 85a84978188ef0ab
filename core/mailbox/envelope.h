// Envelope is one message in transit: 128 bytes, usual messages inline, larger ones in a box of
// their own.
//
// Owner:  its holder: a stage, a lane, a mailbox, an outbox. Moving the envelope moves the message.
// Thread: its holder's.
// Bound:  counted by the credit, the charge or the reservation that let it be sent.
// Errors: none; an envelope that is destroyed with a message inside destroys the message.
#ifndef SLUICE_CORE_MAILBOX_ENVELOPE_H_
#define SLUICE_CORE_MAILBOX_ENVELOPE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "sluice/core/base/check.h"
#include "sluice/core/base/tsan.h"
#include "sluice/core/memory/buffer.h"
#include "sluice/core/memory/held_bytes.h"

namespace sluice {

class Envelope;
struct Slot;

enum class MessageKind : uint8_t {
  kUser,      // Owns a credit of its target's mailbox.
  kReserved,  // Enters the mailbox in a slot that was reserved for it (Down, replies).
  kControl,   // For the worker; no handler sees it.
};

// Operations on a message of an erased type. One static object for each pair of target type and
// message type.
struct MessageOps {
  MessageKind kind;
  // Hands the message to its target: an ActorBase*, or for control a Worker*. The message stays in
  // the envelope.
  void (*handle)(void* target, Envelope& envelope);
  void (*destroy)(Envelope& envelope);  // nullptr: nothing to destroy.
  // nullptr: its first kShortBytes may be copied.
  void (*relocate)(Envelope& from, Envelope& to);
  const char* (*name)();             // The message's type, mangled.
  const char* (*actor)() = nullptr;  // The target's type, mangled, where known.
  // A reserved message that waits behind the user messages before it, though its target holds
  // those.
  bool behind_mail = false;
};

class Envelope {
 public:
  // A box costs an allocation on one side and a free on the other, mostly on another worker: many
  // times what it costs to copy so much.
  static constexpr size_t kInlineBytes = 96;
  // With these an envelope is copied in one cache line.
  static constexpr size_t kShortBytes = 32;
  // The charge of one envelope, besides what its message holds.
  static int64_t ChargedBytes() { return AllocatedBytes(sizeof(Envelope)); }

  template <class M>
  static constexpr bool kInline = sizeof(M) <= kInlineBytes && alignof(M) <= alignof(void*);

  Envelope() = default;
  // moodycamel destroys an element that was moved out (nothing is left in it), and then gives the
  // block back. ThreadSanitizer does not see the fence that orders the two.
  SLUICE_TSAN_SKIPS ~Envelope() {
    if (ops_ != nullptr) Clear();
  }
  Envelope(Envelope&& other) noexcept { MoveFrom(other); }
  Envelope& operator=(Envelope&& other) noexcept {
    Clear();
    MoveFrom(other);
    return *this;
  }

  template <class M>
  void Put(const MessageOps* ops, M&& message) {
    using Held = std::remove_cvref_t<M>;
    if constexpr (kInline<Held>) {
      new (payload_) Held(std::forward<M>(message));
    } else {
      Held* box = new (std::nothrow) Held(std::forward<M>(message));
      // The message's credit and charge are taken, and cannot be given back from here.
      SLUICE_CHECK(box != nullptr, "out of memory for a message");
      std::memcpy(payload_, &box, sizeof(box));
    }
    ops_ = ops;
  }
  template <class M>
  M& Get() {
    if constexpr (kInline<M>) {
      return *std::launder(reinterpret_cast<M*>(payload_));
    } else {
      M* box;
      std::memcpy(&box, payload_, sizeof(box));
      return *box;
    }
  }
  // A user's HeldBytes() may be wrong: a negative number counts as 0, and an impossible one is
  // refused as any message that is too large.
  template <class M>
  static int64_t BytesOf(const M& message) {
    return ChargedBytes() + (kInline<M> ? 0 : AllocatedBytes(sizeof(M))) +
           std::clamp<int64_t>(sluice::HeldBytes(message), 0, kChargeMax);
  }

  // The parts of MessageOps that depend on the message alone.
  template <class M>
  static constexpr auto DestroyOf() -> void (*)(Envelope&) {
    if constexpr (kInline<M> && std::is_trivially_destructible_v<M>) {
      return nullptr;
    } else {
      return [](Envelope& e) {
        if constexpr (kInline<M>) {
          e.Get<M>().~M();
        } else {
          delete &e.Get<M>();
        }
      };
    }
  }
  template <class M>
  static constexpr auto RelocateOf() -> void (*)(Envelope&, Envelope&) {
    constexpr bool kCopied = std::is_trivially_copyable_v<M>;
    if constexpr (!kInline<M> || (kCopied && sizeof(M) <= kShortBytes)) {
      return nullptr;
    } else if constexpr (kCopied) {
      return
          [](Envelope& from, Envelope& to) { std::memcpy(to.payload_, from.payload_, sizeof(M)); };
    } else {
      return [](Envelope& from, Envelope& to) {
        new (to.payload_) M(std::move(from.Get<M>()));
        from.Get<M>().~M();
      };
    }
  }

  // 4 GiB: a message that holds more cannot be sent.
  static constexpr int64_t kChargeMax = UINT32_MAX;

  const MessageOps* Ops() const { return ops_; }
  void AddressTo(Slot* to, uint32_t its_generation, int64_t charged) {
    target = to;
    generation = its_generation;
    charge = static_cast<uint32_t>(charged);
  }
  void Clear() {
    if (ops_ != nullptr && ops_->destroy != nullptr) ops_->destroy(*this);
    ops_ = nullptr;
  }

  Envelope* next = nullptr;  // In a mailbox, an outbox or a pool; never copied.
  Slot* target = nullptr;
  uint32_t generation = 0;  // The target's.
  // Bytes charged to the budget; the code that frees the envelope refunds them.
  uint32_t charge = 0;

 private:
  void MoveFrom(Envelope& other) {
    target = other.target;
    generation = other.generation;
    charge = other.charge;
    ops_ = other.ops_;
    if (ops_ != nullptr && ops_->relocate != nullptr) {
      ops_->relocate(other, *this);
    } else {
      std::memcpy(payload_, other.payload_, kShortBytes);
    }
    other.ops_ = nullptr;
  }

  const MessageOps* ops_ = nullptr;  // nullptr: no message inside.
  alignas(void*) std::byte payload_[kInlineBytes];
};
static_assert(sizeof(Envelope) == 128);

// A worker's stock of envelopes. It keeps at most kKeptMax free envelopes, its fixed part. All
// others go back to the allocator, so that a burst leaves nothing behind.
class EnvelopePool {
 public:
  static constexpr uint32_t kKeptMax = 8'192;

  EnvelopePool() = default;
  ~EnvelopePool() {
    while (free_ != nullptr) delete std::exchange(free_, free_->next);
  }
  EnvelopePool(const EnvelopePool&) = delete;
  EnvelopePool& operator=(const EnvelopePool&) = delete;

  bool HasFree() const { return free_ != nullptr; }
  Envelope* Get() {
    if (free_ == nullptr) [[unlikely]] {
      Envelope* made = new (std::nothrow) Envelope;
      SLUICE_CHECK(made != nullptr, "out of memory for a message");
      return made;
    }
    Envelope* envelope = std::exchange(free_, free_->next);
    --kept_;
    return envelope;
  }
  void Put(Envelope* envelope) {
    envelope->Clear();
    if (kept_ == kKeptMax) [[unlikely]] {
      delete envelope;
      return;
    }
    envelope->next = std::exchange(free_, envelope);
    ++kept_;
  }

  void CheckInvariants() const {  // Walks what it keeps.
    uint32_t kept = 0;
    for (const Envelope* envelope = free_; envelope != nullptr; envelope = envelope->next) ++kept;
    SLUICE_CHECK(kept == kept_ && kept <= kKeptMax);
  }

 private:
  Envelope* free_ = nullptr;
  uint32_t kept_ = 0;
};

// FIFO of pooled envelopes in one pointer: to the last one, which links to the first.
class EnvelopeList {
 public:
  bool Empty() const { return last_ == nullptr; }
  Envelope* Front() const { return last_ == nullptr ? nullptr : last_->next; }
  void Push(Envelope* envelope) {
    if (last_ == nullptr) {
      envelope->next = envelope;
    } else {
      envelope->next = std::exchange(last_->next, envelope);
    }
    last_ = envelope;
  }
  Envelope* Pop() {  // Requires: !Empty().
    Envelope* first = last_->next;
    if (first == last_) {
      last_ = nullptr;
    } else {
      last_->next = first->next;
    }
    return first;
  }
  // Moves all of `others` before the first one.
  void PutInFront(EnvelopeList& others) {
    if (others.last_ == nullptr) return;
    if (last_ == nullptr) {
      last_ = others.last_;
    } else {
      std::swap(last_->next, others.last_->next);
    }
    others.last_ = nullptr;
  }

 private:
  Envelope* last_ = nullptr;
};

}  // namespace sluice

#endif  // SLUICE_CORE_MAILBOX_ENVELOPE_H_
