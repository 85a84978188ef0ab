// Ten times what a small server can hold: connections, lines, and readers that stop. A client that
// reads is served to the end, each other end has one of the reasons of overload, the budget holds,
// and after the flood all clients get in.
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/base/strings.h"
#include "sluice/protocols/line_session.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/world/client.h"
#include "sluice/sluice.h"

namespace sluice::sim::overload_scenario {

namespace {

constexpr size_t kLineBytesMax = 4'000;
constexpr int kStoppedLines = 500;  // More than all buffers hold.

struct Line {
  std::string text;
};

// All sessions send to this actor, which has a small mailbox.
class Sink : public Actor {
 public:
  void On(Line) {}
};

class Speaker : public LineSession {
 public:
  explicit Speaker(Ref<Sink> sink) : LineSession(kLineBytesMax), sink_(sink) {}
  void OnLine(std::string_view line) override {
    // The answer does not depend on the sink: the line is answered even if Send is refused.
    (void)Send(sink_, Line{std::string(line)});
    WriteOrAbort(absl::StrCat(ToAbsl(line), "\n"));
  }

 private:
  const Ref<Sink> sink_;
};

struct Flood {
  Simulation& simulation;
  Random& random;
  bool over = false;
};

// True: the client was served to the end.
bool Reads(Flood& flood, Client& client, int64_t number, int64_t lines) {
  bool served = false;
  for (int64_t i = 0; i < lines; ++i) {
    const std::string line = Pattern(number, i, 1 + flood.random.Below(kLineBytesMax - 1));
    if (client.Write(line + "\n").ok()) {
      const absl::StatusOr<std::string> answer = client.ReadLine();
      if (answer.ok()) {
        served = true;
        if (*answer != line) flood.simulation.Broken("L2 order", "a line came back as another one");
        continue;
      }
      if (served) Allowed(flood.simulation, answer.status());
    } else if (served) {
      Allowed(flood.simulation, absl::UnavailableError("a client that was served is cut off"));
    }
    return false;
  }
  return true;
}

// Writes as much as the kernel takes, and reads nothing until the flood is over.
void Stops(Flood& flood, Client& client, int64_t number) {
  const std::string lines = Pattern(number, 0, kLineBytesMax - 1) + "\n";
  for (int i = 0; i < kStoppedLines && !flood.over && client.Write(lines).ok(); ++i) {
  }
  while (!flood.over) flood.simulation.Sleep(absl::Seconds(1));
  if (flood.random.Below(2) == 0) client.Reset();
}

void Come(Flood& flood, SimOs& machine, int64_t number, int64_t lines, bool stops) {
  const Door door = AnyDoor(flood.simulation, machine);
  flood.simulation.Sleep(absl::Milliseconds(flood.random.Below(100)));
  // A client that stops gives up on a write soon.
  Client client(*door.machine, stops ? absl::Milliseconds(200) : absl::Minutes(2));
  if (flood.random.Below(2) == 0) {
    LimitBuffersBelow(client, flood.random, 16'000);
  }
  for (int tries = 0; tries < 5; ++tries) {
    if (client.Connect(door.address).ok()) {
      if (stops) return Stops(flood, client, number);
      if (Reads(flood, client, number, lines)) return;
    }
    flood.simulation.Sleep(absl::Milliseconds(flood.random.Below(50)));
  }
}

void ComeAfterwards(Flood& flood, SimOs& machine, int64_t number) {
  const Door door = AnyDoor(flood.simulation, machine);
  Client client(*door.machine, absl::Minutes(2));
  // Each peer that vanishes costs the client its time-out.
  const absl::Duration bound =
      MayEndConnections(flood.simulation.faults) ? absl::Hours(2) : absl::Minutes(5);
  const int64_t start_ns = flood.simulation.NowNs();
  while (!client.Connect(door.address).ok() || !Reads(flood, client, number, 5)) {
    flood.simulation.Sleep(absl::Milliseconds(100));
    if (flood.simulation.NowNs() - start_ns < absl::ToInt64Nanoseconds(bound)) continue;
    flood.simulation.Broken("L5 progress", "no client is served though the flood is over");
    return;
  }
}

}  // namespace

void Run(Simulation& simulation) {
  CalmOrHarsh(simulation);
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 3)));
  options.max_connections = simulation.Amount("limit", 1, 40);
  options.at_limit = simulation.Amount("waits", 0, 1) == 0 ? AtLimit::kRefuse : AtLimit::kWait;
  options.output_bytes_high = simulation.Amount("output_high", 4'000, 64'000);
  // A session must always have room to answer one read.
  options.output_bytes_max = options.output_bytes_high + kReadHeadroomBytes;
  options.output_bytes_low = options.output_bytes_high / 4;
  options.mailbox_messages_max = static_cast<uint32_t>(simulation.Amount("mailbox", 1, 16));
  options.idle_timeout = absl::Minutes(1);
  options.linger_timeout = absl::Seconds(1);
  options.memory_bytes_max = options.MemoryBytesMin() + simulation.Amount("memory", 0, 200'000);
  Flood flood{simulation, simulation.random()};
  Site site(simulation, options);
  Runtime& runtime = site.runtime();
  const auto sink = runtime.Spawn<Sink>();
  runtime.Listen<Speaker>(kDoors, sink);
  if (!site.Start()) return;
  simulation.AfterEachStep([&simulation, &runtime] {
    if (runtime.budget().UsedBytes() > runtime.budget().BytesMax()) {
      simulation.Broken("L3 bound", "more memory is used than the budget has");
    }
  });
  SimOs& machine = simulation.NewMachine("clients");
  Crowd stopped(simulation, machine);
  for (int64_t i = simulation.Amount("stopped", 0, 40); i > 0; --i) {
    stopped.Add(absl::StrCat("stops ", i), [&, i] { Come(flood, machine, i, 0, true); });
  }
  {
    Crowd crowd(simulation, machine);
    const int64_t lines = simulation.Amount("lines", 1, 40);
    for (int64_t i = simulation.Amount("clients", 1, 30); i > 0; --i) {
      crowd.Add(absl::StrCat("client ", i), [&, i] { Come(flood, machine, i, lines, false); });
    }
  }
  flood.over = true;
  stopped.Join();
  {
    Crowd crowd(simulation, machine);
    for (int64_t i = simulation.Amount("again", 1, 10); i > 0; --i) {
      crowd.Add(absl::StrCat("again ", i), [&, i] { ComeAfterwards(flood, machine, i); });
    }
  }
  site.End();
  if (MayEndConnections(simulation.faults)) return;
  const ConnectionLedger::Totals totals = ConnectionsOf(site);
  for (const CloseReason reason : {CloseReason::kFailed, CloseReason::kDeadPeer, CloseReason::kSlow,
                                   CloseReason::kMemory, CloseReason::kError}) {
    if (ClosedFor(totals, reason) != 0) simulation.Broken("L9 close", totals.ToString());
  }
}

}  // namespace sluice::sim::overload_scenario
