// IoHandler is a worker's view of a descriptor: an object in a slot that is notified of readiness
// and takes its turn on the ready list. Acceptors and connections derive from it.
//
// Owner:  the slot of its actor. The handler may outlive the actor until its work is done, and
//         keeps the slot.
// Thread: the worker's.
// Bound:  at most one for each slot.
// Errors: each kind's own: none may leave these calls.
#ifndef SLUICE_CORE_SLOT_IO_HANDLER_H_
#define SLUICE_CORE_SLOT_IO_HANDLER_H_

#include <cstdint>
#include <string>

#include "sluice/core/base/intrusive_list.h"
#include "sluice/core/base/language.h"

namespace sluice {

// The lists of a worker that a handler may be on.
struct ReadyTag {};
struct FlushTag {};

class IoHandler : public ListNode<ReadyTag>, public ListNode<FlushTag> {
 public:
  virtual ~IoHandler() = default;

  // The poller's events for the descriptor, as epoll reports them.
  virtual void OnEvents(uint32_t events) = 0;
  // The handler's turn: the worker has taken it off the ready list. OnTurn does a bounded piece of
  // work, and puts the handler back (Descriptors::MarkReady) if there is more.
  virtual void OnTurn() = 0;
  // A deadline that Descriptors::JudgeAfterTurn() deferred until after this handler's turn.
  virtual void OnDeadline() {}
  // The callbacks of this slice have run, so their output may leave now (requested by
  // Descriptors::FlushAfterSlice).
  virtual void OnSliceEnd() = 0;
  // Another handler needs the worker's gather buffer: its contents go to the kernel or are kept
  // elsewhere. No other consequence may follow before OnSliceEnd.
  virtual void OnGatherTaken() {}
  // The actor is no longer parked.
  virtual void OnUnparked() = 0;
  // A question or a task of its actor is over (ActorExtra::io_awaits_asks).
  virtual void OnAnswered() {}
  // The actor has ended. None of its handlers runs any more, except OnEndedByFailure() of an actor
  // that failed (by an exception). May be called twice.
  virtual void OnActorEnded(bool failed) = 0;
  // Drain: read what was sent before it, until the peer has ended or is silent; then nothing more.
  virtual void OnDrain() = 0;
  // Drain: three quarters of its time are over; read nothing more, even if the peer goes on
  // sending.
  virtual void OnDrainEndReading() {}
  // Drain: all that had arrived is answered; say good-bye and close.
  virtual void OnDrainClose() = 0;
  // For the dump: bytes that are held for this handler, and its peer, if it has one.
  virtual int64_t HeldBytes() const { return 0; }
  virtual std::string PeerText() const { return ""; }
  // While memory is spent: bytes held for the side on which the peer has made no progress for
  // `stalled_ms`, from look to look. 0: the peer makes progress, or there are less than
  // `bytes_min`.
  virtual int64_t StalledBytes(int64_t now_ms, int64_t stalled_ms, int64_t bytes_min) {
    (void)now_ms, (void)stalled_ms, (void)bytes_min;
    return 0;
  }
  // Ends the handler, as memory is spent; it holds `bytes`. `named`: log it at level warning.
  virtual void Shed(int64_t bytes, bool named) { (void)bytes, (void)named; }
  // While memory is spent: is there input, from a peer that reads its output? Then one more small
  // read is worth a part of the reserve. False: the handler waits for memory.
  virtual bool MayReadFromReserve() { return false; }
  // The drain's deadline has passed: end now, and count what is lost.
  virtual void OnShutdown() = 0;
  // True: there is work that no event will announce any more, so the handler must be on a list.
  virtual bool HasWork() const { return false; }

  bool OnReadyList() const { return IntrusiveList<IoHandler, ReadyTag>::Linked(*this); }
  bool OnFlushList() const { return IntrusiveList<IoHandler, FlushTag>::Linked(*this); }
  bool WaitsForMemory() const { return memory_place_ != 0; }

 private:
  friend class Descriptors;
  friend class MemoryWatch;
  // Index among the handlers of its worker that wait for memory, from 1 on; 0: does not wait. (Four
  // bytes, where the links of a list take sixteen: an idle connection must be small.)
  uint32_t memory_place_ = 0;
  bool deadline_waits_ = false;
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_IO_HANDLER_H_
