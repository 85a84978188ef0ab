#include "sluice/actors/peers/pipe.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/connection/sockets.h"
#include "sluice/actors/peers/connector.h"
#include "sluice/actors/peers/resolver.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/actor_as.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

constexpr int kLooksPerQuiet = 4;

// True: the other peer may take `reason` for an end of the stream. Any other reason has cut the
// stream short, and must not look like an end.
bool IsCleanEnd(CloseReason reason) {
  SLUICE_PLANT(reset_looks_like_end, if (reason == CloseReason::kReset) return true);
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

// A pipe that never started got no OnClose.
Pipe::~Pipe() { PartnerEnded(CloseReason::kFailed); }

void Pipe::ConnectPartner(const Target& target, absl::Duration timeout) {
  SLUICE_CHECK(partner_ == nullptr && attempts_ == nullptr, "a pipe has one partner");
  if (timeout <= absl::ZeroDuration()) {
    LogWarn("connect to %s: the connect timeout must be longer than 0, and is %s",
            target.ToString(), absl::FormatDuration(timeout));
    Abort();
    return;
  }
  if (connection() == nullptr) {
    if (HasEnded()) return;
    // Called in the constructor: there is no connection yet to pair with, so connect later.
    const TimerId then = After(absl::ZeroDuration(), [this, target, timeout, hold = HoldReading()] {
      ConnectPartner(target, timeout);
    });
    if (then == 0) Abort();
    return;
  }
  attempts_ = std::make_unique<Attempts>();
  attempts_->deadline_ms = worker().DeadlineMs(timeout);
  attempts_->target = target.ToString();
  if (!target.IsName()) {
    attempts_->addresses = {target.address()};
    ConnectNext();
    return;
  }
  hold_ = HoldReading();  // Until there is a partner to read for.
  const TimerId in_time = After(timeout, [this] {
    if (attempts_ != nullptr && partner_ == nullptr) GiveUp("no answer in time");
  });
  if (in_time == 0) {
    GiveUp("no timer left for the connect timeout (timers_max)");
    return;
  }
  const Answer asked = Ask(
      Resolver::Of(runtime()), LookUp{target, attempts_->deadline_ms, slot(), generation()},
      absl::InfiniteDuration(),
      [this](absl::StatusOr<std::vector<Address>> addresses) { OnLookedUp(std::move(addresses)); });
  if (asked != Answer::kAccepted)
    GiveUp("the look-up is refused: too much is under way, or the runtime ends");
}

void Pipe::OnLookedUp(absl::StatusOr<std::vector<Address>> addresses) {
  if (attempts_ == nullptr || connection() == nullptr) return;
  if (!addresses.ok()) {
    GiveUp(ToStd(addresses.status().message()));
    return;
  }
  attempts_->addresses = *std::move(addresses);
  std::reverse(attempts_->addresses.begin(), attempts_->addresses.end());
  ConnectNext();
  hold_.Release();
}

// Requires: there is another address.
void Pipe::ConnectNext() {
  Worker& here = worker();
  const Address address = attempts_->addresses.back();
  const size_t left = attempts_->addresses.size();
  attempts_->addresses.pop_back();
  const absl::Duration timeout = internal::ConnectPart(here.NowMs(), attempts_->deadline_ms, left);
  // After the drain's deadline nothing would end a new connection.
  Slot* const made = here.ShuttingDown() ? nullptr : here.life().AllocateSlot();
  if (made == nullptr) {
    Abort(CloseReason::kRefused);
    return;
  }
  here.life().Open(made, here.options().mailbox_messages_max);
  ConnectOn(
      here, address, timeout,
      [this](Worker& its_worker, Slot* its_slot) {
        internal::Construct<Pipe>(its_worker, its_slot);
        if (its_slot->actor == nullptr) return;
        partner_ = &ActorAs<Pipe>(its_slot);
        partner_->partner_ = this;
      },
      made);
  if (partner_ == nullptr) {  // The partner was not constructed.
    Abort(CloseReason::kRefused);
    return;
  }
  // A partner that was refused at once has no connection any more; its OnClose notifies this side.
  if (partner_->connection() != nullptr) connection()->PairWith(*partner_->connection());
}

// Connects in a handler of this side's own: the partner that has failed is still in one of its
// handlers.
void Pipe::TryAgain() {
  const TimerId timer = After(absl::ZeroDuration(), [this, hold = HoldReading()] {
    if (attempts_ == nullptr) return;
    if (worker().NowMs() >= attempts_->deadline_ms) {
      GiveUp("no answer in time");
      return;
    }
    auto& addresses = attempts_->addresses;
    SLUICE_PLANT(address_passed_over, if (addresses.size() > 1) addresses.pop_back());
    ConnectNext();
  });
  if (timer == 0) GiveUp("no timer left to try the next address (timers_max)");
}

void Pipe::GiveUp(std::string_view why) {
  LogFailure(why);
  attempts_.reset();
  Abort(CloseReason::kAborted);
}

void Pipe::LogFailure(std::string_view why) {
  LimitOf(worker(), CloseReason::kConnectFailed).Warn(worker().NowMs(), [&] {
    return absl::StrCat("connect to ", attempts_->target, " for ", PeerAddress().ToString(), ": ",
                        ToAbsl(why));
  });
}

// Called on the partner; logs for the side that wants the connection.
void Pipe::LogConnectFailed(const Address& to, int error) {
  if (partner_ == nullptr || partner_->attempts_ == nullptr) {
    return Session::LogConnectFailed(to, error);
  }
  const std::string address = to.ToString();
  const Attempts& attempts = *partner_->attempts_;
  partner_->LogFailure(ToStd(
      absl::StrCat(address == attempts.target ? "" : absl::StrCat(address, ": "), ErrnoText(error),
                   attempts.addresses.empty() ? "" : "; the next address is tried")));
}

void Pipe::OnOpen() {
  if (partner_ != nullptr) partner_->attempts_.reset();
}

void Pipe::PairWith(Pipe& partner) {
  SLUICE_CHECK(partner_ == nullptr && partner.partner_ == nullptr, "a pipe has one partner");
  if (connection() == nullptr || partner.connection() == nullptr) {
    // Either side has ended: the other has no partner to copy to.
    Abort();
    partner.Abort();
    return;
  }
  partner_ = &partner;
  partner.partner_ = this;
  connection()->PairWith(*partner.connection());
}

void Pipe::OnData(Input& in) {
  Connection* const to = partner_ == nullptr ? nullptr : partner_->connection();
  if (to == nullptr) return;  // Kept until the partner is there.
  // Takes all input, unless output_bytes_max is small: then the rest is offered again when there is
  // room. A partner that takes no more output has failed or closes: its end is on its way here.
  if (to->Write(in.Take(to->OutputRoom())) == Answer::kOverloaded) Abort(CloseReason::kMemory);
}

// If the partner has ended and has not notified this side yet, its notice decides what becomes of
// this side. Until then no more is read.
void Pipe::OnInputFull() {
  if (partner_ == nullptr || partner_->connection() != nullptr) return Session::OnInputFull();
  hold_ = HoldReading();
}

void Pipe::OnEof() {
  if (partner_ == nullptr || partner_->connection() == nullptr) {
    Close();
  } else {
    end_passed_on_ = true;
    partner_->connection()->CloseWrite();
  }
}

void Pipe::OnClose(CloseReason reason) { PartnerEnded(reason); }

// Tells the partner that this side has ended, once.
void Pipe::PartnerEnded(CloseReason reason) {
  Pipe* const partner = std::exchange(partner_, nullptr);
  if (partner == nullptr) return;
  partner->partner_ = nullptr;
  if (reason == CloseReason::kConnectFailed && partner->attempts_ != nullptr &&
      !partner->attempts_->addresses.empty()) {
    partner->TryAgain();
  } else if (IsCleanEnd(reason) || (reason == CloseReason::kReset && end_passed_on_)) {
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

// Each side that got OnDrain looks; the first side that finds silence closes both.
void Pipe::LookWhetherQuiet() {
  if (partner_ == nullptr || connection() == nullptr || partner_->connection() == nullptr) return;
  const absl::Duration round_trip = absl::Milliseconds(
      std::max(connection()->DrainQuietMs(), partner_->connection()->DrainQuietMs()));
  const absl::Duration quiet = std::min(std::max(kDrainQuiet, round_trip),
                                        runtime().options().drain_timeout / kLooksPerQuiet);
  const int64_t since_ms = worker().NowMs() - absl::ToInt64Milliseconds(quiet);
  if (connection()->QuietSince(since_ms) && partner_->connection()->QuietSince(since_ms)) {
    Close();
    partner_->Close();
  } else if (After(quiet / kLooksPerQuiet, [this] { LookWhetherQuiet(); }) == 0) {
    LogWarn(
        "a pipe has no timer left (timers_max) to check whether it is quiet: unless its partner "
        "has a timer, the pipe stays open until the drain's deadline");
  }
}

}  // namespace sluice
