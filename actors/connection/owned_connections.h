// OwnedConnections are the open connections of one acceptor, on each worker in the order in which
// they were last active: so the one that has been silent longest is found without a search.
//
// Owner:  shared by the acceptor and its connections.
// Thread: a worker's part is that worker's; OldestMs() may be asked by any, and is a moment old.
// Bound:  no memory of its own beyond 64 bytes a worker; the links are the connections'. The
//         order is exact to 16 ms: a connection moves at most once in each, so that a read costs
//         almost nothing.
#ifndef SLUICE_ACTORS_CONNECTION_OWNED_CONNECTIONS_H_
#define SLUICE_ACTORS_CONNECTION_OWNED_CONNECTIONS_H_

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "sluice/core/base/intrusive_list.h"
#include "sluice/core/slot/slot.h"

namespace sluice {

class Connection;
struct OwnedTag {};

class OwnedConnections {
 public:
  static constexpr int kOrderShift = 4;  // From ms to what the order sees.
  static constexpr int64_t kNobodyMs = std::numeric_limits<int64_t>::max();

  // `told` runs on the acceptor's worker, once for each end, while the acceptor lives.
  using EndTold = void (*)(ActorBase& acceptor, int worker);
  OwnedConnections(Slot* acceptor, uint32_t acceptor_generation, int workers, EndTold told)
      : slot(acceptor),
        generation(acceptor_generation),
        end_told_(told),
        parts_(static_cast<size_t>(workers)) {}

  // On the connection's worker.
  void Opened(Connection& connection);
  void WasActive(Connection& connection);  // For the first time in these 16 ms.
  void IsClosing(Connection& connection);
  void Ended(Connection& connection);
  // The longest silent one there; one that sends its last bytes only if there is no other. nullptr:
  // none.
  Connection* Oldest(int worker) const;

  // A connection of `worker`, or one that never stood, has given back its place: the acceptor is
  // told.
  void TellEnd(Worker& worker) const;

  // When the oldest there was last active; later than any time where all are closing, or none is
  // there.
  int64_t OldestMs(int worker) const {
    return parts_[static_cast<size_t>(worker)].oldest_ms.load(std::memory_order_relaxed);
  }

  // The acceptor, which is told of each end.
  Slot* const slot;
  const uint32_t generation;

 private:
  using List = IntrusiveList<Connection, OwnedTag>;  // The longest silent one first.
  struct alignas(64) Part {
    List open;
    List closing;
    // The worker writes, the acceptor reads. Relaxed: a hint; the worker looks again.
    std::atomic<int64_t> oldest_ms{kNobodyMs};
  };
  Part& PartOf(const Connection& connection);
  static List& ListOf(Part& part, const Connection& connection);
  static void Publish(Part& part);

  const EndTold end_told_;
  std::vector<Part> parts_;  // By worker.
};

// Empty: a connection that no acceptor took.
using ConnectionOwner = std::shared_ptr<OwnedConnections>;

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_OWNED_CONNECTIONS_H_
