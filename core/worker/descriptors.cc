// A worker's descriptors: the list of them, the ready list, and the output at the end of a slice.
#include <algorithm>
#include <array>

#include "sluice/core/base/plant.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

constexpr uint64_t kWakeData = UINT64_MAX;
constexpr int kEventsMax = 256;

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
  io->deadline_waits_ = false;
  graveyard_.emplace_back(io);
  if (slot->state == ActorState::kLingering) Schedule(slot);
}

// The last waiter moves to the place that becomes free.
void Worker::ForgetMemoryWaiter(IoHandler* io) {
  IoHandler* const last = memory_waiters_io_.back();
  memory_waiters_io_[io->memory_place_ - 1] = last;
  last->memory_place_ = io->memory_place_;
  io->memory_place_ = 0;
  memory_waiters_io_.pop_back();
}

// Runs handlers in the order in which they wrote, for `share_ns`; the rest get the next share.
void Worker::RunFlushList(int64_t share_ns) {
  const int64_t stop_ns = NowNs() + share_ns;
  while (IoHandler* const io = flush_.PopFront()) {
    io->OnSliceEnd();
    if (flush_.Empty()) return;
    NoteHandler(nullptr, "writing what was queued", nullptr);
    if (NowNs() >= stop_ns) break;
  }
  // The gather buffer is for the next handler that writes.
  if (gather_holder_ != nullptr) gather_holder_->OnGatherTaken();
}

void Worker::FlushAfterSlice(IoHandler* io) {
  if (!io->OnFlushList()) flush_.PushBack(*io);
}

void Worker::MarkReady(IoHandler* io) {
  if (io->OnReadyList()) return;
  ready_.PushBack(*io);
  ++ready_count_;
}

// Runs one portion of each task in turn, until the tasks' share of the turn ends.
void Worker::RunTasks() {
  if (tasks_.Empty()) return;
  const int64_t stop_ns = NowNs() + kTurnNs;
  while (TurnTask* const task = tasks_.PopFront()) {
    clock_.BeginShare(kIoTurnNs);
    task->OnTurn();
    if (!flush_.Empty()) RunFlushList(kTurnNs);
    if (!local_control_.Empty()) RunLocalControl();
    ReadClock();
    if (NowNs() >= stop_ns) break;
  }
}

// Takes the handler off the list first: a handler on the list has its turn still to come.
void Worker::TakeTurn(IoHandler* io) {
  ready_.Remove(*io);
  --ready_count_;
  BeginShare(kIoTurnNs);
  io->OnTurn();
  if (std::exchange(io->deadline_waits_, false)) io->OnDeadline();
}

void Worker::RunReady() {
  // At most as many turns as there are ready handlers now, while their share lasts. A handler that
  // becomes ready again goes behind the others.
  const int64_t stop_ns = NowNs() + kTurnNs;
  for (int turns = ready_count_; turns > 0; --turns) {
    IoHandler* const io = ready_.Front();
    if (io == nullptr) break;
    TakeTurn(io);
    if (!flush_.Empty()) RunFlushList(kIoTurnNs);
    if (!local_control_.Empty()) RunLocalControl();
    if (turns % kLookEvery == 0) ReadClock();
    if (NowNs() >= stop_ns && !Planted(Plant::kTurnUnshared)) break;
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

// Takes all events that the poller has. A batch has kEventsMax events, and reports each ready
// descriptor once: so these batches report all descriptors that were ready when the first batch was
// taken.
void Worker::Poll(int64_t timeout_ns) {
  // The poller could not be created: the runtime reports this, and never starts.
  if (poller_ < 0) return;
  std::array<epoll_event, kEventsMax> events;
  clock_.TimeNextAlone();
  for (int64_t batches = io_count_ / kEventsMax + 2; batches > 0; --batches) {
    const int count = os_.PollerWaitNs(poller_, events.data(), kEventsMax, timeout_ns);
    SLUICE_CHECK(count >= 0, "epoll_wait failed");
    if (rest_.Rests() && count > 0) PublishRest(false);
    for (int i = 0; i < count; ++i) {
      const uint64_t data = events[i].data.u64;
      if (data == kWakeData) {
        os_.WakeClear(wake_fd_);
        continue;
      }
      // The generation tells events of a closed descriptor from those of its successor.
      Slot* slot = shared_.slots.At(static_cast<uint32_t>(data));
      if (PollData(slot) == data && slot->io != nullptr) {
        slot->io->OnEvents(events[i].events);
      }
    }
    if (count < kEventsMax) break;
    timeout_ns = 0;
  }
}

void Worker::Bury() { graveyard_.clear(); }

}  // namespace sluice
