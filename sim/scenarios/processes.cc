// Several programs and their children: servers that find one stale file of a UNIX socket, a server
// that ends after its file was replaced, and a forked child that holds all descriptors while
// connections and listeners end.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/actors/connection/sockets.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/world/client.h"
#include "sluice/sluice.h"

namespace sluice::sim::processes_scenario {

namespace {

constexpr char kPath[] = "unix:/run/file";
// An end travels, and lingers; nothing here waits for a peer's time-out.
constexpr absl::Duration kSlack = absl::Seconds(2);

// --- One file.

absl::StatusOr<ListeningSocket> Serve(SimOs& os) {
  return OpenListening(os, *Address::Parse(kPath), Options());
}

// Also true if a client may fail for want of a descriptor.
bool Reaches(SimOs& os, const ListeningSocket& server) {
  if (MayEndConnections(os.simulation().faults)) return true;
  Client client(os);
  if (!client.Connect(kPath).ok()) return false;
  sockaddr_storage peer;
  socklen_t size = 0;
  const int accepted = os.Accept(server.fd.Get(), &peer, &size);
  if (accepted >= 0) os.Close(accepted);
  return accepted >= 0;
}

// Servers start at once on a file that a killed server left: one of them listens, and is reached.
void StartOnStaleFile(Simulation& simulation) {
  SimOs& os = simulation.os();
  {
    const auto killed = Serve(os);
    if (!killed.ok()) return;  // No descriptor was free.
  }
  const int64_t count = simulation.Amount("servers", 2, 5);
  std::vector<absl::StatusOr<ListeningSocket>> servers(static_cast<size_t>(count));
  Crowd crowd(simulation, os);
  for (int64_t i = 0; i < count; ++i) {
    crowd.Add(absl::StrCat("server ", i), [&, i] {
      simulation.Sleep(absl::Nanoseconds(simulation.random().Below(3'000)));
      servers[static_cast<size_t>(i)] = Serve(os);
    });
  }
  crowd.Join();
  int listening = 0;
  for (auto& server : servers) {
    if (!server.ok()) continue;
    ++listening;
    if (!Reaches(os, *server)) {
      simulation.Broken("files", "a server listens on a file that is another's");
    }
  }
  if (listening > 1) {
    simulation.Broken("files", absl::StrCat(listening, " servers listen on one file"));
  }
  for (auto& server : servers) {
    if (server.ok()) EndListening(os, *server);
  }
  if (listening > 0 && os.HasFile(kPath)) {
    simulation.Broken("files", "the file of a server that has ended is still there");
  }
  os.RemoveFile(kPath);
}

// The file of a server is removed, and a successor takes the name: the successor's file must stay.
void EndAfterSuccessor(Simulation& simulation) {
  SimOs& os = simulation.os();
  auto old = Serve(os);
  os.RemoveFile(kPath);
  auto successor = Serve(os);
  if (old.ok()) EndListening(os, *old);
  if (!successor.ok()) return;
  if (!Reaches(os, *successor)) {
    simulation.Broken("files", "the end of an old server takes the file of the new one");
  }
  EndListening(os, *successor);
}

// --- A child.

// The first byte says how the session ends.
class Obeys : public Session {
 public:
  void OnData(Input& in) override {
    const std::string_view order = in.TakeAll();
    if (order == "a") Abort();
    if (order == "c") Close();
    if (order == "e") WriteOrAbort(order);
  }
};

void Talk(Simulation& simulation, SimOs& machine, const std::string& address, char order) {
  Client client(machine, absl::Seconds(20));
  const bool harsh = MayEndConnections(simulation.faults);
  if (!Allowed(simulation, client.Connect(address))) return;
  if (!Allowed(simulation, client.Write("e"))) return;
  if (!Allowed(simulation, client.ReadExactly(1).status())) return;
  simulation.os().Fork();
  if (!Allowed(simulation, client.Write(std::string(1, order)))) return;
  if (order == 'f') {
    if (!Allowed(simulation, client.CloseWrite())) return;
  }
  const absl::StatusOr<std::string> end = client.ReadToEnd();
  if (harsh) return;
  if (absl::IsDeadlineExceeded(end.status())) {
    simulation.Broken(
        "L9 close",
        absl::StrCat("order ", std::string(1, order), " at ", address,
                     ": the peer is not notified of the end while a child holds the descriptor"));
  } else if (order == 'a' && end.ok() && address.rfind("unix", 0) != 0) {
    simulation.Broken("L9 close", "an abort that a child held looks like an end");
  }
}

void EndWhileForked(Simulation& simulation) {
  SimOs& os = simulation.os();
  Options options = SmallOptions(2);
  options.idle_timeout = absl::Seconds(3);
  Site site(simulation, options);
  site.runtime().Listen<Obeys>(kDoors);
  if (!site.Start()) return;
  SimOs& machine = simulation.NewMachine("client");
  const Door door = AnyDoor(simulation, machine);
  // i: stays silent; f: the client ends its side first.
  constexpr char kOrders[] = {'a', 'c', 'i', 'f'};
  Crowd crowd(simulation, *door.machine);
  crowd.Add("client", [&, order = kOrders[simulation.random().Below(4)]] {
    Talk(simulation, *door.machine, door.address, order);
  });
  crowd.Join();
  os.EndChild();
  // A child of the ended server holds its listeners.
  os.Fork();
  site.End();
  Client late(*door.machine, kSlack);
  const absl::Status connected = late.Connect(door.address);
  if (connected.ok()) {
    simulation.Broken("drain", absl::StrCat(door.address, ": a client connects after the drain"));
  }
  late.Close();
  os.EndChild();
}

}  // namespace

void Run(Simulation& simulation) {
  CalmOrHarsh(simulation);
  switch (simulation.Amount("case", 0, 2)) {
    case 0:
      simulation.faults.preempt = 300'000;  // Threads must meet in the middle of the calls.
      for (int64_t i = simulation.Amount("rounds", 1, 4); i > 0; --i) StartOnStaleFile(simulation);
      break;
    case 1:
      EndAfterSuccessor(simulation);
      break;
    default:
      EndWhileForked(simulation);
  }
}

}  // namespace sluice::sim::processes_scenario
