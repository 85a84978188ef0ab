// A connection in a drain: what was sent before the drain is read, then the session says good-bye.
#include <algorithm>

#include "sluice/actors/connection/connection.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/deadline.h"

namespace sluice {

namespace {

// In a drain, reading ends after a silence of a round trip plus kDrainQuietMs: a delayed
// acknowledgement takes 40 ms, and small segments may wait for it. The silence is at most
// 1/kDrainQuietPart of drain_timeout, as for a pair.
constexpr int64_t kDrainQuietMs = 50;
constexpr int64_t kDrainQuietPart = 4;

}  // namespace

void Connection::TellDrain() {
  if (drain_.GoodByeCalled() || Closing()) return;
  if (incoming_.ReadEnded() && !incoming_.EofTold()) return;
  // Messages that hubs hold back for the session come first, until half of the drain's time is
  // over. Each flush that may have emptied the output leads back here.
  if (!worker().DrainInsists() && outgoing_.ListenersHold()) return;
  SLUICE_PLANT(drain_forgets_parked, drain_.CalledGoodBye());
  worker().RunHandler(slot_, "OnDrain", [&] {
    drain_.CalledGoodBye();
    session_->OnDrain();
    auto& listeners = outgoing_.listeners();
    for (OutputListener* listener = listeners.Front(); listener != nullptr;
         listener = listeners.Next(*listener)) {
      listener->OnSessionDrains();
    }
  });
}

// A connecting session is closed: OnDrain would come before OnOpen, and its answer would wait for a
// peer that may never come. A paired session gets OnDrain: it belongs to a stream under way, and
// the peer of its partner has sent bytes already.
void Connection::DrainConnecting() {
  if (Paired()) {
    TellDrain();
  } else if (!Closing()) {
    Close();
  }
}

void Connection::OnDrain() {
  if (!drain_.Begin() || IsConnecting()) return;
  // Bytes may have come since the last event: one more read finds them.
  incoming_.SetReadable();
  if (outgoing_.Lingering()) {
    // Count from now: linger_timeout began earlier, and a peer that still sends is not silent.
    deadlines_.RestartLinger(worker().NowMs());
    ArmTimer();
  } else {
    BeginDrainReading();
  }
  worker().descriptors().MarkReady(this);
}

// The first silence does not prove that all bytes sent before the drain have arrived: a closed
// window or the network may hold them back.
void Connection::BeginDrainReading() {
  deadlines_.BeginDrain(DrainQuietMs());
  incoming_.SetReceivedMs(worker().NowMs());
  ArmTimer();
}

void Connection::OnDrainEndReading() {
  if (!drain_.Reads() || IsConnecting() || Paired() || outgoing_.Lingering()) return;
  drain_.EndInput();
  worker().descriptors().MarkReady(this);
}

void Connection::OnDrainClose() {
  drain_.AskGoodBye();
  worker().descriptors().MarkReady(this);
}

int64_t Connection::DrainQuietMs() {
  const int64_t most_ms = TimeoutMs(options().drain_timeout) / kDrainQuietPart;
  return std::clamp<int64_t>(kDrainQuietMs + stream_->RoundTripMs(), 0,
                             std::min(most_ms, int64_t{INT32_MAX}));
}

// Input that is here but not read yet (the session is parked, its output is high, or memory is
// spent) is no silence, and neither is the time that a server takes for its answer.
void Connection::DrainSilenceOver() {
  const int64_t now_ms = worker().NowMs();
  if (incoming_.Readable() || incoming_.OfferAgain()) {
    incoming_.SetReceivedMs(now_ms);
    return ArmTimer();
  }
  drain_awaits_ = session_ != nullptr && !worker().DrainInsists() && session_->AwaitsAnswer();
  if (drain_awaits_) {
    // For the session's own limit (SetReceiveTimeout) the peer is silent.
    deadlines_.BeginDrain(now_ms - worker().NotedMs(incoming_.ReceivedMs()) + DrainQuietMs());
    return ArmTimer();
  }
  drain_.EndInput();
  worker().descriptors().MarkReady(this);
}

// The answer may be here.
void Connection::DrainAwaitsNoMore() {
  drain_awaits_ = false;
  if (!DrainReads()) return;
  deadlines_.BeginDrain(DrainQuietMs());
  ArmTimer();
}

void Connection::OnShutdown() { Finish(CloseReason::kShutdown, CutShort()); }

}  // namespace sluice
