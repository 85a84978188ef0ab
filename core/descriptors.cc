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
  io->prev_ = nullptr;
  io->next_ = std::exchange(io_all_, io);
  if (io->next_ != nullptr) io->next_->prev_ = io;
  ++io_count_;
}

void Worker::DetachIo(Slot* slot) {
  IoHandler* io = std::exchange(slot->io, nullptr);
  SLUICE_CHECK(io != nullptr);
  if (io->prev_ != nullptr) {
    io->prev_->next_ = io->next_;
  } else {
    io_all_ = io->next_;
  }
  if (io->next_ != nullptr) io->next_->prev_ = io->prev_;
  --io_count_;
  // The lists that it may still stand on: the ready list and the flush list are short walks, and
  // rare here.
  if (io->on_ready_list_) {
    IoHandler* before = nullptr;
    for (IoHandler* i = ready_first_; i != io; i = i->ready_next_) before = i;
    (before == nullptr ? ready_first_ : before->ready_next_) = io->ready_next_;
    if (ready_last_ == io) ready_last_ = before;
    io->on_ready_list_ = false;
    --ready_count_;
  }
  if (io->on_flush_list_) {
    IoHandler** link = &flush_first_;
    while (*link != io) link = &(*link)->flush_next_;
    *link = io->flush_next_;
    io->on_flush_list_ = false;
  }
  if (io->waits_for_memory_) std::erase(memory_waiters_io_, io);
  graveyard_.emplace_back(io);
  if (slot->state == ActorState::kLingering) Schedule(slot);
}

void Worker::RunFlushList() {
  while (flush_first_ != nullptr) {
    IoHandler* io = flush_first_;
    flush_first_ = io->flush_next_;
    io->flush_next_ = nullptr;
    io->on_flush_list_ = false;
    io->OnSliceEnd();
  }
}

void Worker::FlushAfterSlice(IoHandler* io) {
  if (io->on_flush_list_) return;
  io->on_flush_list_ = true;
  io->flush_next_ = std::exchange(flush_first_, io);
}

void Worker::MarkReady(IoHandler* io) {
  if (io->on_ready_list_) return;
  io->on_ready_list_ = true;
  io->ready_next_ = nullptr;
  if (ready_last_ == nullptr) {
    ready_first_ = io;
  } else {
    ready_last_->ready_next_ = io;
  }
  ready_last_ = io;
  ++ready_count_;
}

void Worker::RunReady() {
  // As many as stand there now; whoever comes back waits for the next turn.
  for (int turns = std::min(ready_count_, kReadyTurnsMax); ready_first_ != nullptr && turns > 0;
       --turns) {
    IoHandler* io = ready_first_;
    ready_first_ = io->ready_next_;
    if (ready_first_ == nullptr) ready_last_ = nullptr;
    io->ready_next_ = nullptr;
    io->on_ready_list_ = false;
    --ready_count_;
    share_end_ns_ = now_ns_ + kIoTurnNs;
    io->OnTurn();
    if (flush_first_ != nullptr) RunFlushList();
    if (!local_control_.Empty()) RunLocalControl();
  }
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
    if (slot->generation == data >> 32 && slot->io != nullptr) slot->io->OnEvents(events[i].events);
  }
}

void Worker::Bury() { graveyard_.clear(); }

}  // namespace sluice
