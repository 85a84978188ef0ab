// Feed is shared by both sides of the broadcast scenario: the published messages, and a
// subscriber's script, which checks the law of hubs: received + missed + conflated + skipped equals
// the messages published since it joined.
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

// A subscription, seen from the server's side. (All threads of a simulation share memory.)
struct Seat {
  std::optional<int64_t> joined;
  // Messages that the hub had ordered when the session left: each of them is for it.
  std::optional<int64_t> ordered;
  std::optional<int64_t> left;    // The last message for it, by the hub.
  std::vector<int64_t> rejected;  // Rejected by its filter.
  std::optional<CloseReason> ended;
  bool closing = false;      // The session closed without leaving first.
  bool taken_along = false;  // Ended by the end of another session.
};

namespace broadcast_scenario {
class Talker;
}

// A conflating subscriber's newest messages at the end: the last number of each key.
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
  // In order of arrival.
  std::map<const Worker*, std::vector<broadcast_scenario::Talker*>> talkers = {};
  bool takes_along = false;   // Sessions that end as slow also end the first of these.
  bool closes = false;        // Some sessions close while subscribed.
  bool all_conflate = false;  // All conflate, with room for every key.
  std::map<std::string, int64_t> said = {};  // The last number of each key.
  std::vector<Newest> conflated = {};        // Subscribers without a filter.
};

// NUMBER of "m NUMBER KEY FILLER"; -1: none.
int64_t NumberOf(std::string_view payload);

// A client sends `s SEAT POLICY QUEUE FILTER CLOSE` (its session closes CLOSE ms later; 0: never),
// `l` to leave, `b` to leave for good, and `?` for an aside. It receives `m NUMBER KEY FILLER`, `x
// COUNT` for missed messages, `r` if it was refused, `l` and `b`, and as an aside kAsideBytes of
// `?` and then, in a line of its own, `!`.
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
  std::optional<size_t> seat_before_;  // The previous seat on this connection.
  bool filters_ = false;
  bool joined_once_ = false;
  bool is_closed_ = false;  // The session closes at some time.
  char leaving_ = 0;
  bool left_ = false;
  int64_t lines_left_ = 0;
  int64_t received_ = 0;
  int64_t missed_ = 0;
  std::optional<int64_t> first_;         // Where it joined, by its own count.
  std::map<std::string, int64_t> last_;  // Last number; by key if it conflates.
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_SCENARIOS_FEED_H_
