// BadClient behaves as no server deserves. It checks nothing: the other clients check that they
// come to no harm.
#ifndef SLUICE_TESTS_STRESS_BAD_CLIENT_H_
#define SLUICE_TESTS_STRESS_BAD_CLIENT_H_

#include <cstdint>
#include <string_view>

#include "sluice/tests/stress/client.h"

namespace sluice::stress {

class BadClient : public Client {
 public:
  enum class Kind : uint8_t {
    kResets,         // At some point of a talk.
    kVanishes,       // Half-closes, reads nothing, and is gone.
    kStoppedReader,  // Sends all it can, and never reads.
    kBomb,           // Megabytes without an end of line.
    kLeaves,         // Connects, and that was all.
    kSilent,         // Says nothing and stays, also while the runtime drains.
  };
  static constexpr int kKinds = 6;
  static std::string_view Name(Kind kind);

  // `noise` outlives the client.
  BadClient(Kind kind, uint16_t port, std::string_view noise, uint64_t seed);
  uint16_t Port() const override { return port_; }
  int ReceiveBufferBytes() const override { return kind_ == Kind::kStoppedReader ? 8 * 1024 : 0; }
  void Step(int64_t now_ms) override;

 private:
  void SendNoise(size_t most);
  void ReadAll();

  const Kind kind_;
  const uint16_t port_;
  const std::string_view noise_;
  const size_t bytes_max_;
  const int64_t life_ms_;
  size_t sent_ = 0;
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_BAD_CLIENT_H_
