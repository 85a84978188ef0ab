#include "sluice/tests/stress/feed.h"

#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "sluice/core/base/strings.h"

namespace sluice::stress {

std::string MissedNotice(int64_t missed) { return absl::StrCat("m ", missed, "\n"); }

void Publisher::On(Go) {
  if (stress_->Stopping()) {
    // Publish a last message after the flood: it reports the messages that memory refused before.
    After(absl::Milliseconds(50), [this] { PublishLast(); });
    return;
  }
  bool published = true;
  for (uint64_t i = random_.Between(1, 12); i > 0 && published; --i) published = PublishOne();
  if (!published || random_.OneIn(2) || Send(RefOf(this), Go{}) != Answer::kAccepted) {
    After(absl::Milliseconds(random_.Between(1, 3)), [this] { On(Go{}); });
  }
}

void Publisher::PublishLast() {
  if (PublishOne()) {
    feed_->publishers_done.Add();
  } else {
    After(absl::Milliseconds(5), [this] { PublishLast(); });
  }
}

bool Publisher::PublishOne() {
  const size_t filler = random_.OneIn(64) ? random_.Below(kFillerBytesMax) : random_.Below(400);
  std::optional<Bytes> payload = Bytes::Copy(
      ToStd(absl::StrCat("p ", index_, " ", next_, " ",
                         std::string(filler, static_cast<char>('a' + next_ % 26)), "\n")),
      runtime().budget());
  if (!payload.has_value()) return false;  // Memory is spent.
  const Answer answer = Send(feed_->hub, Publish{*std::move(payload), {}});
  if (answer == Answer::kClosed) stress_->laws.Broken("answers", "Send to a hub said closed");
  if (answer != Answer::kAccepted) return false;
  ++next_;
  feed_->published.Add();
  return true;
}

void FeedSession::OnOpen() {
  serial_ = ends_->Begin();
  Say(Greeting(serial_));
}

void FeedSession::OnLine(std::string_view line) {
  if (line == "bye") {
    leaves_ = HoldReading();
    Unsubscribe(*this, subscription_);
    return;
  }
  const std::vector<std::string> words = absl::StrSplit(ToAbsl(line), ' ');
  uint32_t hub = 0;
  uint32_t policy = 0;
  SubscribeOptions options;
  options.park_timeout = absl::Milliseconds(150);
  if (asked_ || words.size() != 3 || !absl::SimpleAtoi(words[0], &hub) ||
      !absl::SimpleAtoi(words[1], &policy) ||
      !absl::SimpleAtoi(words[2], &options.queue_messages_max) || hub >= feeds_->size() ||
      policy >= kPoliciesMax) {
    stress_->laws.Broken("L9", absl::StrCat("a line came that no client says: ", ToAbsl(line)));
    Close();
    return;
  }
  asked_ = true;
  options.slow = static_cast<SlowPolicy>(policy);
  // Refused for lack of memory: the client sees the end, and the reason.
  if (Send((*feeds_)[hub].hub, Subscribe(this, options)) != Answer::kAccepted) {
    Abort(CloseReason::kMemory);
  }
}

void FeedSession::On(Subscribed subscribed) {
  subscription_ = subscribed;
  Say(ToStd(absl::StrCat("s ", subscribed.sequence, "\n")));
}

void FeedSession::On(Unsubscribed unsubscribed) {
  Say(ToStd(absl::StrCat("b ", unsubscribed.sequence.value_or(0), "\n")));
  Close();
}

void FeedSession::OnClose(CloseReason reason) { ends_->End(serial_, reason); }

void FeedSession::Say(std::string_view text) {
  const Answer answer = Write(text);
  if (answer == Answer::kOverloaded) Abort(CloseReason::kMemory);
  if (answer == Answer::kFull) {
    // A hub stops at output_bytes_low, far below output_bytes_max.
    stress_->laws.Broken("L3", "a hub has filled the output of its subscriber");
  }
}

}  // namespace sluice::stress
