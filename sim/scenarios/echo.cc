// Every byte that a client sends comes back, in order and once, whatever the network does to it.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/actors/acceptor.h"
#include "sluice/sim/client.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/site.h"

namespace sluice::sim {

namespace {

class Echo : public Session {
  void OnData(Input& in) override { Write(in.TakeAll()); }
};

// An error is a broken law, unless this run's network may end a connection.
bool Allowed(Simulation& simulation, const absl::Status& status) {
  if (status.ok()) return true;
  if (!MayEndConnections(simulation.faults)) {
    simulation.Broken("L9 close", std::string(status.message()));
  }
  return false;
}

std::string Pattern(int64_t client, int64_t round, size_t bytes) {
  std::string text(bytes, ' ');
  for (size_t i = 0; i < bytes; ++i) {
    text[i] = static_cast<char>('a' + (static_cast<size_t>(client * 7 + round * 3) + i) % 26);
  }
  return text;
}

void TalkTo(Simulation& simulation, SimOs& machine, int64_t number, int64_t rounds) {
  Client client(machine);
  if (!Allowed(simulation, client.Connect("10.0.0.1:7001"))) return;
  for (int64_t round = 0; round < rounds; ++round) {
    const std::string sent =
        Pattern(number, round, 1 + static_cast<size_t>(simulation.random().Below(20'000)));
    if (!Allowed(simulation, client.Write(sent))) return;
    const absl::StatusOr<std::string> read = client.ReadExactly(sent.size());
    if (!Allowed(simulation, read.status())) return;
    if (*read != sent) simulation.Broken("L2 order", "an echo differs from what was sent");
  }
  switch (simulation.random().Below(3)) {
    case 0: {
      if (!Allowed(simulation, client.CloseWrite())) return;
      const absl::StatusOr<std::string> rest = client.ReadToEnd();
      if (Allowed(simulation, rest.status()) && !rest->empty()) {
        simulation.Broken("L9 close", "bytes came after the last echo");
      }
      return;
    }
    case 1:
      client.Reset();
      return;
    default:
      return;
  }
}

}  // namespace

void RunEcho(Simulation& simulation) {
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 4)));
  Site site(simulation, options);
  site.runtime().Listen<Echo>("10.0.0.1:7001");
  if (!site.Start()) return;
  SimOs& machine = simulation.NewMachine("clients");
  std::vector<ThreadId> clients;
  const int64_t rounds = simulation.Amount("rounds", 1, 6);
  for (int64_t i = simulation.Amount("clients", 1, 8); i > 0; --i) {
    clients.push_back(simulation.StartThread(machine, absl::StrCat("client ", i),
                                             [&, i] { TalkTo(simulation, machine, i, rounds); }));
  }
  for (const ThreadId client : clients) simulation.Join(client);
  site.End();
}

}  // namespace sluice::sim
