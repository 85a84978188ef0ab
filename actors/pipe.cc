#include "sluice/actors/pipe.h"

#include <algorithm>
#include <utility>

#include "sluice/actors/acceptor.h"
#include "sluice/actors/connection.h"
#include "sluice/core/plant.h"
#include "sluice/core/runtime.h"
#include "sluice/core/worker.h"

namespace sluice {

namespace {

constexpr int kLooksPerQuiet = 4;

// How a side ends whose partner has ended like this: true where the other peer may take it for an
// end of the stream. Everything else has cut the stream short, and must not look like an end.
bool IsCleanEnd(CloseReason reason) {
  if (Planted(Plant::kResetLooksLikeEnd) && reason == CloseReason::kReset) return true;
  switch (reason) {
    case CloseReason::kClosed:
    case CloseReason::kPeerClosed:
    case CloseReason::kLingered:
    case CloseReason::kIdle:
      return true;
    default:
      return false;
  }
}

}  // namespace

// One that failed, or never started, has not heard OnClose.
Pipe::~Pipe() { PartnerEnded(CloseReason::kFailed); }

void Pipe::ConnectPartner(const Address& address, absl::Duration timeout) {
  SLUICE_CHECK(partner_ == nullptr, "a pipe has one partner");
  if (connection() == nullptr) return;
  Worker& here = worker();
  // Nobody would end what comes after the drain's deadline.
  Slot* const made = here.ShuttingDown() ? nullptr : here.AllocateSlot();
  if (made == nullptr) {
    Abort(CloseReason::kRefused);
    return;
  }
  here.Open(made, here.options().mailbox_messages_max);
  ConnectOn(
      here, address, timeout,
      [this](Worker& its_worker, Slot* its_slot) {
        internal::Construct<Pipe>(its_worker, its_slot);
        if (its_slot->actor == nullptr) return;
        partner_ = static_cast<Pipe*>(its_slot->actor);
        partner_->partner_ = this;
      },
      made);
  if (partner_ == nullptr) {  // It has failed already, and this side with it; or it was never made.
    Abort(CloseReason::kRefused);
    return;
  }
  connection()->PairWith(*partner_->connection());
}

void Pipe::PairWith(Pipe& partner) {
  SLUICE_CHECK(partner_ == nullptr && partner.partner_ == nullptr, "a pipe has one partner");
  partner_ = &partner;
  partner.partner_ = this;
  connection()->PairWith(*partner.connection());
}

void Pipe::OnData(Input& in) {
  Connection* const to = partner_ == nullptr ? nullptr : partner_->connection();
  if (to == nullptr) return;  // Kept until the partner is there.
  // All of it, unless output_bytes_max is small: then the rest is offered again when there is room.
  // One that takes nothing more has failed, or closes: its end is on its way here.
  if (to->Write(in.Take(to->OutputRoom())) == Answer::kOverloaded) Abort(CloseReason::kMemory);
}

void Pipe::OnEof() {
  if (partner_ == nullptr || partner_->connection() == nullptr) {
    Close();
  } else {
    partner_->connection()->CloseWrite();
  }
}

void Pipe::OnClose(CloseReason reason) { PartnerEnded(reason); }

// Tells the partner that this side has ended, once.
void Pipe::PartnerEnded(CloseReason reason) {
  Pipe* const partner = std::exchange(partner_, nullptr);
  if (partner == nullptr) return;
  partner->partner_ = nullptr;
  if (IsCleanEnd(reason)) {
    partner->Close();
  } else {
    partner->Abort(reason == CloseReason::kShutdown ? reason : CloseReason::kAborted);
  }
}

// --- Drain.

void Pipe::OnDrain() {
  if (partner_ == nullptr) {
    Close();
  } else {
    LookWhetherQuiet();
  }
}

// Each side that was told of the drain looks; the first to find silence closes both.
void Pipe::LookWhetherQuiet() {
  if (partner_ == nullptr || connection() == nullptr || partner_->connection() == nullptr) return;
  const absl::Duration quiet =
      std::min(kDrainQuiet, runtime().options().drain_timeout / kLooksPerQuiet);
  const int64_t since_ms = worker().NowMs() - absl::ToInt64Milliseconds(quiet);
  if (connection()->QuietSince(since_ms) && partner_->connection()->QuietSince(since_ms)) {
    Close();
    partner_->Close();
  } else {
    After(quiet / kLooksPerQuiet, [this] { LookWhetherQuiet(); });
  }
}

}  // namespace sluice
