// Network connects simulated machines: which machine has an address, which listener is there, and
// how a connection is set up (SYN, queue of the listener, refusal, time-out).
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

// The host of an IPv4 or IPv6 address, as in its text.
std::string HostOf(const Address& address);
// 0.0.0.0 or [::]: for a listener, all addresses of its machine.
bool IsAny(const std::string& host);
bool IsLoopback(const std::string& host);  // 127.0.0.0/8 or [::1].

class Network {
 public:
  explicit Network(Simulation& simulation) : simulation_(simulation) {}

  void Connect(SimOs& machine);  // Makes the machine a part of the network.
  // From now on a name means these addresses, without ports, the best first; none: the name does
  // not exist. Like DNS, for all machines.
  void SetHost(const std::string& name, const std::vector<std::string>& addresses);
  const std::vector<Address>* HostNamed(const std::string& name) const;
  // Time that the name server takes, besides the way there and back.
  void SetLookUpTime(absl::Duration time) { look_up_time_ = time; }
  absl::Duration LookUpTime() const { return look_up_time_; }

  void CountLink(int change) { links_ += change; }
  // Connections that a descriptor, a queue or a segment on its way still refers to.
  int64_t Links() const { return links_; }

  // The machine's listener at the exact address or a wildcard; nullptr: none.
  std::shared_ptr<Listener> Find(SimOs& machine, const Address& address);
  // Begins to connect side 0, which has its file and names. Returns -EINPROGRESS for TCP; 0 or an
  // error at once for a UNIX socket.
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
