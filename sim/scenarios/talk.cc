#include "sluice/sim/scenarios/talk.h"

#include <utility>

namespace sluice::sim {

bool MayEndConnections(const Faults& faults) {
  return faults.reset != 0 || faults.vanish != 0 || faults.no_descriptor != 0 ||
         faults.unreachable != 0 || faults.lost_connect != 0 || faults.lost_lookup != 0;
}

void CalmOrHarsh(Simulation& simulation) {
  if (simulation.Amount("harsh", 0, 2) == 2) return;
  Faults& faults = simulation.faults;
  faults.reset = faults.vanish = faults.no_descriptor = faults.unreachable = faults.lost_connect =
      faults.lost_lookup = 0;
}

bool Allowed(Simulation& simulation, const absl::Status& status) {
  if (status.ok()) return true;
  if (!MayEndConnections(simulation.faults)) {
    simulation.Broken("L9 close", std::string(status.message()));
  }
  return false;
}

void LimitBuffersBelow(Client& client, Random& random, uint64_t below) {
  const auto receive_bytes = static_cast<int>(random.Below(below));
  const auto send_bytes = static_cast<int>(random.Below(below));
  client.LimitBuffers(send_bytes, receive_bytes);
}

std::string Pattern(int64_t client, int64_t round, size_t bytes) {
  std::string text(bytes, ' ');
  for (size_t i = 0; i < bytes; ++i) {
    text[i] = static_cast<char>('a' + (static_cast<size_t>(client * 7 + round * 3) + i) % 26);
  }
  return text;
}

ConnectionLedger::Totals ConnectionsOf(Site& site) {
  Runtime& runtime = site.runtime();
  return runtime.Attachment<ConnectionLedger>(runtime.WorkerCount()).Sum();
}

int64_t ClosedFor(const ConnectionLedger::Totals& totals, CloseReason reason) {
  return totals.closed[static_cast<size_t>(reason)];
}

Door AnyDoor(Simulation& simulation, SimOs& machine) {
  switch (simulation.random().Below(5)) {
    case 0:
      return {&machine, "[fd00::1]:7001", true};
    case 1:
      return {&simulation.os(), "unix:/run/door", false};
    case 2:
      return {&simulation.os(), "unix:@door", false};
    default:
      return {&machine, "10.0.0.1:7001", true};
  }
}

void Crowd::Add(std::string name, std::function<void()> script) {
  threads_.push_back(simulation_.StartThread(machine_, std::move(name), std::move(script)));
}

void Crowd::Join() {
  for (const ThreadId thread : std::exchange(threads_, {})) simulation_.Join(thread);
}

}  // namespace sluice::sim
