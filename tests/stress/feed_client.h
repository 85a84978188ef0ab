// FeedClient subscribes to a hub and counts: received + missed = published since it joined. It
// reads at once, with pauses, or not at all; it says good-bye, or stays to the end of the flood.
#ifndef SLUICE_TESTS_STRESS_FEED_CLIENT_H_
#define SLUICE_TESTS_STRESS_FEED_CLIENT_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/tests/stress/client.h"
#include "sluice/tests/stress/feed.h"
#include "sluice/tests/stress/sessions.h"

namespace sluice::stress {

inline constexpr int kPublishersMax = 3;

struct FeedTally {
  Count staying;  // Now.
  Count joined, said_bye, stayed, stopped, refused, received, missed, ended_slow, ended_memory;
};

class FeedClient : public Client {
 public:
  enum class Manner : uint8_t { kReads, kPauses, kStops };
  struct Plan {
    uint16_t port = 0;
    int hub = 0;
    SlowPolicy policy = SlowPolicy::kDropOldest;
    Manner manner = Manner::kReads;
    bool stays = false;  // To the end of the flood.
  };

  FeedClient(Stress& stress, SessionEnds& ends, FeedTally& tally, const Feed& feed, Plan plan,
             uint64_t seed);
  ~FeedClient() override;
  uint16_t Port() const override { return plan_.port; }
  int ReceiveBufferBytes() const override { return plan_.manner == Manner::kReads ? 0 : 8 * 1024; }
  void Step(int64_t now_ms) override;
  bool MustFinish() const override { return !Ended(); }

 private:
  void Read(int64_t now_ms);
  void TakeLine(std::string_view line);
  void TakeMessage(std::string_view rest);
  void CheckCount();
  void Cut(bool reset, int64_t now_ms);
  void Explain(int64_t now_ms);
  void Broken(const std::string& law, const std::string& what);

  Stress& stress_;
  SessionEnds& ends_;
  FeedTally& tally_;
  const Feed& feed_;
  const Plan plan_;
  const int64_t life_ms_;
  std::string partial_;  // A line without its end: at most a message.
  bool greeted_ = false;
  bool subscribed_ = false;
  bool bye_sent_ = false;
  bool bye_heard_ = false;
  bool explaining_ = false;
  bool reset_ = false;
  uint64_t serial_ = 0;
  uint64_t joined_ = 0;  // The hub's sequence when the client joined.
  int64_t received_ = 0;
  int64_t missed_ = 0;
  uint64_t first_number_ = 0;  // The sequence when it joined, derived from messages.
  std::array<uint64_t, kPublishersMax> last_{};
  int64_t read_from_ms_ = 0;
  int64_t finish_by_ms_ = 0;  // 0: not known yet.
  int64_t explain_by_ms_ = 0;
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_FEED_CLIENT_H_
