// Running is the work that a worker's thread does now. Another thread can name that work if it does
// not return.
//
// Owner:  the worker.
// Thread: the worker writes; any thread reads values that are a moment old.
// Bound:  four words.
#ifndef SLUICE_CORE_WORKER_RUNNING_H_
#define SLUICE_CORE_WORKER_RUNNING_H_

#include <atomic>
#include <string>
#include <typeinfo>

#include "sluice/core/mailbox/envelope.h"
#include "sluice/core/slot/actor_base.h"
#include "sluice/core/slot/slot.h"

namespace sluice {

inline const char* TypeNameOf(const ActorBase* actor) {  // Mangled; nullptr for no actor.
  return actor == nullptr ? nullptr : typeid(*actor).name();
}

// The name for logs and the dump: the name that SpawnOptions or SetName gave, or "Type#number".
std::string NameOfActor(const Slot* slot);

class Running {
 public:
  // A slice of an actor's messages begins, or ends (nullptr); Message() begins each message in it.
  void Slice(const Slot* slot) { slot_.store(slot, std::memory_order_relaxed); }
  void Message(const MessageOps* ops) { ops_.store(ops, std::memory_order_relaxed); }
  std::string Text() const;  // "On(Order) of Kitchen#12"
  // The running work, for comparison with a later look: a difference means progress.
  const void* SlotMark() const { return slot_.load(std::memory_order_relaxed); }
  const void* MessageMark() const { return ops_.load(std::memory_order_relaxed); }
  const void* HandlerMark() const { return what_.load(std::memory_order_relaxed); }

  // A handler that is not a message's begins. Slice(nullptr) follows it.
  void Handler(const Slot* slot, const char* what, const char* type) {
    slot_.store(slot, std::memory_order_relaxed);
    ops_.store(nullptr, std::memory_order_relaxed);
    what_.store(what, std::memory_order_relaxed);
    type_.store(type, std::memory_order_relaxed);
  }
  // For code that counts as a handler, and may run inside one. Scopes nest when a handler spawns.
  class Scope {
   public:
    // `what` and `type` (mangled, or nullptr) are static.
    Scope(Running& running, const Slot* slot, const char* what, const char* type)
        : running_(running),
          slot_(Put(running.slot_, slot)),
          ops_(Put<const MessageOps*>(running.ops_, nullptr)),
          what_(Put(running.what_, what)),
          type_(Put(running.type_, type)) {}
    ~Scope() {
      Put(running_.slot_, slot_);
      Put(running_.ops_, ops_);
      Put(running_.what_, what_);
      Put(running_.type_, type_);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Running& running_;
    const Slot* const slot_;
    const MessageOps* const ops_;
    const char* const what_;
    const char* const type_;
  };

 private:
  // No exchange: there is one writer.
  template <class T>
  static T Put(std::atomic<T>& place, T value) {
    const T before = place.load(std::memory_order_relaxed);
    place.store(value, std::memory_order_relaxed);
    return before;
  }

  // Partner: Text(). Relaxed: each points to static data, or to a slot that is never unmapped and
  // has a constant number.
  std::atomic<const Slot*> slot_{nullptr};
  std::atomic<const MessageOps*> ops_{nullptr};
  std::atomic<const char*> what_{nullptr};
  std::atomic<const char*> type_{nullptr};
};

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_RUNNING_H_
