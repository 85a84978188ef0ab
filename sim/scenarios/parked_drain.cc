// A drain begins while a reader with policy park stands still, and sessions that publish to it are
// parked. Each publisher gets OnDrain when it may go on, the reader gets OnDrain when it has all
// that was published, and the drain ends soon after the reader goes on. If the reader stands still
// for longer than half of the drain's time, it misses the rest, and all get OnDrain then.
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/scenarios/watch.h"
#include "sluice/sim/world/client.h"
#include "sluice/sluice.h"

namespace sluice::sim::parked_drain_scenario {

namespace {

constexpr absl::Duration kDrainTimeout = absl::Seconds(20);
// After the start: by then all clients have come, and the path to the reader is full.
constexpr absl::Duration kDrainAfter = absl::Seconds(1);
// When publishers publish: some before the drain, most while the drain checks that nothing more
// comes.
constexpr absl::Duration kEarliest = -absl::Milliseconds(1);
constexpr absl::Duration kLatest = absl::Milliseconds(4);

struct Server {
  Simulation& simulation;
  int64_t drain_at_ns;
  Ref<Hub> hub = {};
  uint32_t queue = 0;
  Bytes piece = {};
  int64_t opened = 0;
  int64_t told = 0;
  bool subscribed = false;
  bool reader_told = false;
};

// The peer says in one byte what it is: a reader, or a publisher.
class Member : public Session {
 public:
  explicit Member(Server* server) : server_(*server) {}
  void OnOpen() override { ++server_.opened; }
  void OnData(Input& in) override {
    if (in.TakeAll() == "r") {
      reads_ = true;
      (void)Send(server_.hub, Subscribe(this, {.slow = SlowPolicy::kPark,
                                               .queue_messages_max = server_.queue,
                                               .park_timeout = absl::InfiniteDuration()}));
      return;
    }
    const int64_t left_ns = server_.drain_at_ns - server_.simulation.NowNs();
    const int64_t around_ns = server_.simulation.random().Between(
        absl::ToInt64Nanoseconds(kEarliest), absl::ToInt64Nanoseconds(kLatest));
    After(absl::Nanoseconds(left_ns + around_ns), [this] {
      (void)Send(server_.hub, Publish{server_.piece, ExceptOf(*this)});
    });
  }
  void On(Subscribed subscription) { server_.subscribed = subscription.Joined(); }
  void OnDrain() override {
    ++server_.told;
    server_.reader_told |= reads_;
    Close();
  }

 private:
  Server& server_;
  bool reads_ = false;
};

// Connects, says what it is, and starts reading at `reads_at_ns`.
void Visit(Server& server, SimOs& machine, std::string_view what, int64_t reads_at_ns) {
  const Door door = AnyDoor(server.simulation, machine);
  Client client(*door.machine, absl::Seconds(60));
  LimitBuffersBelow(client, server.simulation.random(), 8'000);
  if (!Allowed(server.simulation, client.Connect(door.address)) ||
      !Allowed(server.simulation, client.Write(what))) {
    return;
  }
  server.simulation.Sleep(absl::Nanoseconds(reads_at_ns - server.simulation.NowNs()));
  (void)Allowed(server.simulation, client.ReadToEnd().status());
}

}  // namespace

void Run(Simulation& simulation) {
  Server server{simulation, simulation.NowNs() + absl::ToInt64Nanoseconds(kDrainAfter)};
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 4)));
  options.output_bytes_high = simulation.Amount("output_high", 4'000, 64'000);
  options.output_bytes_low = options.output_bytes_high / 4;
  options.mailbox_messages_max = static_cast<uint32_t>(simulation.Amount("mailbox", 1, 8));
  server.queue = static_cast<uint32_t>(simulation.Amount("queue", 1, 4));
  server.piece = Bytes::Copy(std::string(simulation.Amount("piece", 1'000, 20'000), '-'));
  Site site(simulation, options);
  server.hub = site.runtime().Spawn<Hub>();
  site.runtime().Listen<Member>(kDoors, &server);
  if (!site.Start()) return;
  Crowd crowd(simulation, simulation.NewMachine("clients"));
  SimOs& machine = *simulation.machines().back();
  const bool late = simulation.Amount("late", 0, 2) == 0;
  const int64_t reads_at_ns = server.drain_at_ns +
                              1'000'000 * simulation.Amount("reads_after_ms", 20, 300) +
                              (late ? absl::ToInt64Nanoseconds(kDrainTimeout) / 2 : 0);
  crowd.Add("reader", [&] { Visit(server, machine, "r", reads_at_ns); });
  if (!Happens(site, "the reader subscribes", [&] { return server.subscribed; })) return;
  const int64_t publishers = simulation.Amount("publishers", 1, 12);
  for (int64_t i = publishers; i > 0; --i) {
    crowd.Add(absl::StrCat("publisher ", i), [&] { Visit(server, machine, "p", 0); });
  }
  // Fill up until the hub itself takes no more.
  while (server.hub.TrySend(Publish{.payload = server.piece, .except = {}}) == Answer::kAccepted) {
    simulation.Sleep(absl::Microseconds(200));
  }
  Happens(site, "all have come", [&] { return server.opened == publishers + 1; });
  simulation.Sleep(absl::Nanoseconds(server.drain_at_ns - simulation.NowNs()));
  site.runtime().Drain(kDrainTimeout);
  const int64_t took_ns = simulation.NowNs() - server.drain_at_ns;
  crowd.Join();
  site.End();
  if (took_ns > absl::ToInt64Nanoseconds(kDrainTimeout) / (late ? 1 : 2)) {
    simulation.Broken("drain", absl::StrCat("it took ", took_ns / 1'000'000, " ms"));
  }
  if (server.told != server.opened) {
    simulation.Broken("drain", absl::StrCat("of ", server.opened, " sessions ", server.told,
                                            " are notified of it"));
  }
  const HubTotals totals = HubLedger::Of(site.runtime());
  if (!late && server.reader_told && totals.received + totals.skipped != totals.published) {
    simulation.Broken("drain", "the reader is notified before it has all: " + totals.ToString());
  }
  const int64_t cut = ClosedFor(ConnectionsOf(site), CloseReason::kShutdown);
  if (cut != 0) simulation.Broken("drain", absl::StrCat(cut, " connections are cut short"));
}

}  // namespace sluice::sim::parked_drain_scenario
