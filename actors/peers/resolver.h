// Resolver looks up the names that a runtime's pipes connect to. One actor serves all workers, so
// that many connections to one name share one look-up.
//
//   Ask(Resolver::Of(runtime()), LookUp{target, worker().DeadlineMs(timeout), slot(),
//   generation()},
//       absl::InfiniteDuration(), [this](absl::StatusOr<std::vector<Address>> addresses) { ... });
//
// Answers are not kept: a question that comes after an answer has the name looked up again. A
// question that comes during a look-up shares it by these rules:
//   1. A good answer goes to all that wait for the name: it was given after their questions.
//   2. An error counts for a waiter only if all its own look-ups (those that began after its
//      question) are over. If none has begun yet, the name is looked up once more.
//   3. If each look-up under way is older than kYoung (its packet may be lost), a new question
//      begins another one. A look-up that hangs thus holds up no newcomer, as long as others are
//      answered.
//
// Owner:  the runtime; spawned when first asked for. A name owns the promises of its waiters.
// Thread: its worker's; Of() any. The look-ups run on threads of the blocking pool.
// Bound:  the pool gets blocking_threads_max look-ups at a time, and of one name one less (at least
//         one): while that many hang, new questions for the name wait. If none is answered, a name
//         begins at most one look-up each kYoung. Waiters of a name: at most twice those with a
//         live asker, or 64. Names: those that have a waiter or a look-up.
// Errors: of a look-up, Target::LookUp's. A waiter is dropped when its asker has ended or its
//         deadline has passed. A look-up without waiters is never begun, and counted.
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
  int64_t deadline_ms;  // The asker needs no answer after it; TimerWheel::kNever: no deadline.
  Slot* asker;          // Needs no answer once it has ended.
  uint32_t asker_generation;
  int64_t HeldBytes() const { return sluice::HeldBytes(target.host()); }
};

// Totals of the questions of a runtime.
struct LookUpTotals {
  int64_t asked = 0;
  int64_t run = 0;      // Look-ups begun.
  int64_t dropped = 0;  // Look-ups without waiters, never begun.
};

class Resolver : public Actor {
 public:
  static constexpr absl::Duration kYoung = absl::Seconds(1);

  // The resolver of this runtime. A dead Ref: actors_max actors live, or the runtime ends.
  static Ref<Resolver> Of(Runtime& runtime);
  static LookUpTotals TotalsOf(Runtime& runtime);  // Any thread; a moment old.

  void On(LookUp question, Promise<std::vector<Address>> promise);

 private:
  struct Waiter {
    Promise<std::vector<Address>> promise;
    int64_t deadline_ms;
    Slot* asker;
    uint32_t asker_generation;
    uint64_t first;  // Number of the first look-up that begins after its question.
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
    uint64_t begun = 0;               // Look-ups begun so far.
    bool queued = false;              // Another look-up is to begin.
    size_t prune_from = 64;           // Number of waiters at which Prune() runs next.
  };

  bool NeedsAnother(const Name& name) const;  // For a waiter that has had no look-up of its own.
  void Queue(const std::string& key, Name& name);
  void Begin();
  void Finished(const std::string& key, uint64_t number,
                absl::StatusOr<std::vector<Address>> addresses);
  void Prune(Name& name);
  void Forget(const std::string& key);  // Unless it has a waiter or a look-up.

  absl::flat_hash_map<std::string, Name> names_;  // Never walked.
  std::deque<std::string> queue_;
  int running_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_PEERS_RESOLVER_H_
