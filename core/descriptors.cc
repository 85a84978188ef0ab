// A worker's descriptors: which there are, who is ready, and what they write at the end of a slice.
#include <algorithm>
#include <array>

#include "sluice/core/runtime.h"
#include "sluice/core/worker.h"

namespace sluice {

namespace {

constexpr uint64_t kWakeData = UINT64_MAX;
constexpr int kEventsMax = 256;
constexpr int kReadyTurnsMax = 4'096;  // Descriptors served between two polls.
constexpr int kFlushesMax = 64;        // Descriptors whose output leaves behind one handler.

}  // namespace

absl::Status Worker::Open() {
  poller_ = os_.PollerCreate();
  if (poller_ < 0) return absl::ErrnoToStatus(-poller_, "epoll_create1 for a worker");
  wake_fd_ = os_.WakeCreate();
  if (wake_fd_ < 0) return absl::ErrnoToStatus(-wake_fd_, "eventfd for a worker");
  const int added = os_.PollerAdd(poller_, wake_fd_, EPOLLIN | EPOLLET, kWakeData);
  if (added < 0) return absl::ErrnoToStatus(-added, "epoll_ctl for a worker's eventfd");
  return absl::OkStatus();
}

void Worker::AttachIo(Slot* slot, IoHandler* io) {
  SLUICE_CHECK(slot->io == nullptr);
  slot->io = io;
  ++io_count_;
}

void Worker::DetachIo(Slot* slot) {
  IoHandler* io = std::exchange(slot->io, nullptr);
  SLUICE_CHECK(io != nullptr);
  --io_count_;
  ready_count_ -= ready_.RemoveIfLinked(*io);
  flush_.RemoveIfLinked(*io);
  if (io->WaitsForMemory()) ForgetMemoryWaiter(io);
  graveyard_.emplace_back(io);
  if (slot->state == ActorState::kLingering) Schedule(slot);
}

// The last one takes its place.
void Worker::ForgetMemoryWaiter(IoHandler* io) {
  IoHandler* const last = memory_waiters_io_.back();
  memory_waiters_io_[io->memory_place_ - 1] = last;
  last->memory_place_ = io->memory_place_;
  io->memory_place_ = 0;
  memory_waiters_io_.pop_back();
}

// A handler that has written to a crowd must not hold the worker while all of that leaves: so many
// now, the last one to write first, and the others behind the next handler or in the next turn.
void Worker::RunFlushList() {
  for (int flushed = 0; flushed < kFlushesMax; ++flushed) {
    IoHandler* const io = flush_.PopFront();
    if (io == nullptr) return;
    io->OnSliceEnd();
  }
}

void Worker::FlushAfterSlice(IoHandler* io) {
  if (!io->OnFlushList()) flush_.PushFront(*io);
}

void Worker::MarkReady(IoHandler* io) {
  if (io->OnReadyList()) return;
  ready_.PushBack(*io);
  ++ready_count_;
}

// One portion of each after the other, until their share of the turn is over.
void Worker::RunTasks() {
  if (tasks_.Empty()) return;
  const int64_t stop_ns = now_ns_ + kTurnNs;
  while (TurnTask* const task = tasks_.PopFront()) {
    share_end_ns_ = now_ns_ + kIoTurnNs;
    task->OnTurn();
    while (!flush_.Empty() && now_ns_ < stop_ns) {
      RunFlushList();
      ReadClock();
    }
    if (!local_control_.Empty()) RunLocalControl();
    ReadClock();
    if (now_ns_ >= stop_ns) break;
  }
}

void Worker::RunReady() {
  // As many as stand there now; whoever comes back waits for the next turn.
  for (int turns = std::min(ready_count_, kReadyTurnsMax); turns > 0; --turns) {
    IoHandler* const io = ready_.PopFront();
    if (io == nullptr) break;
    --ready_count_;
    share_end_ns_ = now_ns_ + kIoTurnNs;
    io->OnTurn();
    if (!flush_.Empty()) RunFlushList();
    if (!local_control_.Empty()) RunLocalControl();
  }
}

void Worker::CheckLists() const {
  tasks_.CheckInvariants();
  ready_.CheckInvariants();
  flush_.CheckInvariants();
  for (size_t i = 0; i < memory_waiters_io_.size(); ++i) {
    SLUICE_CHECK(memory_waiters_io_[i]->memory_place_ == i + 1);
  }
  SLUICE_CHECK(static_cast<size_t>(ready_count_) == ready_.Size());
}

void Worker::Poll(int timeout_ms) {
  if (poller_ < 0) return;  // It could not be opened: the runtime says so, and never starts.
  std::array<epoll_event, kEventsMax> events;
  const int count = os_.PollerWait(poller_, events.data(), kEventsMax, timeout_ms);
  SLUICE_CHECK(count >= 0, "epoll_wait failed");
  if (timeout_ms != 0) ReadClock();
  if (rest_.Rests() && count > 0) PublishRest(false);
  for (int i = 0; i < count; ++i) {
    const uint64_t data = events[i].data.u64;
    if (data == kWakeData) {
      os_.WakeClear(wake_fd_);
      continue;
    }
    // The generation tells the events of a descriptor closed in this very batch from its
    // successor's.
    Slot* slot = runtime_.SlotAt(static_cast<uint32_t>(data));
    if (PollData(slot) == data && slot->io != nullptr) slot->io->OnEvents(events[i].events);
  }
}

void Worker::Bury() { graveyard_.clear(); }

}  // namespace sluice
