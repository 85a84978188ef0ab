// What the broadcast scenario's two sides share: the feed that is published, and a subscriber's
// script, which holds the law of hubs: received + missed + conflated + skipped is what was
// published since it joined.
//
// Owner:  the scenario. Thread: the simulation's. Bound: the scenario's.
// Errors: Simulation::Broken.
#ifndef SLUICE_SIM_SCENARIOS_FEED_H_
#define SLUICE_SIM_SCENARIOS_FEED_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/sim/world/client.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sim/world/simulation.h"

namespace sluice::sim {

inline constexpr int64_t kFilterStep = 3;  // Filters refuse each third number.
inline constexpr size_t kAsideBytes = 100;

// One subscription, as the server's side has it. (All threads of a simulation share their memory.)
struct Seat {
  std::optional<int64_t> joined;
  // What its hub had put in order when its session left: each of these is for it.
  std::optional<int64_t> ordered;
  std::optional<int64_t> left;    // The last one that was for it, as the hub has it.
  std::vector<int64_t> rejected;  // By its filter.
  std::optional<CloseReason> ended;
  bool closing = false;      // Its session has closed, and did not leave first.
  bool taken_along = false;  // Ended by the end of another.
};

namespace broadcast_scenario {
class Talker;
}

// What a subscriber who conflates had heard at the end: the last number of each key.
struct Newest {
  int64_t joined;
  std::map<std::string, int64_t> heard;
};

struct Feed {
  Simulation& simulation;
  int64_t messages;
  int64_t bytes_max;
  Ref<Hub> hub = {};
  int64_t published = 0;
  bool flooding = true;
  int64_t done_ns = 0;  // 0: not yet.
  std::deque<Seat> seats = {};
  // In the order of their coming.
  std::map<const Worker*, std::vector<broadcast_scenario::Talker*>> talkers = {};
  bool takes_along = false;                  // Who is ended as slow ends the first of these.
  bool closes = false;                       // Some sessions close while they are in the room.
  bool all_conflate = false;                 // With room for every key.
  std::map<std::string, int64_t> said = {};  // The last number of each key.
  std::vector<Newest> conflated = {};        // Without a filter.
};

// Of "m NUMBER KEY FILLER"; -1: it has none.
int64_t NumberOf(std::string_view payload);

// A client says `s SEAT POLICY QUEUE FILTER CLOSE` (its session closes so many ms later; 0: it does
// not), `l` to leave, `b` to leave for good, and `?` for an aside; it hears `m NUMBER KEY FILLER`,
// `x COUNT` for what it missed, `r` where it was not taken, `l` and `b`, and as an aside
// kAsideBytes of `?` and then, in a line of its own, `!`.
class Subscriber {
 public:
  Subscriber(Feed& feed, SimOs& machine, uint64_t seed);
  void Run();

 private:
  enum class Manner { kReads, kPauses, kStops };

  bool Join();
  bool Hear();
  const Seat& seat() const { return feed_.seats[seat_]; }
  int64_t Skipped(int64_t upto) const;
  int64_t HeardOf() const { return *seat().joined + received_ + missed_ + Skipped(INT64_MAX); }
  void CheckLeft();
  bool HeardAll();
  bool Take(const std::string& line);
  bool TakeMessage(const std::string& line);
  void Cut();
  void Broken(std::string_view law, std::string_view what);

  Feed& feed_;
  Random random_;
  Random closes_random_;
  Client client_;
  SlowPolicy policy_ = SlowPolicy::kPark;
  Manner manner_ = Manner::kReads;
  size_t seat_ = 0;
  std::optional<size_t> seat_before_;  // On the same connection.
  bool filters_ = false;
  bool joined_once_ = false;
  bool is_closed_ = false;  // Its session closes at some time.
  char leaving_ = 0;
  bool left_ = false;
  int64_t lines_left_ = 0;
  int64_t received_ = 0;
  int64_t missed_ = 0;
  std::optional<int64_t> first_;         // Where its count says that it joined.
  std::map<std::string, int64_t> last_;  // Number, by key where they conflate.
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_SCENARIOS_FEED_H_
