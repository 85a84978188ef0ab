// Descriptors are a worker's poller, the handlers that have something to do for their descriptors,
// and the buffers that these share.
//
//   poller ──events──► ready list ──OnTurn──► handler ──writes──► flush list ──OnSliceEnd──► kernel
//
// Owner:  the worker.
// Thread: the worker's.
// Bound:  each handler stands on a list once; RunReady() and RunFlushList() take their share of a
//         turn, and the rest keeps its order. One read buffer and one gather buffer for all.
// Errors: Open() answers why there is no poller; the runtime then never starts.
#ifndef SLUICE_CORE_WORKER_DESCRIPTORS_H_
#define SLUICE_CORE_WORKER_DESCRIPTORS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "sluice/core/base/check.h"
#include "sluice/core/base/intrusive_list.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/io_handler.h"
#include "sluice/core/slot/slot.h"
#include "sluice/core/worker/desk.h"

namespace sluice {

class Mail;

class Descriptors {
 public:
  static constexpr size_t kReadBytes = 32 * 1024;
  // The share of one handler's turn.
  static constexpr int64_t kHandlerNs = 100'000;

  Descriptors(Desk& desk, Mail& mail);
  ~Descriptors();
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;

  absl::Status Open();  // Makes the poller, and the eventfd of the mail, which it waits for.
  int Poller() const { return poller_; }
  // The number that the poller gives back with an event of the slot's descriptor.
  static uint64_t PollData(const Slot* slot) {
    return (uint64_t{slot->generation - slot->first_generation} << 32) | slot->id;
  }
  // Takes all events that the poller has, after waiting at most `timeout_ns` for the first (-1:
  // without limit). `before_events` is called before the first event is passed on.
  void Poll(int64_t timeout_ns, absl::FunctionRef<void()> before_events);

  void Attach(Slot* slot, IoHandler* io);
  // The handler leaves both lists, and is deleted by Bury(). Answers it.
  IoHandler* Detach(Slot* slot);
  // Deletes detached handlers. Requires: none of them is running.
  void Bury() { graveyard_.clear(); }
  int64_t Count() const { return count_; }

  // --- Handlers with something to do.

  // The handler has its turn in this turn of the worker, or in the next. Idempotent.
  void MarkReady(IoHandler* io) {
    if (io->OnReadyList()) return;
    ready_.PushBack(*io);
    ++ready_count_;
  }
  // The handler's OnSliceEnd() is called when the running slice of callbacks is over. Idempotent.
  void FlushAfterSlice(IoHandler* io) {
    if (!io->OnFlushList()) flush_.PushBack(*io);
  }
  // True: events for `io` have come and wait for its turn; OnDeadline() follows that turn. So a
  // deadline is judged after what had arrived.
  bool JudgeAfterTurn(IoHandler* io) {
    io->deadline_waits_ = io->OnReadyList();
    SLUICE_PLANT(judged_before_read, io->deadline_waits_ = false);
    return io->deadline_waits_;
  }
  bool HasReady() const { return !ready_.Empty(); }
  bool HasOutput() const { return !flush_.Empty(); }
  // Requires: the handler stands on the ready list.
  void TakeTurn(IoHandler* io);
  void RunReady();  // For at most one share of the turn.
  // Runs handlers in the order in which they wrote; the rest get the next share.
  void RunFlushList(int64_t share_ns);

  // --- Buffers.

  char* ReadBuffer() { return read_buffer_.get(); }  // kReadBytes.
  // Output of the running callback, not yet written: one buffer, one holder at a time.
  std::string& Gather() { return gather_; }
  void AcquireGather(IoHandler* holder) {
    if (gather_holder_ != nullptr) gather_holder_->OnGatherTaken();
    SLUICE_CHECK(gather_holder_ == nullptr && gather_.empty());
    gather_holder_ = holder;
  }
  void ReleaseGather() {
    gather_holder_ = nullptr;
    gather_.clear();
  }

  void CheckInvariants() const;

 private:
  Desk& desk_;
  Mail& mail_;
  int poller_ = -1;
  IntrusiveList<IoHandler, ReadyTag> ready_;
  int ready_count_ = 0;
  IntrusiveList<IoHandler, FlushTag> flush_;
  int64_t count_ = 0;  // Attached handlers.
  std::vector<std::unique_ptr<IoHandler>> graveyard_;
  std::string gather_;
  IoHandler* gather_holder_ = nullptr;
  const std::unique_ptr<char[]> read_buffer_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_DESCRIPTORS_H_
