// Inbox carries messages from other threads to a worker: one moodycamel queue, with one lane
// (producer token) for each sending worker and one, behind a lock, for outside threads.
//
// Owner:  the receiving worker.
// Thread: a lane's sending half belongs to one sender; Drain() to the owner.
// Bound:  user messages of a lane by its gate; control and reserved messages by their reservations.
// Errors: none: enqueue allocates only up to the highest fill of a lane, which is bounded.
//
// Everything from one sender to one receiver keeps its order, control included: a Wait follows the
// messages before it, and a Down follows the last message of the ended actor.
#ifndef SLUICE_CORE_MAILBOX_INBOX_H_
#define SLUICE_CORE_MAILBOX_INBOX_H_

#include <cstdint>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "concurrentqueue.h"
#include "sluice/core/base/tsan.h"
#include "sluice/core/mailbox/envelope.h"
#include "sluice/core/mailbox/lane_gate.h"

namespace sluice {

class InboxLane {
 public:
  template <class Queue>
  InboxLane(Queue& queue, uint64_t messages_max) : gate(messages_max), token_(queue) {}
  LaneGate<> gate;  // Counts user messages only.

 private:
  friend class Inbox;
  moodycamel::ProducerToken token_;
  char emptied_ = 0;  // An address for ThreadSanitizer.
};

class Inbox {
  struct Traits : moodycamel::ConcurrentQueueDefaultTraits {
    static const size_t BLOCK_SIZE = 32;  // 4 KiB of envelopes.
  };
  using Queue = moodycamel::ConcurrentQueue<Envelope, Traits>;

 public:
  using Lane = InboxLane;

  Inbox(int lanes, uint64_t lane_messages_max) : queue_(0) {
    for (int i = 0; i < lanes; ++i)
      lanes_.push_back(std::make_unique<Lane>(queue_, lane_messages_max));
  }

  Lane& LaneFrom(int sender) { return *lanes_[static_cast<size_t>(sender)]; }
  int LaneCount() const { return static_cast<int>(lanes_.size()); }

  // Sender's. Requires: user messages among them were counted by the gate.
  void Enqueue(Lane& lane, Envelope* envelopes, size_t count) {
    // ThreadSanitizer does not see the fences by which moodycamel orders an item on its way to the
    // owner, and an emptied block on its way back to the sender. These calls stand in for both.
    TsanAcquire(&lane.emptied_);
    TsanRelease(&lane);
    const bool enqueued =
        queue_.enqueue_bulk(lane.token_, std::make_move_iterator(envelopes), count);
    SLUICE_CHECK(enqueued, "out of memory for a lane");
  }

  // Envelopes in all lanes. Exact while no thread sends or drains. For the owner: 0 only if Drain()
  // would find nothing in any lane now, either.
  size_t Count() const { return queue_.size_approx(); }

  // Owner's: up to `most` envelopes of one lane, in the order they were sent, into the pool's.
  size_t Drain(Lane& lane, EnvelopePool& pool, EnvelopeList& out, size_t most) {
    return queue_.try_dequeue_bulk_from_producer(lane.token_, Keeper{lane, pool, out}, most);
  }

 private:
  // Output iterator for the queue: moves each item straight from its block into a pooled envelope.
  struct Keeper {
    Lane& lane;
    EnvelopePool& pool;
    EnvelopeList& out;
    Keeper& operator*() { return *this; }
    Keeper& operator++() { return *this; }
    Keeper operator++(int) { return *this; }
    void operator=(Envelope&& envelope) noexcept {
      TsanAcquire(&lane);
      Envelope* kept = pool.Get();
      *kept = std::move(envelope);
      // After each item, as the queue gives its block back after the last one.
      TsanRelease(&lane.emptied_);
      out.Push(kept);
    }
  };

  Queue queue_;
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_MAILBOX_INBOX_H_
