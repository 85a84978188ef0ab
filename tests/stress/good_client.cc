#include "sluice/tests/stress/good_client.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/strings.h"

namespace sluice::stress {

namespace {

// Limit of a whole talk: far above the usual time, as the law says only that a talk ends.
constexpr int64_t kLifeMsMax = 8'000 * kSlack;
constexpr int64_t kExplainMsMax = 2'000 * kSlack;
constexpr size_t kStepBytesMax = 128 * 1024;

}  // namespace

GoodClient::GoodClient(Stress& stress, SessionEnds& ends, ClientTally& tally, Script script,
                       uint64_t seed)
    : Client(seed),
      stress_(stress),
      ends_(ends),
      tally_(tally),
      script_(script),
      half_close_(script.must_half_close || (!script.server_ends && random_.OneIn(2))) {
  WakeAt(0);
}

void GoodClient::Broken(const std::string& law, const std::string& what) {
  stress_.laws.Broken(
      law, absl::StrCat(what, " (session ", serial_, ", sent ", sent_, " of ", script_.input.size(),
                        ", received ", received_, " of ", script_.expected.size(),
                        half_closed_ ? ", half-closed)" : ")"));
  Reset();
}

void GoodClient::Step(int64_t now_ms) {
  WakeAt(BornMs() + kLifeMsMax);
  if (now_ms >= BornMs() + kLifeMsMax && phase_ != Phase::kIdle && phase_ != Phase::kExplaining) {
    Broken("L5", phase_ == Phase::kGreeting
                     ? "a client was neither accepted nor refused"
                     : absl::StrCat("a good client has not got all in ", now_ms - BornMs(), " ms"));
    return;
  }
  if (phase_ == Phase::kGreeting) {
    ReadGreeting();
    if (!Ended() && phase_ == Phase::kTalking && script_.manner == Manner::kLateReader) {
      read_from_ms_ = now_ms + static_cast<int64_t>(random_.Between(50, 400));
    }
  }
  if (!Ended() && phase_ == Phase::kTalking) Write(now_ms);
  if (!Ended() && phase_ != Phase::kGreeting && phase_ != Phase::kExplaining) Read(now_ms);
  if (!Ended() && phase_ == Phase::kExplaining) Explain(now_ms);
}

void GoodClient::ReadGreeting() {
  std::string_view bytes;
  switch (Receive(&bytes, kGreetingBytes - greeting_.size())) {
    case Got::kBytes:
      break;
    case Got::kNothing:
      return;
    case Got::kEnd:
    case Got::kReset:
      if (greeting_.empty()) {
        tally_.refused.Add();
        Leave();
      } else {
        Broken("L9", "a connection ended within its greeting");
      }
      return;
  }
  greeting_.append(bytes);
  if (greeting_.size() < kGreetingBytes) {
    WakeAt(0);  // The rest may have come too.
    return;
  }
  if (const auto serial = ParseGreeting(greeting_); serial.has_value()) {
    serial_ = *serial;
    phase_ = Phase::kTalking;
  } else {
    Broken("L9", absl::StrCat("a greeting is not as it was written: ", greeting_));
  }
}

void GoodClient::Write(int64_t now_ms) {
  if (now_ms < write_from_ms_) {
    WakeAt(write_from_ms_);
    return;
  }
  size_t went = 0;
  while (sent_ < script_.input.size()) {
    if (went >= kStepBytesMax) {
      WakeAt(0);  // Other clients of this thread first.
      return;
    }
    size_t piece = random_.OneIn(2) ? random_.Between(1, 64) : random_.Between(1, 20'000);
    if (script_.manner == Manner::kOneByte) piece = 1;
    piece = std::min(piece, script_.input.size() - sent_);
    const size_t count = Send(script_.input.substr(sent_, piece));
    if (count == 0) return;  // EPOLLOUT follows, or the end.
    sent_ += count;
    went += count;
    const bool pause = script_.manner == Manner::kOneByte
                           ? random_.OneIn(4)
                           : script_.manner == Manner::kPausing && random_.OneIn(8);
    if (pause) {
      write_from_ms_ = now_ms + static_cast<int64_t>(random_.Between(0, 3));
      WakeAt(write_from_ms_);
      return;
    }
  }
  if (half_close_ && !half_closed_) {
    half_closed_ = true;
    HalfClose();
  }
}

void GoodClient::Read(int64_t now_ms) {
  if (now_ms < read_from_ms_) {
    WakeAt(std::min(WakeAtMs(), read_from_ms_));
    return;
  }
  for (size_t got = 0;;) {
    if (got >= kStepBytesMax) {
      WakeAt(0);
      return;
    }
    std::string_view bytes;
    const Got what = Receive(&bytes);
    if (what == Got::kNothing) break;
    if (what != Got::kBytes) {
      const bool complete = received_ == script_.expected.size();
      if (what == Got::kEnd && complete && (half_closed_ || script_.server_ends)) {
        tally_.good_done.Add();
        Leave();
      } else if (what == Got::kEnd && phase_ == Phase::kIdle) {
        tally_.good_idle_drained.Add();
        Leave();
      } else {
        CutShort(what == Got::kReset);
      }
      return;
    }
    got += bytes.size();
    if (bytes != script_.expected.substr(received_, bytes.size())) {
      Broken("L9", "bytes have come back that are not those that were sent");
      return;
    }
    received_ += bytes.size();
    tally_.bytes_checked.Add(static_cast<int64_t>(bytes.size()));
    if (script_.manner == Manner::kPausing && random_.OneIn(16)) {
      read_from_ms_ = now_ms + static_cast<int64_t>(random_.Between(1, 30));
      WakeAt(std::min(WakeAtMs(), read_from_ms_));
      return;
    }
  }
  if (phase_ == Phase::kTalking && received_ == script_.expected.size() &&
      sent_ == script_.input.size()) {
    AllHasCome(now_ms);
  }
}

void GoodClient::AllHasCome(int64_t) {
  if (half_closed_ || script_.server_ends) {
    phase_ = Phase::kEnding;
  } else if (stress_.Stopping()) {
    phase_ = Phase::kIdle;
    WakeAt(INT64_MAX);
  } else {
    tally_.good_done.Add();
    random_.OneIn(2) ? Reset() : Leave();
  }
}

void GoodClient::CutShort(bool reset) {
  reset_ = reset;
  phase_ = Phase::kExplaining;
  explain_by_ms_ = SteadyMs() + kExplainMsMax;
}

void GoodClient::Explain(int64_t now_ms) {
  const std::optional<CloseReason> reason = ends_.Find(serial_);
  if (!reason.has_value() && now_ms < explain_by_ms_) {
    WakeAt(now_ms + 2);
    return;
  }
  tally_.cut.Add();
  // Spent memory is the only reason to end a peer that behaves well.
  if (reason == CloseReason::kMemory) {
    Leave();
    return;
  }
  Broken("L9", absl::StrCat("a good client was cut short by a ", reset_ ? "reset" : "FIN",
                            "; the server's reason: ",
                            reason.has_value() ? ToAbsl(CloseReasonName(*reason)) : "none"));
}

}  // namespace sluice::stress
