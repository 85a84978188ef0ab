// OwnedConnections lists the open connections of one acceptor, on each worker in the order in which
// they were last active. The connection that has been silent longest is found without a search.
//
// Owner:  shared by the acceptor and its connections.
// Thread: each part belongs to its worker. OldestMs(): any; its answer is a moment old.
// Bound:  64 bytes for each worker; the links live in the connections. The order is exact to 16 ms:
//         a connection moves at most once in that time, so that a read costs almost nothing.
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
  static constexpr int kOrderShift = 4;  // The order counts in units of 2^4 ms.
  static constexpr int64_t kNobodyMs = std::numeric_limits<int64_t>::max();

  // `told` runs on the acceptor's worker, once for each end, while the acceptor lives.
  using EndTold = void (*)(const Slot* acceptor, int worker);
  OwnedConnections(Slot* acceptor, uint32_t acceptor_generation, int workers, EndTold told)
      : slot(acceptor),
        generation(acceptor_generation),
        end_told_(told),
        parts_(static_cast<size_t>(workers)) {}

  // Called on the connection's worker.
  void Opened(Connection& connection);
  void WasActive(Connection& connection);  // For the first time in this unit of 16 ms.
  void IsClosing(Connection& connection);
  void Ended(Connection& connection);
  // The connection that has been silent longest; a closing one only if none is open. nullptr: none.
  Connection* Oldest(int worker) const;

  // Notifies the acceptor that a connection on `worker` has ended, or was refused there before it
  // was established: its place is free.
  void TellEnd(Worker& worker) const;

  // When the oldest open connection was last active; later than any time if all are closing, or
  // there is none.
  int64_t OldestMs(int worker) const {
    return parts_[static_cast<size_t>(worker)].oldest_ms.load(std::memory_order_relaxed);
  }

  // The acceptor: each connection posts its end to it.
  Slot* const slot;
  const uint32_t generation;

 private:
  using List = IntrusiveList<Connection, OwnedTag>;  // The longest silent first.
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

// nullptr: no acceptor has accepted the connection.
using ConnectionOwner = std::shared_ptr<OwnedConnections>;

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_OWNED_CONNECTIONS_H_
