// GoodClient sends a script in random pieces, and checks each byte that comes back; also slowly,
// late, and after its half-close. The server may refuse it at once. Later the server may cut it
// short only for a reason that counts.
#ifndef SLUICE_TESTS_STRESS_GOOD_CLIENT_H_
#define SLUICE_TESTS_STRESS_GOOD_CLIENT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "sluice/tests/stress/client.h"
#include "sluice/tests/stress/sessions.h"

namespace sluice::stress {

// Counts of the clients' ends; shared by all loops.
struct ClientTally {
  Count good_done, good_idle_drained, refused, cut, bytes_checked;
};

class GoodClient : public Client {
 public:
  enum class Manner : uint8_t { kBrisk, kOneByte, kLateReader, kPausing };
  struct Script {
    uint16_t port = 0;
    std::string_view input;
    std::string_view expected;
    // must_half_close: the last line has no LF, and only a half-close makes it a line. server_ends:
    // the server ends the connection first.
    bool must_half_close = false;
    bool server_ends = false;
    Manner manner = Manner::kBrisk;
  };

  GoodClient(Stress& stress, SessionEnds& ends, ClientTally& tally, Script script, uint64_t seed);
  uint16_t Port() const override { return script_.port; }
  int ReceiveBufferBytes() const override {
    return script_.manner == Manner::kLateReader ? 16 * 1024 : 0;
  }
  void Step(int64_t now_ms) override;
  bool MustFinish() const override { return !Ended() && phase_ != Phase::kIdle; }

 private:
  enum class Phase : uint8_t {
    kGreeting,
    kTalking,
    kEnding,     // All bytes have come; the server's FIN has not.
    kIdle,       // All bytes have come; silent until the drain ends the session.
    kExplaining  // Cut short: the client awaits the server's reason.
  };
  void ReadGreeting();
  void Write(int64_t now_ms);
  void Read(int64_t now_ms);
  void AllHasCome(int64_t now_ms);
  void CutShort(bool reset);
  void Explain(int64_t now_ms);
  void Broken(const std::string& law, const std::string& what);

  Stress& stress_;
  SessionEnds& ends_;
  ClientTally& tally_;
  const Script script_;
  const bool half_close_;
  Phase phase_ = Phase::kGreeting;
  std::string greeting_;
  uint64_t serial_ = 0;
  size_t sent_ = 0;
  size_t received_ = 0;
  bool half_closed_ = false;
  bool reset_ = false;
  int64_t read_from_ms_ = 0;
  int64_t write_from_ms_ = 0;
  int64_t explain_by_ms_ = 0;
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_GOOD_CLIENT_H_
