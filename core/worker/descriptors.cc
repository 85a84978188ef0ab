#include "sluice/core/worker/descriptors.h"

#include <algorithm>
#include <array>

#include "sluice/core/worker/mail.h"

namespace sluice {

namespace {

constexpr uint64_t kWakeData = UINT64_MAX;
constexpr int kEventsMax = 256;
// Handlers that run between two looks at the clock, if they run no handler of an actor.
constexpr int kLookEvery = 16;

}  // namespace

Descriptors::Descriptors(Desk& desk, Mail& mail)
    : desk_(desk), mail_(mail), read_buffer_(new char[kReadBytes]) {}

Descriptors::~Descriptors() {
  if (poller_ >= 0) desk_.os.Close(poller_);
}

absl::Status Descriptors::Open() {
  poller_ = desk_.os.PollerCreate();
  if (poller_ < 0) return absl::ErrnoToStatus(-poller_, "epoll_create1 for a worker");
  const absl::Status opened = mail_.Open();
  if (!opened.ok()) return opened;
  const int added = desk_.os.PollerAdd(poller_, mail_.WakeFd(), EPOLLIN | EPOLLET, kWakeData);
  if (added < 0) return absl::ErrnoToStatus(-added, "epoll_ctl for a worker's eventfd");
  return absl::OkStatus();
}

// A batch has kEventsMax events, and reports each ready descriptor once: so these batches report
// all descriptors that were ready when the first batch was taken.
void Descriptors::Poll(int64_t timeout_ns, absl::FunctionRef<void()> before_events) {
  // The poller could not be created: the runtime reports this, and never starts.
  if (poller_ < 0) return;
  std::array<epoll_event, kEventsMax> events;
  desk_.clock.TimeNextAlone();
  for (int64_t batches = count_ / kEventsMax + 2; batches > 0; --batches) {
    const int count = desk_.os.PollerWaitNs(poller_, events.data(), kEventsMax, timeout_ns);
    SLUICE_CHECK(count >= 0, "epoll_wait failed");
    if (count > 0) before_events();
    for (int i = 0; i < count; ++i) {
      const uint64_t data = events[i].data.u64;
      if (data == kWakeData) {
        desk_.os.WakeClear(mail_.WakeFd());
        continue;
      }
      // The generation tells events of a closed descriptor from those of its successor.
      Slot* slot = desk_.shared.slots.At(static_cast<uint32_t>(data));
      if (PollData(slot) == data && slot->io != nullptr) {
        slot->io->OnEvents(events[i].events);
      }
    }
    if (count < kEventsMax) break;
    timeout_ns = 0;
  }
}

void Descriptors::Attach(Slot* slot, IoHandler* io) {
  SLUICE_CHECK_ON_WORKER(desk_);
  SLUICE_CHECK(slot->io == nullptr);
  slot->io = io;
  ++count_;
}

IoHandler* Descriptors::Detach(Slot* slot) {
  SLUICE_CHECK_ON_WORKER(desk_);
  IoHandler* const io = std::exchange(slot->io, nullptr);
  SLUICE_CHECK(io != nullptr);
  --count_;
  ready_count_ -= ready_.RemoveIfLinked(*io);
  flush_.RemoveIfLinked(*io);
  io->deadline_waits_ = false;
  graveyard_.emplace_back(io);
  return io;
}

void Descriptors::RunFlushList(int64_t share_ns) {
  const int64_t stop_ns = desk_.NowNs() + share_ns;
  while (IoHandler* const io = flush_.PopFront()) {
    io->OnSliceEnd();
    if (flush_.Empty()) return;
    desk_.NoteHandler(nullptr, "writing what was queued", nullptr);
    if (desk_.NowNs() >= stop_ns) break;
  }
  // The gather buffer is for the next handler that writes.
  if (gather_holder_ != nullptr) gather_holder_->OnGatherTaken();
}

// Takes the handler off the list first: a handler on the list has its turn still to come.
void Descriptors::TakeTurn(IoHandler* io) {
  ready_.Remove(*io);
  --ready_count_;
  desk_.clock.BeginShare(kHandlerNs);
  io->OnTurn();
  if (std::exchange(io->deadline_waits_, false)) io->OnDeadline();
}

void Descriptors::RunReady() {
  // At most as many turns as there are ready handlers now, while their share lasts. A handler that
  // becomes ready again goes behind the others.
  int64_t stop_ns = desk_.NowNs() + Desk::kTurnNs;
  SLUICE_PLANT(turn_unshared, stop_ns = TimerWheel::kNever);
  for (int turns = ready_count_; turns > 0; --turns) {
    IoHandler* const io = ready_.Front();
    if (io == nullptr) break;
    TakeTurn(io);
    if (!flush_.Empty()) RunFlushList(kHandlerNs);
    mail_.RunLocalControl();
    if (turns % kLookEvery == 0) desk_.ReadClock();
    if (desk_.NowNs() >= stop_ns) break;
  }
}

void Descriptors::CheckInvariants() const {
  ready_.CheckInvariants();
  flush_.CheckInvariants();
  SLUICE_CHECK(static_cast<size_t>(ready_count_) == ready_.Size());
}

}  // namespace sluice
