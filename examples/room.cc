// A chat with one room: each line is said to all others, with the number of the member that said
// it. The next step after echo.cc; chat.cc adds names, rooms and commands.
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/protocols/line_session.h"
#include "sluice/sluice.h"

constexpr uint32_t kLineBytesMax = 1'000;

class Member : public sluice::LineSession {
 public:
  explicit Member(sluice::Ref<sluice::Hub> room) : LineSession(kLineBytesMax), room_(room) {}

  // Nothing is read until the member is in the room: otherwise it could miss an answer to its line.
  void OnOpen() override {
    joins_ = HoldReading();
    const std::string greeting = "You are member " + number_ + ". Say something.\n";
    // A member that does not read loses the oldest of the 256 lines that may wait for it.
    const sluice::SubscribeOptions options{.slow = sluice::SlowPolicy::kDropOldest};
    const sluice::Answer asked = Send(room_, sluice::Subscribe(this, options, greeting));
    if (asked != sluice::Answer::kAccepted) On(sluice::Subscribed{});
  }
  void On(sluice::Subscribed subscription) {
    subscription_ = subscription;
    if (subscription.Joined()) return joins_.Release();
    WriteOrAbort("error: the room cannot take you in, try again\n");
    Close();
  }

  // If the room is full, this session is parked after the line: it reads no more until there is
  // place again. (The line may hold control characters; chat.cc makes them harmless.)
  void OnLine(std::string_view line) override {
    const std::string text = number_ + ": " + std::string(line) + "\n";
    const std::optional<sluice::Bytes> bytes = sluice::Bytes::Copy(text, runtime().budget());
    sluice::Answer said = sluice::Answer::kOverloaded;  // No memory for the line.
    if (bytes) said = Send(room_, sluice::Publish{*bytes, sluice::ExceptOf(*this)});
    if (said == sluice::Answer::kAccepted) return;
    WriteOrAbort("error: not said, the room is " + std::string(AnswerName(said)) + "\n");
  }
  void OnLongLine() override {
    WriteOrAbort("error: a line has at most " + std::to_string(kLineBytesMax) + " bytes\n");
    Close();
  }

  // The peer has ended its side. It still receives what was said before its last line.
  void OnLastLine() override { sluice::Unsubscribe(*this, subscription_); }
  void On(sluice::Unsubscribed) { Close(); }

 private:
  // Members live on all workers. Relaxed: no other data hangs on the number.
  inline static std::atomic<int> members_ = 0;

  const sluice::Ref<sluice::Hub> room_;
  const std::string number_ = std::to_string(members_.fetch_add(1, std::memory_order_relaxed) + 1);
  sluice::ReadHold joins_;
  sluice::Subscribed subscription_;
};

// Written to a member in the place of the lines that it lost.
std::string MissedNotice(int64_t lines) { return "* missed " + std::to_string(lines) + " lines\n"; }

int main(int argc, char** argv) {
  sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
  const auto room = runtime.Spawn<sluice::Hub>(sluice::HubOptions{&MissedNotice});
  runtime.Listen<Member>("127.0.0.1:7004", room);
  return runtime.RunUntilSignal();
}
