// RestCounts is a worker's report to the coordinator of a drain: whether the worker rests, how much
// it has sent and taken, and that it makes progress. RestWatch is the coordinator's side: is
// anything still on its way?
//
// Owner:  RestCounts its worker; RestWatch the coordinator, which is no worker.
// Thread: as marked.
// Bound:  none needed: a few words for each worker.
// Errors: none. RestWatch never answers "at rest" too early; a worker that does not come to rest is
//         left to the coordinator's deadline.
//
// The four counters of Mattern (1987): two looks, one after the other, that both find every worker
// at rest and the same sum sent and taken. Proof: counts only grow, so equal sums mean that each
// worker's counts were equal in both looks, and each worker rested in both. A worker that took or
// sent anything in between would have had to rest again, and so to publish larger counts, before
// the second look came to it. So all those counts held at once, at the moment between the two
// looks, and at that moment all that was sent had been taken. One look is not enough: it comes to
// the workers one after the other, and a message passes behind its back
// (tests/model/rest_model_test.cc finds it). No look can exclude input from outside, a timer or a
// socket, as that comes at any time; so a worker may run its timers while it rests. A worker with
// parked messages, or with a hub that waits for a slow reader, does not rest.
#ifndef SLUICE_CORE_MAILBOX_REST_H_
#define SLUICE_CORE_MAILBOX_REST_H_

#include <cstdint>
#include <utility>

#include "sluice/core/base/atomics.h"

namespace sluice {

struct RestFigures {
  int64_t sent = 0;   // Envelopes to other workers, counted before they can be taken.
  int64_t taken = 0;  // From other workers, and from outside.
  int64_t io = 0;
  int64_t actors = 0;
};

template <class Atomics = StdAtomics>
class RestCounts {
 public:
  // The worker's. Rests: it has no work but timers, and found its lanes empty when it looked last;
  // before a sleep it looks after FallAsleep(). The worker publishes that it does not rest before
  // it takes anything again.
  void Publish(bool rests, const RestFigures& figures) {
    rests_ = rests;
    sent_.store(figures.sent, std::memory_order_relaxed);
    taken_.store(figures.taken, std::memory_order_relaxed);
    io_.store(figures.io, std::memory_order_relaxed);
    actors_.store(figures.actors, std::memory_order_relaxed);
    // Release: a coordinator that reads `resting` sees the counts that belong to it.
    resting_.store(rests, std::memory_order_release);
  }
  bool Rests() const { return rests_; }  // As published last.
  // In a drain: a turn, or one of the many actors that a turn ends. One writer, so a load and a
  // store.
  void CountStep() {
    steps_.store(steps_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  // The coordinator's, in this order.
  bool Resting() const { return resting_.load(std::memory_order_acquire); }
  int64_t Sent() const { return sent_.load(std::memory_order_relaxed); }
  int64_t Taken() const { return taken_.load(std::memory_order_relaxed); }
  int64_t Io() const { return io_.load(std::memory_order_relaxed); }
  int64_t Actors() const { return actors_.load(std::memory_order_relaxed); }
  int64_t Steps() const { return steps_.load(std::memory_order_relaxed); }

 private:
  bool rests_ = false;
  // The worker stores, the coordinator loads; ordered by resting_.
  typename Atomics::template Atomic<bool> resting_{false};
  typename Atomics::template Atomic<int64_t> sent_{0};
  typename Atomics::template Atomic<int64_t> taken_{0};
  typename Atomics::template Atomic<int64_t> io_{0};
  typename Atomics::template Atomic<int64_t> actors_{0};
  // The worker stores, the coordinator loads. Relaxed: the coordinator only looks for a change.
  typename Atomics::template Atomic<int64_t> steps_{0};
};

class RestWatch {
 public:
  void Forget() { last_sum_ = kNone; }  // The next look counts as the first.

  // Looks once. `outside` is the number of envelopes that outside threads sent, read before this
  // call; `counts_of` answers a worker's counts. True: this look and the one before it were alike.
  template <class Workers, class CountsOf>
  bool Look(int64_t outside, const Workers& workers, CountsOf counts_of) {
    int64_t sent = outside;
    int64_t taken = 0;
    bool rest = true;
    for (const auto& worker : workers) {
      const auto& counts = counts_of(worker);
      rest = counts.Resting();
      if (!rest) break;
      sent += counts.Sent();
      taken += counts.Taken();
    }
    if (!rest || sent != taken) {
      Forget();
      return false;
    }
    return std::exchange(last_sum_, sent) == sent;
  }

 private:
  static constexpr int64_t kNone = -1;
  int64_t last_sum_ = kNone;
};

}  // namespace sluice

#endif  // SLUICE_CORE_MAILBOX_REST_H_
