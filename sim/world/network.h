// Network is how simulated machines reach each other: which machine has an address, who listens
// there, and how a connection comes to be (SYN, queue of the listener, refusal, time-out).
//
// Owner:  the Simulation.
// Thread: the simulation's.
// Bound:  each listener's queue, by its backlog.
// Errors: values, as the kernel's.
#ifndef SLUICE_SIM_WORLD_NETWORK_H_
#define SLUICE_SIM_WORLD_NETWORK_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sluice/core/os/address.h"
#include "sluice/sim/world/link.h"

namespace sluice::sim {

class Simulation;
class SimOs;

// Of an IPv4 or IPv6 address; as its text has it.
std::string HostOf(const Address& address);
bool IsAny(const std::string& host);       // 0.0.0.0 or [::]: to a listener, each of its machine's.
bool IsLoopback(const std::string& host);  // 127.0.0.0/8 or [::1].

class Network {
 public:
  explicit Network(Simulation& simulation) : simulation_(simulation) {}

  void Connect(SimOs& machine);  // The machine is part of it from now on.
  // What a host's name stands for from now on: addresses without ports, the best first; none: there
  // is no such name. As DNS has it, for all machines.
  void SetHost(const std::string& name, const std::vector<std::string>& addresses);
  const std::vector<Address>* HostNamed(const std::string& name) const;
  // How long the name server takes, beside the way there and back.
  void SetLookUpTime(absl::Duration time) { look_up_time_ = time; }
  absl::Duration LookUpTime() const { return look_up_time_; }

  void CountLink(int change) { links_ += change; }
  // Connections that somebody still knows of: a descriptor, a queue, or a segment on its way.
  int64_t Links() const { return links_; }

  // A listener of the machine, under its exact address or a wildcard; nullptr: none.
  std::shared_ptr<Listener> Find(SimOs& machine, const Address& address);
  // Begins to connect side 0, whose file and names are there. -EINPROGRESS for TCP; 0 or an error
  // at once for a UNIX socket.
  int Begin(const std::shared_ptr<Link>& link, SimOs& from, const Address& to);

 private:
  SimOs* MachineAt(SimOs& from, const Address& to);
  void Syn(const std::shared_ptr<Link>& link);
  void Queue(const std::shared_ptr<Link>& link);
  int BeginUnix(const std::shared_ptr<Link>& link, SimOs& from, const Address& to);

  Simulation& simulation_;
  int64_t links_ = 0;
  std::map<std::string, SimOs*> machines_;  // By their addresses, without ports.
  std::map<std::string, std::vector<Address>> hosts_;
  absl::Duration look_up_time_ = absl::ZeroDuration();
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_WORLD_NETWORK_H_
