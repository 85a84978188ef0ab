// The runtime's side of the flood of broadcasts: publishers that flood hubs, and sessions that
// subscribe to them as their clients ask.
//
// A client sends `HUB POLICY QUEUE` and later `bye`. It receives `s SEQUENCE` when it has joined,
// `p PUBLISHER NUMBER FILLER` for each message, `m COUNT` for messages that it missed, and `b
// SEQUENCE` at the end.
#ifndef SLUICE_TESTS_STRESS_FEED_H_
#define SLUICE_TESTS_STRESS_FEED_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/actors/hub/hub.h"
#include "sluice/protocols/line_session.h"
#include "sluice/tests/stress/part.h"
#include "sluice/tests/stress/sessions.h"

namespace sluice::stress {

inline constexpr int kPoliciesMax = 4;
inline constexpr int kFillerBytesMax = 12'000;
std::string MissedNotice(int64_t missed);

struct Feed {
  Ref<Hub> hub;
  int publishers = 1;
  // Accepted by the hub or by its publisher's outbox: after the end of the flood, all numbered
  // messages.
  Count published;
  Count publishers_done;
};

class Publisher : public Actor {
 public:
  struct Go {};
  Publisher(Stress* stress, Feed* feed, int index, uint64_t seed)
      : stress_(stress), feed_(feed), index_(index), random_(seed) {}
  void OnStart() override { On(Go{}); }
  void On(Go);

 private:
  bool PublishOne();
  void PublishLast();

  Stress* const stress_;
  Feed* const feed_;
  const int index_;
  Random random_;
  uint64_t next_ = 1;
};

class FeedSession : public LineSession {
 public:
  FeedSession(Stress* stress, SessionEnds* ends, std::vector<Feed>* feeds)
      : LineSession(256), stress_(stress), ends_(ends), feeds_(feeds) {}
  void OnOpen() override;
  void OnLine(std::string_view line) override;
  void On(Subscribed subscribed);
  void On(Unsubscribed unsubscribed);
  void OnClose(CloseReason reason) override;

 private:
  void Say(std::string_view text);

  Stress* const stress_;
  SessionEnds* const ends_;
  std::vector<Feed>* const feeds_;
  uint64_t serial_ = 0;
  bool asked_ = false;
  Subscribed subscription_;
  ReadHold leaves_;
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_FEED_H_
