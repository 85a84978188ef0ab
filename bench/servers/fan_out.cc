// Fan-out by a hub. A frame has 64 bytes: "S..." subscribes, and comes back as soon as its sender
// gets all that follows; any other frame goes to all subscribers. A subscriber that does not read
// makes the publisher wait.
#include <optional>
#include <string>
#include <string_view>

#include "sluice/sluice.h"

constexpr size_t kFrameBytes = 64;

class Member : public sluice::Session {
 public:
  explicit Member(sluice::Ref<sluice::Hub> hub) : hub_(hub) {}
  void On(sluice::Subscribed subscription) {
    if (!subscription.Joined()) Abort();
  }

 private:
  void OnData(sluice::Input& in) override {
    while (MayGoOn() && in.size() >= kFrameBytes) {
      const std::string_view frame = in.Take(kFrameBytes);
      const auto answer = frame[0] == 'S' ? Join(frame) : Publish(frame);
      if (answer != sluice::Answer::kAccepted) return Abort();
    }
  }
  sluice::Answer Join(std::string_view frame) {
    const sluice::SubscribeOptions options{.slow = sluice::SlowPolicy::kPark};
    return Send(hub_, sluice::Subscribe(this, options, std::string(frame)));
  }
  sluice::Answer Publish(std::string_view frame) {
    const std::optional<sluice::Bytes> bytes = sluice::Bytes::Copy(frame, runtime().budget());
    if (!bytes) return sluice::Answer::kOverloaded;
    return Send(hub_, sluice::Publish{*bytes, {}});
  }

  const sluice::Ref<sluice::Hub> hub_;
};

int main(int argc, char** argv) {
  sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
  const auto hub = runtime.Spawn<sluice::Hub>();
  runtime.Listen<Member>("127.0.0.1:7021", hub);
  return runtime.RunUntilSignal();
}
