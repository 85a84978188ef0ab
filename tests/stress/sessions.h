// The server's side of the flood of connections: sessions that echo bytes, that echo lines, and a
// record of why each of them ended, for the clients that ask.
#ifndef SLUICE_TESTS_STRESS_SESSIONS_H_
#define SLUICE_TESTS_STRESS_SESSIONS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/actors/connection/session.h"
#include "sluice/protocols/line_session.h"
#include "sluice/tests/stress/part.h"

namespace sluice::stress {

// Why sessions ended, by serial number. A client asks soon after its end, so a ring will do.
// Thread: any.
class SessionEnds {
 public:
  explicit SessionEnds(Laws& laws);
  uint64_t Begin();
  void End(uint64_t serial, CloseReason reason);
  std::optional<CloseReason> Find(uint64_t serial) const;
  int64_t Begun() const { return static_cast<int64_t>(next_.load(std::memory_order_relaxed)); }
  int64_t Ended() const { return ended_.Get(); }

  static constexpr size_t kKept = size_t{1} << 20;

 private:
  Laws& laws_;
  std::atomic<uint64_t> next_{0};  // Relaxed: only its own value counts.
  Count ended_;
  // 0: the session lives; otherwise the reason plus 1. Release by the session, acquire by its
  // client.
  std::unique_ptr<std::atomic<uint8_t>[]> reasons_;
};

// A session's greeting: its serial number, 16 digits and LF. A greeted client is accepted.
inline constexpr size_t kGreetingBytes = 17;
std::string Greeting(uint64_t serial);
std::optional<uint64_t> ParseGreeting(std::string_view greeting);

class EchoSession : public Session {
 public:
  EchoSession(Stress* stress, SessionEnds* ends) : stress_(stress), ends_(ends) {}
  void OnOpen() override;
  void OnData(Input& in) override;
  void OnClose(CloseReason reason) override;

 private:
  Stress* const stress_;
  SessionEnds* const ends_;
  uint64_t serial_ = 0;
};

inline constexpr uint32_t kLineBytesMax = 8 * 1024;
inline constexpr std::string_view kLongLineAnswer = "too long\n";
inline constexpr std::string_view kThrowLine = "throw";
inline constexpr std::string_view kThrowAnswer = "dying\n";

// Echoes each line. The line `throw` is answered, and then the session fails.
class LineEchoSession : public LineSession {
 public:
  LineEchoSession(Stress* stress, SessionEnds* ends)
      : LineSession(kLineBytesMax), stress_(stress), ends_(ends) {}
  void OnOpen() override;
  void OnLine(std::string_view line) override;
  void OnLongLine() override;
  void OnClose(CloseReason reason) override;

 private:
  void Say(std::string_view text);
  Stress* const stress_;
  SessionEnds* const ends_;
  uint64_t serial_ = 0;
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_SESSIONS_H_
