// Far is the upstream of the relay scenario: its sessions do what the client at the other end of
// the relay asks for, and record how they ended.
//
// Owner:  the scenario. Thread: the simulation's. Bound: the scenario's. Errors: none.
#ifndef SLUICE_SIM_SCENARIOS_FAR_H_
#define SLUICE_SIM_SCENARIOS_FAR_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/actors/connection/session.h"
#include "sluice/sim/scenarios/talk.h"

namespace sluice::sim {

inline constexpr size_t kFarAnswerBytes = 50'000;
// A client's first byte picks the upstream's behaviour.
inline constexpr char kFarEcho = 'e';
inline constexpr char kFarSaysAll = 's';     // Answers with kFarAnswerBytes and closes.
inline constexpr char kFarHalfCloses = 'h';  // Answers likewise, ends its side, counts input.
inline constexpr char kFarAborts = 'a';

struct Upstream {  // A connection, seen from its session.
  int64_t counted = 0;
  bool eof = false;
  std::optional<CloseReason> ended;
};

struct Way {  // Shared by all clients.
  Simulation& simulation;
  std::deque<Upstream> upstreams = {};
  bool draining = false;
};

// A client's first line is "MANNER NUMBER\n"; NUMBER is its place among the upstreams.
class Far : public Session {
 public:
  explicit Far(Way* way) : way_(*way) {}
  void OnData(Input& in) override {
    if (self_ == nullptr) {
      const size_t end = in.Peek().find('\n');
      if (end == std::string_view::npos) return;
      const std::string_view line = in.Take(end + 1);
      manner_ = line[0];
      self_ = &way_.upstreams[std::stoul(std::string(line.substr(2)))];
      if (manner_ == kFarAborts) return Abort();
      if (manner_ != kFarEcho) WriteOrAbort(Pattern(1, 1, kFarAnswerBytes));
      if (manner_ == kFarSaysAll) return Close();
      if (manner_ == kFarHalfCloses) CloseWrite();
    }
    if (manner_ == kFarEcho) {
      WriteOrAbort(in.TakeAll());
    } else {
      self_->counted += static_cast<int64_t>(in.TakeAll().size());
    }
  }
  void OnEof() override {
    if (self_ != nullptr) self_->eof = true;
    Close();
  }
  void OnClose(CloseReason reason) override {
    if (self_ != nullptr) self_->ended = reason;
  }

 private:
  Way& way_;
  char manner_ = 0;
  Upstream* self_ = nullptr;
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_SCENARIOS_FAR_H_
