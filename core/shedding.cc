// Memory that stays spent: what a worker does for the Shedder's decision. Called every few
// milliseconds while the budget is spent, never else.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/log.h"
#include "sluice/core/runtime.h"
#include "sluice/core/worker.h"

namespace sluice {

namespace {

// One look is a piece of work of well below a millisecond, so that it is no slow handler. Where a
// worker has more slots, the next look goes on where this one ended.
constexpr uint32_t kChunksPerLook = 64;
constexpr int64_t kHoldersLogMs = 10'000;
constexpr size_t kHoldersNamed = 3;
// What one look at who holds most may walk: it must not become a slow handler itself.
constexpr int kEnvelopesWalkedMax = 200'000;

void Walk(const EnvelopeList& list, int* left, Worker::Holder::Held* held) {
  const Envelope* const first = list.Front();
  const Envelope* envelope = first;
  while (envelope != nullptr && (*left)-- > 0) {
    ++held->messages;
    held->bytes += envelope->charge;
    envelope = envelope->next == first ? nullptr : envelope->next;
  }
}

}  // namespace

void Worker::LookForShedding() {
  Shedder& shedder = runtime_.shedder();
  const int64_t since_ms = shedder.SpentSinceMs(NowMs());
  if (since_ms < 0) {
    heaviest_ = {};
    look_chunk_ = 0;
    return;
  }
  const int64_t may_end_ms = DeadlineMs(since_ms, options_.shed_after);
  const bool proposes = NowMs() >= next_proposal_ms_;
  if (proposes || look_chunk_ > 0) LookAtConnections();
  if (proposes) {
    next_proposal_ms_ = NowMs() + Shedder::kEveryMs;
    shedder.Propose(index_, heaviest_.bytes, NowMs());
    // Whoever sleeps does not know that memory is spent; its connections may be what holds it.
    for (int i = 0; i < options_.workers; ++i) {
      Worker& other = runtime_.worker(i);
      if (i != index_ && !shedder.Fresh(i, NowMs()) && other.sleep_.LooksAsleep() &&
          other.sleep_.Rouse()) {
        other.Signal();
      }
    }
  }
  switch (shedder.Decide(index_, may_end_ms, NowMs())) {
    case Shedder::Verdict::kMine: {
      // Once more: the peer may have moved since this worker proposed it.
      LookAtConnections();
      const Stalled heaviest = std::exchange(heaviest_, {});
      if (heaviest.bytes >= shedder.BytesMin()) heaviest.slot->io->Shed(heaviest.bytes);
      next_proposal_ms_ = NowMs();
      break;
    }
    case Shedder::Verdict::kNobody:
      if (NowMs() >= next_holders_log_ms_) {
        next_holders_log_ms_ = NowMs() + kHoldersLogMs;
        LogHolders(NowMs() - since_ms);
      }
      break;
    case Shedder::Verdict::kWait:
      break;
  }
}

// All of them have their turn, also those that hold little, as progress shows from look to look.
void Worker::LookAtConnections() {
  const int64_t stalled_ms = absl::ToInt64Milliseconds(options_.shed_after);
  const int64_t bytes_min = runtime_.shedder().BytesMin();
  const auto bytes_of = [&](Slot* slot) {
    return slot->io == nullptr ? 0 : slot->io->StalledBytes(NowMs(), stalled_ms, bytes_min);
  };
  // The one of an earlier look may have ended, or taken something. (The generation first: another
  // one's slot may be another worker's.)
  Slot* const before = heaviest_.slot;
  heaviest_.bytes =
      before != nullptr && before->generation == heaviest_.generation ? bytes_of(before) : 0;
  look_chunk_ = runtime_.ForSomeSlots(this, look_chunk_, kChunksPerLook, [&](Slot* slot) {
    const int64_t bytes = bytes_of(slot);
    if (bytes > heaviest_.bytes) heaviest_ = {slot, slot->generation, bytes};
  });
}

std::vector<Worker::Holder> Worker::TopHolders(size_t count) {
  const auto heavier = [](const Holder& a, const Holder& b) { return a.Bytes() > b.Bytes(); };
  std::vector<Holder> holders;
  int left = kEnvelopesWalkedMax;
  runtime_.ForEachSlot(this, [&](Slot* slot) {
    if (slot->state == ActorState::kFree) return;
    Holder holder;
    holder.slot = slot;
    Walk(slot->queue, &left, &holder.queue);
    if (slot->extra != nullptr) Walk(slot->extra->outbox.list, &left, &holder.outbox);
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

std::string Worker::TextOf(const Holder& holder) const {
  std::string text = absl::StrFormat("%s (%d bytes: %d messages in its mailbox, %d in its outbox",
                                     NameOf(holder.slot), holder.Bytes(), holder.queue.messages,
                                     holder.outbox.messages);
  if (holder.connection_bytes > 0) {
    absl::StrAppendFormat(&text, ", %d bytes of its connection with %s", holder.connection_bytes,
                          holder.slot->io->PeerText());
  }
  return text + ")";
}

// No peer is to blame: actors hold it.
void Worker::LogHolders(int64_t spent_ms) {
  const std::vector<Holder> holders = TopHolders(kHoldersNamed);
  if (holders.empty()) return;
  std::string text;
  for (const Holder& holder : holders) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", TextOf(holder));
  }
  LogWarn(absl::StrFormat(
      "memory: the budget of %d bytes has been spent for %d ms, and no connection's peer stands "
      "still; on worker %d most is held by %s",
      runtime_.budget().BytesMax(), spent_ms, index_, text));
}

}  // namespace sluice
