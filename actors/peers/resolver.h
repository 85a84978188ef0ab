// Resolver looks up the names that a runtime's pipes connect to: one actor for all workers, so that
// many connections to one name share one look-up.
//
//   Ask(Resolver::Of(runtime()), LookUp{target, worker().DeadlineMs(timeout), slot(),
//   generation()},
//       absl::InfiniteDuration(), [this](absl::StatusOr<std::vector<Address>> addresses) { ... });
//
// Nothing is kept behind an answer: who asks later has the name looked up anew. Who comes while it
// is looked up shares that answer, if it is good: it was given after the question. An error of a
// look-up that had begun before does not count for it, so the name is looked up once more. And
// where each look-up that is under way is older than kYoung (its packet may be lost), a newcomer
// begins another one. So look-ups that hang tie no newcomer to them, as long as others are
// answered: a good answer is for all who wait for the name, an error for those whose own look-ups
// (that began behind their question) are over.
//
// Owner:  the runtime: spawned when first asked for. A waiter's promise: the name it waits for.
// Thread: its worker's; Of() any. The look-ups run on threads of the blocking pool.
// Bound:  blocking_threads_max look-ups are handed to the pool, all but one of its threads for one
//         name (at least one): while that many hang, its newcomers wait. Where none is answered, a
//         name begins at most one each kYoung. Names and waiters: those whose askers live, twice at
//         most.
// Errors: of a look-up, Target::LookUp's. A waiter whose asker has ended, or whose deadline is
//         over, is forgotten; a look-up that nobody waits for any more is never begun, and counted.
#ifndef SLUICE_ACTORS_PEERS_RESOLVER_H_
#define SLUICE_ACTORS_PEERS_RESOLVER_H_

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/promise.h"
#include "sluice/core/memory/held_bytes.h"
#include "sluice/core/os/address.h"
#include "sluice/core/os/target.h"
#include "sluice/core/runtime/runtime.h"

namespace sluice {

// A question to a Resolver: the addresses of a name, the best first.
struct LookUp {
  using Reply = std::vector<Address>;
  Target target;
  int64_t deadline_ms;  // Behind it nobody waits for the answer; TimerWheel::kNever: no such time.
  Slot* asker;          // Nor where this one has ended.
  uint32_t asker_generation;
  int64_t HeldBytes() const { return sluice::HeldBytes(target.host()); }
};

// What became of the questions of a runtime.
struct LookUpTotals {
  int64_t asked = 0;
  int64_t run = 0;      // Look-ups.
  int64_t dropped = 0;  // Those that nobody waited for any more.
};

class Resolver : public Actor {
 public:
  static constexpr absl::Duration kYoung = absl::Seconds(1);

  // Of this runtime. A dead Ref: actors_max, or the runtime ends.
  static Ref<Resolver> Of(Runtime& runtime);
  static LookUpTotals TotalsOf(Runtime& runtime);  // Any thread; a moment old.

  void On(LookUp question, Promise<std::vector<Address>> promise);

 private:
  struct Waiter {
    Promise<std::vector<Address>> promise;
    int64_t deadline_ms;
    Slot* asker;
    uint32_t asker_generation;
    uint64_t first;  // The first look-up that begins behind its question.
  };
  struct UnderWay {
    uint64_t number;  // A name counts its look-ups from 1 on.
    int64_t begun_ms;
  };
  struct Name {
    explicit Name(const Target& of) : target(of) {}
    Target target;
    std::vector<Waiter> waiters;      // In the order of their questions.
    std::vector<UnderWay> under_way;  // The youngest is the last.
    uint64_t begun = 0;               // Look-ups.
    bool queued = false;              // Another one is to begin.
    size_t prune_from = 64;           // Waiters, for the next look at who has gone.
  };

  bool NeedsAnother(const Name& name) const;  // For a waiter that has had no look-up of its own.
  void Queue(const std::string& key, Name& name);
  void Begin();
  void Finished(const std::string& key, uint64_t number,
                absl::StatusOr<std::vector<Address>> addresses);
  void Prune(Name& name);
  void Forget(const std::string& key);  // Unless it is waited for, or looked up.

  absl::flat_hash_map<std::string, Name> names_;  // Never walked.
  std::deque<std::string> queue_;
  int running_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_PEERS_RESOLVER_H_
