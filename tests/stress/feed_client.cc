#include "sluice/tests/stress/feed_client.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/base/strings.h"

namespace sluice::stress {

namespace {

// Counted from the end of its life, or of the flood.
constexpr int64_t kFinishMsMax = 8'000 * kSlack;
constexpr int64_t kFeedExplainMsMax = 2'000 * kSlack;
constexpr size_t kFeedStepBytesMax = 128 * 1024;

}  // namespace

FeedClient::FeedClient(Stress& stress, SessionEnds& ends, FeedTally& tally, const Feed& feed,
                       Plan plan, uint64_t seed)
    : Client(seed),
      stress_(stress),
      ends_(ends),
      tally_(tally),
      feed_(feed),
      plan_(plan),
      life_ms_(static_cast<int64_t>(random_.Between(20, 1'500))) {
  if (plan_.stays) tally_.staying.Add(1);
  WakeAt(0);
}

FeedClient::~FeedClient() {
  if (plan_.stays) tally_.staying.Add(-1);
}

void FeedClient::Broken(const std::string& law, const std::string& what) {
  stress_.laws.Broken(law, absl::StrCat(what, " (session ", serial_, ", hub ", plan_.hub,
                                        ", policy ", static_cast<int>(plan_.policy), ", joined at ",
                                        joined_, ", received ", received_, ", missed ", missed_,
                                        ", published ", feed_.published.Get(), ")"));
  Reset();
}

void FeedClient::Step(int64_t now_ms) {
  WakeAt(now_ms + 20);
  if (explaining_) {
    Explain(now_ms);
    return;
  }
  const bool stopping = stress_.Stopping();
  const bool over = stopping || (!plan_.stays && now_ms >= BornMs() + life_ms_);
  if (plan_.manner == Manner::kStops && greeted_) {
    if (!over) return;
    tally_.stopped.Add();
    Reset();
    return;
  }
  // Clients that stay have everything only after the publishers' last messages.
  if (over && subscribed_ && !bye_sent_ && !(stopping && plan_.stays)) {
    bye_sent_ = Send("bye\n") == 4;
  }
  Read(now_ms);
  if (Ended() || explaining_) return;
  if (stopping && plan_.stays && subscribed_ && !bye_sent_ &&
      feed_.publishers_done.Get() == feed_.publishers &&
      static_cast<int64_t>(joined_) + received_ + missed_ >= feed_.published.Get()) {
    if (static_cast<int64_t>(joined_) + received_ + missed_ != feed_.published.Get()) {
      Broken("L1", "a subscriber has more than was published");
      return;
    }
    tally_.stayed.Add();
    bye_sent_ = Send("bye\n") == 4;
  }
  // During the flood a client that stays has no deadline, except for its first words.
  const bool may_wait = plan_.stays && !stopping && subscribed_;
  if (may_wait) {
    finish_by_ms_ = 0;
  } else if (finish_by_ms_ == 0) {
    finish_by_ms_ = now_ms + life_ms_ + kFinishMsMax;
  } else if (now_ms > finish_by_ms_) {
    Broken("L5", !greeted_      ? "a client was neither accepted nor refused"
                 : !subscribed_ ? "a client was not notified that it is subscribed"
                 : bye_sent_    ? "a subscriber has said good-bye and its connection has not ended"
                                : "a subscriber has not received all messages");
  }
}

void FeedClient::Read(int64_t now_ms) {
  if (now_ms < read_from_ms_) return;
  for (size_t got = 0;;) {
    if (got >= kFeedStepBytesMax) {
      WakeAt(0);
      return;
    }
    std::string_view bytes;
    const Got what = Receive(&bytes);
    if (what == Got::kNothing) return;
    if (what != Got::kBytes) {
      Cut(what == Got::kReset, now_ms);
      return;
    }
    got += bytes.size();
    partial_.append(bytes);
    size_t begin = 0;
    for (size_t end; (end = partial_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      TakeLine(std::string_view(partial_).substr(begin, end - begin));
      if (Ended()) return;
    }
    partial_.erase(0, begin);
    if (plan_.manner == Manner::kPauses && !stress_.Stopping() && random_.OneIn(8)) {
      read_from_ms_ = now_ms + static_cast<int64_t>(random_.Between(5, 120));
      return;
    }
    if (plan_.manner == Manner::kStops && greeted_) return;
  }
}

void FeedClient::TakeLine(std::string_view line) {
  if (!greeted_) {
    const auto serial = ParseGreeting(absl::StrCat(ToAbsl(line), "\n"));
    if (!serial.has_value()) {
      Broken("L9", absl::StrCat("a greeting is not as it was written: ", ToAbsl(line)));
      return;
    }
    greeted_ = true;
    serial_ = *serial;
    const std::string order = absl::StrCat(plan_.hub, " ", static_cast<int>(plan_.policy), " ",
                                           random_.Between(1, 64), "\n");
    Send(order);  // A new socket has room for that much.
    return;
  }
  int64_t missed = 0;
  int64_t left = 0;
  const std::string_view rest = line.substr(std::min<size_t>(2, line.size()));
  if (line.starts_with("p ")) {
    TakeMessage(rest);
  } else if (line.starts_with("m ") && absl::SimpleAtoi(ToAbsl(rest), &missed) && missed > 0) {
    missed_ += missed;
    tally_.missed.Add(missed);
  } else if (line.starts_with("s ") && !subscribed_ && absl::SimpleAtoi(ToAbsl(rest), &joined_)) {
    subscribed_ = true;
    tally_.joined.Add();
    CheckCount();
  } else if (line.starts_with("b ") && bye_sent_ && absl::SimpleAtoi(ToAbsl(rest), &left)) {
    bye_heard_ = true;
    if (left != static_cast<int64_t>(joined_) + received_ + missed_) {
      Broken("L1", absl::StrCat("it joined at ", joined_, ", received ", received_, ", missed ",
                                missed_, ", and has left at ", left));
    }
  } else {
    Broken("L9",
           absl::StrCat("a line has come that no publisher wrote: ", ToAbsl(line.substr(0, 60))));
  }
}

void FeedClient::TakeMessage(std::string_view rest) {
  const size_t space = rest.find(' ');
  const size_t second = rest.find(' ', space + 1);
  uint32_t publisher = 0;
  uint64_t number = 0;
  if (second == std::string_view::npos ||
      !absl::SimpleAtoi(ToAbsl(rest.substr(0, space)), &publisher) ||
      !absl::SimpleAtoi(ToAbsl(rest.substr(space + 1, second - space - 1)), &number) ||
      publisher >= kPublishersMax ||
      rest.find_first_not_of(static_cast<char>('a' + number % 26), second + 1) !=
          std::string_view::npos) {
    Broken("L9", absl::StrCat("a message has changed: ", ToAbsl(rest.substr(0, 60))));
    return;
  }
  if (number <= last_[publisher]) {
    Broken("L2", absl::StrCat("message ", number, " of a publisher came after ", last_[publisher]));
    return;
  }
  last_[publisher] = number;
  ++received_;
  tally_.received.Add();
  if (feed_.publishers == 1) {
    // The hub's sequence is the publisher's number.
    first_number_ = number - static_cast<uint64_t>(received_ + missed_);
    CheckCount();
  }
}

// With one publisher, each message shows how many messages there must have been since the
// subscription.
void FeedClient::CheckCount() {
  if (!subscribed_ || feed_.publishers != 1 || received_ == 0) return;
  if (first_number_ != joined_) {
    Broken("L1", absl::StrCat("received + missed is not what was published: its count says that "
                              "it joined at ",
                              first_number_));
  }
}

void FeedClient::Cut(bool reset, int64_t now_ms) {
  if (!greeted_ && partial_.empty()) {
    tally_.refused.Add();
    Leave();
    return;
  }
  if (bye_heard_ && !reset) {
    if (!plan_.stays) tally_.said_bye.Add();
    Leave();
    return;
  }
  explaining_ = true;
  reset_ = reset;
  explain_by_ms_ = now_ms + kFeedExplainMsMax;
  WakeAt(0);
}

void FeedClient::Explain(int64_t now_ms) {
  const std::optional<CloseReason> reason = ends_.Find(serial_);
  if (!reason.has_value() && now_ms < explain_by_ms_) {
    WakeAt(now_ms + 2);
    return;
  }
  const bool may_be_slow =
      plan_.policy == SlowPolicy::kDisconnect || plan_.policy == SlowPolicy::kPark;
  if (reason == CloseReason::kSlow && may_be_slow) {
    tally_.ended_slow.Add();
    Leave();
  } else if (reason == CloseReason::kMemory) {
    tally_.ended_memory.Add();
    Leave();
  } else {
    Broken("L9", absl::StrCat("a subscriber was cut short by a ", reset_ ? "reset" : "FIN",
                              "; the server's reason: ",
                              reason.has_value() ? ToAbsl(CloseReasonName(*reason)) : "none"));
  }
}

}  // namespace sluice::stress
