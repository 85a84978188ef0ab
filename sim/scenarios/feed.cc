#include "sluice/sim/scenarios/feed.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/base/strings.h"
#include "sluice/sim/scenarios/talk.h"

namespace sluice::sim {

namespace {

constexpr absl::Duration kPatience = absl::Seconds(90);  // After the last message.

}  // namespace

int64_t NumberOf(std::string_view payload) {
  int64_t number = 0;
  const std::string_view rest = payload.substr(2);
  if (!absl::SimpleAtoi(ToAbsl(rest.substr(0, rest.find(' '))), &number)) return -1;
  return number;
}

Subscriber::Subscriber(Feed& feed, SimOs& machine, uint64_t seed)
    : feed_(feed), random_(seed), closes_random_(seed + 1), client_(machine, absl::Seconds(2)) {}

void Subscriber::Run() {
  if (random_.Below(3) != 0) client_.LimitBuffers(0, static_cast<int>(random_.Below(16'000)));
  if (!Allowed(feed_.simulation, client_.Connect("10.0.0.1:7001"))) return;
  policy_ = static_cast<SlowPolicy>(random_.Below(5));
  if (feed_.all_conflate) policy_ = SlowPolicy::kConflate;
  manner_ = static_cast<Manner>(random_.Below(3));
  do {
    if (!Join() || !Hear()) return;
  } while (left_);
  switch (random_.Below(3)) {
    case 0:
      return client_.Reset();
    case 1:
      return client_.Close();
    default:
      if (!client_.Write("b\n").ok()) return Cut();
      leaving_ = 'b';
      Hear();
  }
}

bool Subscriber::Join() {
  received_ = missed_ = 0;
  first_.reset();
  last_.clear();
  left_ = false;
  leaving_ = 0;
  lines_left_ = random_.Below(4) == 0 ? random_.Between(1, 100) : INT64_MAX;
  if (std::exchange(joined_once_, true)) seat_before_ = seat_;
  seat_ = feed_.seats.size();
  feed_.seats.emplace_back();
  // The close that an earlier order asked for may still come.
  const bool closes = feed_.closes && closes_random_.Below(3) == 0;
  is_closed_ |= closes;
  filters_ = random_.Below(3) == 0;
  const std::string order =
      absl::StrCat("s ", seat_, " ", static_cast<int>(policy_), " ",
                   random_.Between(1, random_.Below(2) == 0 ? 8 : 1'024), " ", filters_ ? 1 : 0,
                   " ", closes ? closes_random_.Between(1, 400) : 0, "\n");
  if (client_.Write(order).ok()) return true;
  Cut();
  return false;
}

// Reads until it has left, or has received all. False: the connection is over.
bool Subscriber::Hear() {
  for (;;) {
    Simulation& simulation = feed_.simulation;
    if (manner_ == Manner::kStops && leaving_ == 0) {
      while (feed_.flooding) simulation.Sleep(absl::Milliseconds(20));
    } else if (manner_ == Manner::kPauses && random_.Below(8) == 0) {
      simulation.Sleep(absl::Milliseconds(random_.Between(1, 200)));
    }
    if (leaving_ == 0 && HeardAll()) {
      if (policy_ == SlowPolicy::kConflate && !filters_) {
        feed_.conflated.push_back({*seat().joined, last_});
      }
      return true;
    }
    const absl::StatusOr<std::string> line = client_.ReadLine();
    if (line.ok()) {
      if (!Take(*line)) return false;
      if (left_) return CheckLeft(), true;
      // Input for the server during many writes, and output for it while memory is spent.
      if (leaving_ == 0 && random_.Below(8) == 0 && !client_.Write("?\n").ok()) return Cut(), false;
      if (--lines_left_ == 0 && leaving_ == 0) {
        leaving_ = 'l';
        if (!client_.Write("l\n").ok()) return Cut(), false;
      }
    } else if (!absl::IsDeadlineExceeded(line.status())) {
      const bool may_end = leaving_ == 'b' || is_closed_;
      if (!may_end || !absl::IsOutOfRange(line.status())) Cut();
      return false;
    } else if (feed_.done_ns != 0 &&
               simulation.NowNs() > feed_.done_ns + absl::ToInt64Nanoseconds(kPatience)) {
      if (!MayEndConnections(simulation.faults))
        Broken("L5 progress", "it does not receive all messages");
      return false;
    }
  }
}

int64_t Subscriber::Skipped(int64_t upto) const {
  return std::ranges::count_if(seat().rejected, [upto](int64_t number) { return number <= upto; });
}

bool Subscriber::HeardAll() {
  if (feed_.done_ns == 0 || !seat().joined.has_value()) return false;
  const int64_t heard = HeardOf();
  if (heard > feed_.published)
    Broken("L1 ledger", "a subscriber has received more than was published");
  return heard >= feed_.published;
}

// Waiting messages must have come, or be counted as missed, before the answer to the leave.
void Subscriber::CheckLeft() {
  if (!seat().joined.has_value() || !seat().ordered.has_value()) return;
  if (HeardOf() < *seat().ordered || HeardOf() != seat().left.value_or(HeardOf())) {
    Broken("hub, leave",
           absl::StrCat("it has left, and received all up to ", HeardOf(), "; in order were ",
                        *seat().ordered,
                        " when it asked to leave, and it is said to have left behind ",
                        seat().left.value_or(-1)));
  }
}

bool Subscriber::Take(const std::string& line) {
  int64_t missed = 0;
  if (line[0] == 'm') return TakeMessage(line);
  if (line[0] == 'x' && absl::SimpleAtoi(line.substr(2), &missed) && missed > 0) {
    missed_ += missed;
    return true;
  }
  if (line == "!" || line == std::string(kAsideBytes, '?')) return true;
  if (line == "r") return client_.Close(), false;
  if (line.size() == 1 && line[0] == leaving_) return left_ = true;
  Broken("L2 order", absl::StrCat("a line has come that no publisher wrote: ", line.substr(0, 60)));
  return false;
}

bool Subscriber::TakeMessage(const std::string& line) {
  const int64_t number = NumberOf(line);
  const size_t filler = line.find(' ', line.find(' ', 2) + 1) + 1;
  const std::string key = policy_ == SlowPolicy::kConflate ? line.substr(filler - 2, 1) : "";
  ++received_;
  if (filler == 0 ||
      line.find_first_not_of(static_cast<char>('a' + number % 26), filler) != std::string::npos) {
    Broken("L2 order", absl::StrCat("a message has changed: ", line.substr(0, 60)));
  } else if (std::exchange(last_[key], number) >= number) {
    Broken("L2 order", absl::StrCat("message ", number, " came late"));
  } else if (filters_ && number % kFilterStep == 0) {
    Broken("L1 ledger", "a message came that its filter had refused");
  } else if (policy_ != SlowPolicy::kConflate) {
    const int64_t first = number - received_ - missed_ - Skipped(number);
    if (!first_.has_value()) first_ = first;
    if (first != *first_ || first != seat().joined.value_or(first)) {
      Broken("L1 ledger", absl::StrCat("at message ", number, " it is as if it had joined at ",
                                       first, ", and before, at ", *first_));
    }
  }
  return !feed_.simulation.Failed();
}

// The server ended the connection: its reason must be one that this subscriber gave. If the last
// order had not arrived by then, the server knows only the previous seat.
void Subscriber::Cut() {
  Simulation& simulation = feed_.simulation;
  if (MayEndConnections(simulation.faults)) return;
  const auto left = [this]() -> const Seat* {
    return seat_before_.has_value() ? &feed_.seats[*seat_before_] : nullptr;
  };
  const auto ended = [&] {
    return seat().ended.has_value() || (left() != nullptr && left()->ended.has_value());
  };
  for (int i = 0; i < 200 && !ended(); ++i) simulation.Sleep(absl::Milliseconds(10));
  const bool arrived = seat().ended.has_value() || !ended();
  const Seat& known = arrived ? seat() : *left();
  const CloseReason reason = known.ended.value_or(CloseReason::kError);
  const bool slow = arrived && (policy_ == SlowPolicy::kDisconnect || policy_ == SlowPolicy::kPark);
  const bool stands = manner_ != Manner::kReads;
  if ((reason == CloseReason::kAborted && known.taken_along) ||
      (reason == CloseReason::kSlow && slow) || reason == CloseReason::kMemory ||
      (known.closing && reason != CloseReason::kSlow) ||
      ((reason == CloseReason::kWriteStalled || reason == CloseReason::kShed) && stands))
    return;
  Broken("L9 close", absl::StrCat("it was cut short: ", ToAbsl(CloseReasonName(reason))));
}

void Subscriber::Broken(std::string_view law, std::string_view what) {
  feed_.simulation.Broken(
      law, absl::StrCat(ToAbsl(what), " (seat ", seat_, ", policy ",
                        ToAbsl(SlowPolicyName(policy_)), ", joined at ", seat().joined.value_or(-1),
                        ", received ", received_, ", missed ", missed_, ", skipped ",
                        seat().rejected.size(), ", published ", feed_.published, ")"));
}

}  // namespace sluice::sim
