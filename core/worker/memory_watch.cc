#include "sluice/core/worker/memory_watch.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/slot/deadline.h"
#include "sluice/core/worker/descriptors.h"
#include "sluice/core/worker/mail.h"
#include "sluice/core/worker/parking.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

// A look takes well below a millisecond, so it is no slow handler. If a worker has more slots, the
// next look goes on where this one ended.
constexpr uint32_t kChunksPerLook = 64;
// A look asks at most this many handlers that wait for memory whether they may read from the
// reserve: each costs a system call.
constexpr size_t kReadersPerLook = 256;
// A look ends connections for at most this time; later looks end the rest.
constexpr int64_t kShedNs = 1'000'000;
constexpr size_t kStalledMost = ShedBoard<>::kConnectionsMax;
constexpr int64_t kHoldersLogMs = 10'000;
constexpr size_t kHoldersNamed = 3;
// The most envelopes that one search for the heaviest holders walks, so that it is no slow handler
// itself.
constexpr int kEnvelopesWalkedMax = 200'000;

void Walk(const EnvelopeList& list, int* left, MemoryHolder::Held* held) {
  const Envelope* const first = list.Front();
  const Envelope* envelope = first;
  while (envelope != nullptr && (*left)-- > 0) {
    ++held->messages;
    held->bytes += envelope->charge;
    envelope = envelope->next == first ? nullptr : envelope->next;
  }
}

}  // namespace

void MemoryWatch::WaitForMemory(IoHandler* io) {
  SLUICE_CHECK_ON_WORKER(desk_);
  if (io->WaitsForMemory()) return;
  waiters_.push_back(io);
  io->memory_place_ = static_cast<uint32_t>(waiters_.size());
}

// The last waiter moves to the place that becomes free.
void MemoryWatch::Withdraw(IoHandler* io) {
  if (!io->WaitsForMemory()) return;
  IoHandler* const last = waiters_.back();
  waiters_[io->memory_place_ - 1] = last;
  last->memory_place_ = io->memory_place_;
  io->memory_place_ = 0;
  waiters_.pop_back();
}

bool MemoryWatch::Active() const { return reading_paused_ || parking_.WaitsForMemory(); }

void MemoryWatch::Check() {
  if (desk_.NowMs() < next_check_ms_) return;
  next_check_ms_ = desk_.NowMs() + kCheckMs;
  parking_.RetryForMemory();
  LookForShedding();
  if (!reading_paused_) return;
  if (desk_.shared.budget->Spent()) LookForReaders();
  if (!desk_.shared.budget->Spent()) ResumeReading();
}

void MemoryWatch::ResumeReading() {
  reading_paused_ = false;
  const std::vector<IoHandler*> waiting = std::exchange(waiters_, {});
  for (IoHandler* io : waiting) {
    io->memory_place_ = 0;
    SLUICE_PLANT(memory_waiters_lost, if (io != waiting.front()) continue);
    descriptors_.MarkReady(io);
  }
}

void MemoryWatch::CheckInvariants() const {
  for (size_t i = 0; i < waiters_.size(); ++i) SLUICE_CHECK(waiters_[i]->memory_place_ == i + 1);
}

// No event says when a peer has received its output, so the waiting handlers are asked in turn.
void MemoryWatch::LookForReaders() {
  SLUICE_PLANT(reserve_unused, return);
  for (size_t looks = std::min(waiters_.size(), kReadersPerLook); looks > 0; --looks) {
    if (waiters_.empty()) return;
    if (reserve_look_ >= waiters_.size()) reserve_look_ = 0;
    IoHandler* const io = waiters_[reserve_look_];
    if (io->MayReadFromReserve()) {
      Withdraw(io);  // The last waiter takes its place.
      descriptors_.MarkReady(io);
    } else {
      ++reserve_look_;
    }
  }
}

void MemoryWatch::LookForShedding() {
  Shedder& shedder = desk_.shared.shedder;
  const int64_t since_ms = shedder.SpentSinceMs(desk_.NowMs());
  if (since_ms < 0) {
    heaviest_ = {};
    look_chunk_ = 0;
    stalled_.clear();
    stalled_so_far_.clear();
    to_shed_.clear();
    return;
  }
  // If one shortage follows another, the waiting time has passed already; each peer still gets its
  // time.
  const int64_t may_end_ms = shedder.GoesOn(desk_.NowMs())
                                 ? since_ms
                                 : sluice::DeadlineMs(since_ms, desk_.options.shed_after);
  if (!to_shed_.empty()) ShedSome();
  const bool proposes = desk_.NowMs() >= next_proposal_ms_;
  if (proposes || look_chunk_ > 0) LookAtConnections();
  if (proposes) {
    next_proposal_ms_ = desk_.NowMs() + Shedder::kEveryMs;
    shedder.Propose(desk_.index, heaviest_.bytes, desk_.NowMs());
    // A sleeping worker does not know that memory is spent, and its connections may hold that
    // memory: wake it.
    for (int i = 0; i < desk_.options.workers; ++i) {
      Mail& other = desk_.shared.workers[static_cast<size_t>(i)]->mail();
      if (i != desk_.index && !shedder.Fresh(i, desk_.NowMs()) &&
          other.sleep_word().LooksAsleep()) {
        other.Rouse();
      }
    }
  }
  switch (shedder.Decide(desk_.index, may_end_ms, desk_.NowMs())) {
    case Shedder::Verdict::kMine: {
      shed_left_ = shedder.Connections();
      SLUICE_PLANT(shed_one_by_one, shed_left_ = 1);
      LookAtConnections();
      ChooseWhomToShed();
      ShedSome();
      next_proposal_ms_ = desk_.NowMs();
      break;
    }
    case Shedder::Verdict::kNobody:
      if (desk_.NowMs() >= next_holders_log_ms_) {
        next_holders_log_ms_ = desk_.NowMs() + kHoldersLogMs;
        LogHolders(desk_.NowMs() - since_ms);
      }
      break;
    case Shedder::Verdict::kWait:
      break;
  }
}

// Looks at all connections in turn, also those that hold little: only repeated looks show progress.
void MemoryWatch::LookAtConnections() {
  const int64_t stalled_ms = absl::ToInt64Milliseconds(desk_.options.shed_after);
  const int64_t bytes_min = desk_.shared.shedder.BytesMin();
  const auto bytes_of = [&](Slot* slot) {
    return slot->io == nullptr ? 0 : slot->io->StalledBytes(desk_.NowMs(), stalled_ms, bytes_min);
  };
  // The heaviest of an earlier look may have ended, or made progress. (Compare the generation
  // first: the slot may belong to another worker by now.)
  Slot* const before = heaviest_.slot;
  heaviest_.bytes =
      before != nullptr && before->generation == heaviest_.generation ? bytes_of(before) : 0;
  const auto lighter_last = [](const Stalled& a, const Stalled& b) { return a.bytes > b.bytes; };
  look_chunk_ =
      desk_.shared.slots.ForSome(&desk_.worker, look_chunk_, kChunksPerLook, [&](Slot* slot) {
        const int64_t bytes = bytes_of(slot);
        if (bytes == 0) return;
        const Stalled stalled{slot, slot->generation, bytes};
        if (bytes > heaviest_.bytes) heaviest_ = stalled;
        stalled_so_far_.push_back(stalled);
        if (stalled_so_far_.size() < 2 * kStalledMost) return;
        std::nth_element(stalled_so_far_.begin(), stalled_so_far_.begin() + kStalledMost,
                         stalled_so_far_.end(), lighter_last);
        stalled_so_far_.resize(kStalledMost);
      });
  if (look_chunk_ == 0) stalled_ = std::exchange(stalled_so_far_, {});
}

// Takes all connections that the looks have found. A connection may be listed twice: the second
// time it has ended.
void MemoryWatch::ChooseWhomToShed() {
  to_shed_ = stalled_;
  to_shed_.insert(to_shed_.end(), stalled_so_far_.begin(), stalled_so_far_.end());
  to_shed_.push_back(std::exchange(heaviest_, {}));
  std::stable_sort(to_shed_.begin(), to_shed_.end(),
                   [](const Stalled& a, const Stalled& b) { return a.bytes < b.bytes; });
}

// Ends connections, the heaviest first, until memory is no longer spent or `shed_left_` have ended.
// After kShedNs the next look goes on.
void MemoryWatch::ShedSome() {
  const int64_t stop_ns = desk_.os.NowNs() + kShedNs;
  const int64_t stalled_ms = absl::ToInt64Milliseconds(desk_.options.shed_after);
  const int64_t bytes_min = desk_.shared.shedder.BytesMin();
  int64_t unnamed = 0;
  int64_t unnamed_bytes = 0;
  for (bool named = true; shed_left_ > 0 && !to_shed_.empty() && desk_.shared.budget->Spent();) {
    const Stalled stalled = to_shed_.back();
    to_shed_.pop_back();
    Slot* const slot = stalled.slot;
    if (slot == nullptr || slot->generation != stalled.generation || slot->io == nullptr) continue;
    // Look again: the peer may have made progress since.
    const int64_t bytes = slot->io->StalledBytes(desk_.NowMs(), stalled_ms, bytes_min);
    if (bytes < bytes_min) continue;
    slot->io->Shed(bytes, named);
    --shed_left_;
    unnamed += !named;
    unnamed_bytes += named ? 0 : bytes;
    named = false;
    // Return the memory that the connection held to the budget: all workers may use it, and Spent()
    // sees it.
    desk_.lease.ReturnIdle();
    if (desk_.os.NowNs() >= stop_ns) break;
  }
  if (shed_left_ == 0 || !desk_.shared.budget->Spent()) to_shed_.clear();
  if (unnamed > 0) {
    LogWarn(
        absl::StrFormat("memory: %d more connections are ended: their peers stand still, and %d "
                        "bytes were held for them",
                        unnamed, unnamed_bytes));
  }
}

std::vector<MemoryHolder> MemoryWatch::TopHolders(size_t count) {
  const auto heavier = [](const MemoryHolder& a, const MemoryHolder& b) {
    return a.Bytes() > b.Bytes();
  };
  std::vector<MemoryHolder> holders;
  int left = kEnvelopesWalkedMax;
  desk_.shared.slots.ForEach(&desk_.worker, [&](Slot* slot) {
    if (slot->state == ActorState::kFree) return;
    MemoryHolder holder;
    holder.slot = slot;
    Walk(slot->queue, &left, &holder.queue);
    if (slot->extra != nullptr) {
      if (slot->extra->held_mail != nullptr) {
        Walk(slot->extra->held_mail->aside, &left, &holder.queue);
      }
      Walk(slot->extra->outbox.list, &left, &holder.outbox);
    }
    if (slot->io != nullptr) holder.connection_bytes = slot->io->HeldBytes();
    if (holder.Bytes() == 0) return;
    holders.push_back(holder);
    std::push_heap(holders.begin(), holders.end(), heavier);
    if (holders.size() <= count) return;
    std::pop_heap(holders.begin(), holders.end(), heavier);
    holders.pop_back();
  });
  std::sort(holders.begin(), holders.end(), heavier);
  return holders;
}

std::string MemoryHolder::Text() const {
  std::string text = absl::StrFormat("%s (%d bytes: %d messages in its mailbox, %d in its outbox",
                                     NameOfActor(slot), Bytes(), queue.messages, outbox.messages);
  if (connection_bytes > 0) {
    absl::StrAppendFormat(&text, ", %d bytes of its connection with %s", connection_bytes,
                          slot->io->PeerText());
  }
  return text + ")";
}

// Logs the heaviest holders: no peer stands still, so actors hold the memory.
void MemoryWatch::LogHolders(int64_t spent_ms) {
  const std::vector<MemoryHolder> holders = TopHolders(kHoldersNamed);
  if (holders.empty()) return;
  std::string text;
  for (const MemoryHolder& holder : holders) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", holder.Text());
  }
  LogWarn(absl::StrFormat(
      "memory: the budget of %d bytes has been spent for %d ms, and no connection's peer stands "
      "still; on worker %d most is held by %s",
      desk_.shared.budget->BytesMax(), spent_ms, desk_.index, text));
}

}  // namespace sluice
