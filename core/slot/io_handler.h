// IoHandler is what a worker knows of a descriptor: something that stands in a slot, hears of
// readiness, and takes its turn on the ready list. Acceptors and connections are its kinds.
//
// Owner:  the slot of the actor it belongs to; it outlives the actor until it is done, and keeps
//         the slot.
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

// The lists of a worker that one may stand on.
struct ReadyTag {};
struct FlushTag {};

class IoHandler : public ListNode<ReadyTag>, public ListNode<FlushTag> {
 public:
  virtual ~IoHandler() = default;

  // The poller's events for the descriptor, as epoll reports them.
  virtual void OnEvents(uint32_t events) = 0;
  // Its turn: it stood on the ready list and has been taken off it. Does a bounded piece of work,
  // and puts itself back (Worker::MarkReady) if there is more.
  virtual void OnTurn() = 0;
  // A deadline of its own that Worker::JudgeAfterTurn() put off: it has had its turn.
  virtual void OnDeadline() {}
  // What was written in the callbacks of this slice may leave now (asked for by
  // Worker::FlushAfterSlice).
  virtual void OnSliceEnd() = 0;
  // Another handler needs the worker's gather buffer: what is in it goes to the kernel or is kept
  // elsewhere. No other consequence may follow before OnSliceEnd.
  virtual void OnGatherTaken() {}
  // The actor is no longer parked.
  virtual void OnUnparked() = 0;
  // The actor has ended; no handler of it will run, but for a last word of one that failed (by an
  // exception). It may be told twice.
  virtual void OnActorEnded(bool failed) = 0;
  // Drain: take what was sent before it, until the peer has ended or is silent; then nothing more.
  virtual void OnDrain() = 0;
  // Drain: three quarters of its time are over; take nothing more, though the peer goes on sending.
  virtual void OnDrainEndReading() {}
  // Drain: all that had arrived is answered; say good-bye and close.
  virtual void OnDrainClose() = 0;
  // For the dump: bytes that are kept for it, and whom it speaks with, where it does.
  virtual int64_t HeldBytes() const { return 0; }
  virtual std::string PeerText() const { return ""; }
  // While memory is spent: the bytes that are held for it on a side on which its peer has made no
  // progress for `stalled_ms`, from look to look; 0: the peer makes progress, or it is less than
  // `bytes_min`.
  virtual int64_t StalledBytes(int64_t now_ms, int64_t stalled_ms, int64_t bytes_min) {
    (void)now_ms, (void)stalled_ms, (void)bytes_min;
    return 0;
  }
  // It is ended for that; it held so many. `named`: the log names it, at level warning.
  virtual void Shed(int64_t bytes, bool named) { (void)bytes, (void)named; }
  // While memory is spent: has it something to read, from a peer that reads what it is sent, so
  // that the little that one more read takes is worth a part of the reserve? It waits for memory
  // else.
  virtual bool MayReadFromReserve() { return false; }
  // The drain's deadline: end now, and count what is lost.
  virtual void OnShutdown() = 0;
  // There is something to do that no event will tell of any more: it must stand on a list.
  virtual bool HasWork() const { return false; }

  bool OnReadyList() const { return IntrusiveList<IoHandler, ReadyTag>::Linked(*this); }
  bool OnFlushList() const { return IntrusiveList<IoHandler, FlushTag>::Linked(*this); }
  bool WaitsForMemory() const { return memory_place_ != 0; }

 private:
  friend class Worker;
  // Among those of its worker that wait for memory, from 1 on; 0: it does not. (Four bytes, where
  // the links of a list are sixteen: an idle connection is to take little.)
  uint32_t memory_place_ = 0;
  bool deadline_waits_ = false;
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_IO_HANDLER_H_
