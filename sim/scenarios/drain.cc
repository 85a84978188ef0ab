// A drain at any moment, under load. All input that had arrived is answered, no new client is
// served, and the drain ends before its deadline unless a peer stands still.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/world/client.h"
#include "sluice/sluice.h"

namespace sluice::sim::drain_scenario {

namespace {

constexpr absl::Duration kDrainTimeout = absl::Seconds(20);
constexpr absl::Duration kPause = absl::Milliseconds(100);
// A client that stuffs its socket writes so much, so often; then the socket is full.
constexpr size_t kStuffedBytes = 8'000;
constexpr int kStuffedTimes = 64;

struct Server {
  Simulation& simulation;
  Random& random;
  Ref<Hub> hub = {};
  int64_t drain_ns = 0;  // When the drain was asked for; 0: not yet.
  int64_t ended_ns = 0;
  int64_t standing = 0;  // Clients that stand still, or talk on.
};

// Hides RunUntilSignal's output: its addresses on stdout, its errors on stderr.
class Silence {
 public:
  Silence() : nothing_(open("/dev/null", O_WRONLY | O_CLOEXEC)) {
    std::fflush(nullptr);
    for (int fd : {1, 2}) {
      kept_[fd - 1] = dup(fd);
      dup2(nothing_, fd);
    }
  }
  ~Silence() {
    std::fflush(nullptr);
    for (int fd : {1, 2}) {
      dup2(kept_[fd - 1], fd);
      close(kept_[fd - 1]);
    }
    close(nothing_);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

 private:
  const int nothing_;
  int kept_[2];
};

// Echoes its input, and publishes a message to the hub now and then.
class Speaker : public Session {
 public:
  explicit Speaker(Server* server) : server_(*server) {}
  void OnOpen() override {
    if (server_.random.Below(2) == 0) (void)Send(server_.hub, Subscribe(this));
  }
  void On(Subscribed) {}
  void OnData(Input& in) override {
    const std::string_view bytes = in.TakeAll();
    WriteOrAbort(bytes);
    if (server_.random.Below(4) == 0) {
      (void)Send(server_.hub, Publish{Bytes::Copy("-"), ExceptOf(*this)});
    }
  }

 private:
  Server& server_;
};

// Drops the hub's messages.
std::string Own(std::string text) {
  std::erase(text, '-');
  return text;
}

// Writes until the socket is full, and reads only in the drain, with a half-close first or without.
// All that it wrote is answered, also bytes that its kernel could not send before.
void Stuff(Server& server, Client& client, int64_t number) {
  Simulation& simulation = server.simulation;
  std::string sent;
  for (int64_t i = 0; i < kStuffedTimes && server.drain_ns == 0; ++i) {
    const std::string more = Pattern(number, i, kStuffedBytes);
    sent += more.substr(0, client.WriteSome(more));
    if (server.random.Below(4) == 0) simulation.Sleep(kPause / 20);
  }
  const bool before = server.drain_ns == 0;
  while (server.drain_ns == 0) simulation.Sleep(kPause / 10);
  if (server.random.Below(2) == 0) simulation.Sleep(kPause);
  if (server.random.Below(2) == 0) (void)client.CloseWrite();
  std::string read;
  absl::Status status;
  for (bool ended = false; !ended;) {
    const absl::StatusOr<std::string> some = client.Read();
    status = some.status();
    if (!status.ok()) break;
    ended = some->empty();
    read += Own(*some);
  }
  if (MayEndConnections(simulation.faults)) return;
  if (sent.compare(0, read.size(), read) != 0) {
    simulation.Broken("L2 order", "an echo differs from what was sent");
  }
  if (before && read.size() < sent.size()) {
    simulation.Broken("drain", absl::StrCat("of ", sent.size(), " bytes that one had stuffed ",
                                            read.size(), " are answered: ", status.ToString()));
  }
}

void Talk(Server& server, SimOs& machine, int64_t number) {
  Simulation& simulation = server.simulation;
  const Door door = AnyDoor(simulation, machine);
  Client client(*door.machine, absl::Seconds(60));
  simulation.Sleep(absl::Microseconds(server.random.Below(50'000)));
  const int64_t round_trip_ns = 2 * simulation.faults.delay_ns_max;
  const bool near = round_trip_ns < absl::ToInt64Nanoseconds(kPause / 50);
  const auto receive_bytes = static_cast<int>(server.random.Below(8'000));
  // From far away a small window would take longer than a drain.
  if (near && server.random.Below(2) == 0) client.LimitBuffers(0, receive_bytes);
  const bool late = server.ended_ns != 0;
  std::string sent;
  std::string sure;  // Written before the drain, so it must be answered.
  std::string read;
  absl::Status status = client.Connect(door.address);
  if (!status.ok()) {
    if (server.drain_ns == 0) Allowed(simulation, status);
    return;
  }
  if (late) simulation.Broken("drain", "a listener is open though the drain is over");
  // Until then only this side knows of the connection.
  simulation.Sleep(absl::Nanoseconds(round_trip_ns));
  const bool stands = server.random.Below(6) == 0;
  const bool late_reader = server.random.Below(3) == 0;
  const bool talks_on = server.random.Below(6) == 0;
  if (!stands && server.random.Below(4) == 0) {
    Stuff(server, client, number);
    return;
  }
  bool ended = false;
  bool counted = false;
  for (int64_t round = 0; status.ok() && !ended && round < 1'000; ++round) {
    const std::string more =
        absl::StrCat(Pattern(number, round, 1 + server.random.Below(3'000)), ";");
    // In a drain few clients write more. A client with unread answers does not: neither side would
    // read.
    if (server.drain_ns == 0 || (talks_on && (!late_reader || Own(read).size() == sent.size()))) {
      if (server.drain_ns != 0 && !counted) {
        counted = true;
        ++server.standing;
      }
      status = client.Write(more);
      if (!status.ok()) break;
      sent += more;
      if (server.drain_ns == 0) sure = sent;
    } else if (Own(read).size() == sent.size()) {
      const absl::StatusOr<std::string> rest = client.ReadToEnd();
      status = rest.status();
      if (status.ok()) read += *rest;
      break;
    }
    // Much input waits in the kernel, as nobody reads the answers.
    if (late_reader && server.drain_ns == 0 && round < 20) continue;
    if (late_reader) simulation.Sleep(absl::Milliseconds(server.random.Below(200)));
    if (stands && server.drain_ns == 0 && round == 3) {
      // Stops reading until the drain is over.
      ++server.standing;
      while (server.ended_ns == 0) simulation.Sleep(absl::Milliseconds(50));
      client.Close();
      return;
    }
    if (server.random.Below(3) == 0) simulation.Sleep(kPause);
    while (Own(read).size() < sent.size() && !ended) {
      const absl::StatusOr<std::string> some = client.Read();
      status = some.status();
      if (!status.ok()) break;
      ended = some->empty();
      read += *some;
      if (server.drain_ns == 0 && ended) {
        Allowed(simulation, absl::UnavailableError("an end before the drain"));
      }
    }
  }
  if (MayEndConnections(simulation.faults)) return;
  read = Own(read);
  if (sent.compare(0, read.size(), read) != 0) {
    simulation.Broken("L2 order", "an echo differs from what was sent");
  }
  if (read.size() < sure.size()) {
    simulation.Broken("drain", absl::StrCat("of ", sure.size(), " bytes that were sent before it ",
                                            read.size(), " are answered: ", status.ToString()));
  }
  if (server.drain_ns == 0) Allowed(simulation, status);
}

}  // namespace

void Run(Simulation& simulation) {
  CalmOrHarsh(simulation);
  Server server{simulation, simulation.random()};
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 4)));
  options.drain_timeout = kDrainTimeout;
  options.output_bytes_high = simulation.Amount("output_high", 2'000, 64'000);
  options.output_bytes_low = options.output_bytes_high / 4;
  options.mailbox_messages_max = static_cast<uint32_t>(simulation.Amount("mailbox", 1, 32));
  Site site(simulation, options);
  Runtime& runtime = site.runtime();
  server.hub = runtime.Spawn<Hub>();
  runtime.Listen<Speaker>(kDoors, &server);
  // In half of the runs clients are far away and a round trip takes time.
  simulation.faults.windows_travel = true;
  if (simulation.Amount("far", 0, 1) == 1) {
    simulation.faults.delay_ns_max = simulation.Amount("delay_us", 1'000, 60'000) * 1'000;
    simulation.faults.delay_ns_min = simulation.faults.delay_ns_max / 2;
  }
  const bool by_signal = simulation.Amount("by_signal", 0, 1) == 1;
  if (!by_signal && !site.Start()) return;
  Crowd crowd(simulation, simulation.NewMachine("clients"));
  SimOs& machine = *simulation.machines().back();
  for (int64_t i = simulation.Amount("clients", 1, 12); i > 0; --i) {
    crowd.Add(absl::StrCat("client ", i), [&, i] { Talk(server, machine, i); });
  }
  const absl::Duration when = absl::Microseconds(simulation.Amount("drain_after", 0, 400'000));
  if (by_signal) {
    simulation.At(when, [&] {
      server.drain_ns = simulation.NowNs();
      site.os().Signal(simulation.seed() % 2 == 0 ? SIGTERM : SIGHUP);
    });
    int code = 0;
    {
      const Silence silence;
      code = runtime.RunUntilSignal();
    }
    if (code != 0 && !MayEndConnections(simulation.faults) && simulation.faults.no_thread == 0) {
      simulation.Broken("drain", absl::StrCat("the exit code is ", code));
    }
  } else {
    simulation.Sleep(when);
    server.drain_ns = simulation.NowNs();
    runtime.Drain(kDrainTimeout);
  }
  server.ended_ns = simulation.NowNs();
  const int64_t took_ns = server.ended_ns - server.drain_ns;
  const bool waits = server.standing > 0 || MayEndConnections(simulation.faults);
  if (took_ns > absl::ToInt64Nanoseconds(kDrainTimeout + absl::Seconds(1)) ||
      (!waits && took_ns > absl::ToInt64Nanoseconds(kDrainTimeout) / 2)) {
    simulation.Broken("drain", absl::StrCat("it took ", took_ns / 1'000'000, " ms"));
  }
  crowd.Join();
  site.End();
  const ConnectionLedger::Totals totals = ConnectionsOf(site);
  if (totals.Open() != 0 || totals.BytesHeld() != 0) {
    simulation.Broken("L1 ledger", totals.ToString());
  }
}

}  // namespace sluice::sim::drain_scenario
