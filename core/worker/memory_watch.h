// MemoryWatch is what a worker does while the budget is spent: reading is paused, except for peers
// that read; and when memory stays spent, stalled connections are ended that the Shedder chooses.
//
// Owner:  the worker.
// Thread: the worker's.
// Bound:  a look asks kReadersPerLook handlers, and walks some slots; the next look goes on where
//         it ended. The lists of stalled connections hold at most 2 * ShedBoard's kConnectionsMax.
// Errors: none: what memory's end costs is counted (CloseReason::kMemory), and logged.
#ifndef SLUICE_CORE_WORKER_MEMORY_WATCH_H_
#define SLUICE_CORE_WORKER_MEMORY_WATCH_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "sluice/core/slot/io_handler.h"
#include "sluice/core/slot/slot.h"
#include "sluice/core/worker/desk.h"

namespace sluice {

class Descriptors;
class Parking;

// An actor and the memory that it holds.
struct MemoryHolder {
  struct Held {
    int messages = 0;
    int64_t bytes = 0;
  };
  Slot* slot = nullptr;
  Held queue;
  Held outbox;
  int64_t connection_bytes = 0;
  int64_t Bytes() const { return queue.bytes + outbox.bytes + connection_bytes; }
  std::string Text() const;  // For the log and the dump.
};

class MemoryWatch {
 public:
  // How often a worker looks while memory is spent.
  static constexpr int64_t kCheckMs = 5;

  MemoryWatch(Desk& desk, Descriptors& descriptors, Parking& parking)
      : desk_(desk), descriptors_(descriptors), parking_(parking) {}

  // --- What handlers of descriptors use.

  // True while the budget is spent: only connections that may use the reserve read. The others
  // return to the ready list when memory is free, or when they may use the reserve.
  bool ReadingPaused() const { return reading_paused_; }
  void PauseReading() { reading_paused_ = true; }
  // The reserve is the worker's overdraft, a part of the fixed memory. True: the reserve has
  // `bytes` to spare. A quarter of the reserve is kept for messages that handlers send.
  bool ReserveHas(int64_t bytes) const {
    return desk_.lease.OverdraftLeftBytes() - bytes >= Lease::kOverdraftBytesMax / 4;
  }
  void WaitForMemory(IoHandler* io);
  void Withdraw(IoHandler* io);  // Does nothing for a handler that does not wait.

  // --- What the worker's turn uses.

  // True: something waits for memory, and Check() is due every kCheckMs.
  bool Active() const;
  void Check();

  // The actors that hold most, the heaviest first.
  std::vector<MemoryHolder> TopHolders(size_t count);

  void CheckInvariants() const;

 private:
  struct Stalled {
    Slot* slot = nullptr;
    uint32_t generation = 0;
    int64_t bytes = 0;
  };
  void LookForReaders();
  void ResumeReading();
  void LookForShedding();
  void LookAtConnections();
  void ChooseWhomToShed();
  void ShedSome();
  void LogHolders(int64_t spent_ms);

  Desk& desk_;
  Descriptors& descriptors_;
  Parking& parking_;
  bool reading_paused_ = false;
  std::vector<IoHandler*> waiters_;  // Each IoHandler knows its place here.
  size_t reserve_look_ = 0;          // LookForReaders goes on here in waiters_.
  int64_t next_check_ms_ = 0;
  int64_t next_proposal_ms_ = 0;
  uint32_t look_chunk_ = 0;  // LookAtConnections goes on here; 0: from the start.
  Stalled heaviest_;         // The heaviest connection found, with its bytes at that time.
  // The heaviest stalled connections of the last complete round, and of the current round.
  std::vector<Stalled> stalled_;
  std::vector<Stalled> stalled_so_far_;
  std::vector<Stalled> to_shed_;  // To end in this worker's turn at shedding, the heaviest last...
  int shed_left_ = 0;             // ...and how many of them may be ended.
  int64_t next_holders_log_ms_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_MEMORY_WATCH_H_
