#include "sluice/sim/world/network.h"

#include <cerrno>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sim/world/simulation.h"

namespace sluice::sim {

namespace {

// tcp_syn_retries = 6: the SYN is sent again after 1, 2, 4, ... 32 s. Linux then waits 64 s more,
// 127 s in all; here the connect fails when the last SYN finds no answer, after 63 s.
constexpr int kSynAttemptsMax = 7;
constexpr int64_t kSynRetryNs = 1'000'000'000;

}  // namespace

std::string HostOf(const Address& address) {
  const std::string text = address.ToString();
  return text.substr(0, text.rfind(':'));
}

bool IsAny(const std::string& host) { return host == "0.0.0.0" || host == "[::]"; }

bool IsLoopback(const std::string& host) { return host.rfind("127.", 0) == 0 || host == "[::1]"; }

void Network::Connect(SimOs& machine) {
  for (const auto& address : machine.addresses()) machines_[HostOf(*address)] = &machine;
}

void Network::SetHost(const std::string& name, const std::vector<std::string>& addresses) {
  std::vector<Address>& host = hosts_[name];
  host.clear();
  for (const std::string& address : addresses) host.push_back(*Address::Parse(address + ":0"));
  if (host.empty()) hosts_.erase(name);
}

const std::vector<Address>* Network::HostNamed(const std::string& name) const {
  const auto found = hosts_.find(name);
  return found == hosts_.end() ? nullptr : &found->second;
}

SimOs* Network::MachineAt(SimOs& from, const Address& to) {
  const std::string host = HostOf(to);
  if (IsAny(host) || IsLoopback(host)) return &from;
  const auto found = machines_.find(host);
  return found == machines_.end() ? nullptr : found->second;
}

std::shared_ptr<Listener> Network::Find(SimOs& machine, const Address& address) {
  const std::string port = absl::StrCat(":", address.port());
  if (auto exact = machine.ListenerAt(address.ToString()); exact != nullptr) return exact;
  if (address.family() == AF_INET) {
    if (auto any = machine.ListenerAt("0.0.0.0" + port); any != nullptr) return any;
  }
  auto any = machine.ListenerAt("[::]" + port);
  return any == nullptr || (address.family() == AF_INET && any->options.ip6_only) ? nullptr : any;
}

int Network::Begin(const std::shared_ptr<Link>& link, SimOs& from, const Address& to) {
  link->machines[0] = &from;
  if (to.family() == AF_UNIX) return BeginUnix(link, from, to);
  const Faults& faults = simulation_.faults;
  if (simulation_.random().Chance(faults.unreachable)) return -ENETUNREACH;
  link->names[1] = {std::make_shared<const Address>(to), to.port()};
  link->machines[1] = MachineAt(from, to);
  if (simulation_.random().Chance(faults.lost_connect)) link->machines[1] = nullptr;
  Syn(link);
  return -EINPROGRESS;
}

// The SYN arrives a little later; it is sent again while nobody answers.
void Network::Syn(const std::shared_ptr<Link>& link) {
  const Faults& faults = simulation_.faults;
  int64_t at_ns =
      simulation_.NowNs() + simulation_.random().Between(faults.delay_ns_min, faults.delay_ns_max);
  if (link->attempts > 0) at_ns += kSynRetryNs << (link->attempts - 1);
  simulation_.Post(
      at_ns, link,
      [](void* object, uint64_t) {
        auto* syn = static_cast<Link*>(object);
        if (!syn->Closed(0))
          syn->machines[0]->simulation().network().Queue(syn->shared_from_this());
      },
      0);
}

void Network::Queue(const std::shared_ptr<Link>& link) {
  SimOs* const to = link->machines[1];
  const bool heard = to != nullptr && to->plugged() && link->machines[0]->plugged();
  std::shared_ptr<Listener> listener = heard ? Find(*to, link->names[1].Whole()) : nullptr;
  if (heard && listener == nullptr) {
    if (to == link->machines[0] && link->names[0].Whole() == link->names[1].Whole()) {
      link->MeetItself();
      return;
    }
    link->Fail(0, ECONNREFUSED);
    return;
  }
  if (!heard || listener->Full()) {  // A full queue drops the SYN, as tcp_conn_request() does.
    if (++link->attempts == kSynAttemptsMax) {
      link->Fail(0, ETIMEDOUT);
    } else {
      Syn(link);
    }
    return;
  }
  ++listener->coming;
  link->listener = listener;
  const Faults& faults = simulation_.faults;
  const auto delay = [&] {
    return simulation_.random().Between(faults.delay_ns_min, faults.delay_ns_max);
  };
  const int64_t back_ns = delay();
  const int64_t known_ns = simulation_.NowNs() + back_ns;
  simulation_.Post(
      known_ns, link,
      [](void* object, uint64_t) {
        auto* made = static_cast<Link*>(object);
        if (!made->Closed(0)) made->SetUp(0);
      },
      0);
  const int64_t forth_ns = delay();
  link->Measured(1, back_ns);
  link->Measured(0, forth_ns);
  link->Measure();
  simulation_.Post(
      known_ns + forth_ns, link,
      [](void* object, uint64_t) {
        auto* made = static_cast<Link*>(object);
        const std::shared_ptr<Listener> at = std::exchange(made->listener, {}).lock();
        if (at != nullptr) --at->coming;
        if (!made->Up(0)) return;  // The connecting side gave up meanwhile.
        if (at == nullptr || at->machine == nullptr || at->shut) {
          made->Reset(1);
          return;
        }
        made->SetUp(1);
        at->queue.push_back(made->shared_from_this());
        at->Changed();
      },
      0);
}

int Network::BeginUnix(const std::shared_ptr<Link>& link, SimOs& from, const Address& to) {
  const std::shared_ptr<Listener> listener = from.ListenerAt(to.ToString());
  if (listener == nullptr) {
    return to.IsUnixPath() && !from.HasFile(to.ToString()) ? -ENOENT : -ECONNREFUSED;
  }
  if (listener->Full()) return -EAGAIN;
  link->names[1] = listener->name;
  link->machines[1] = &from;
  link->SetUp(0);
  link->SetUp(1);
  listener->queue.push_back(link);
  listener->Changed();
  return 0;
}

}  // namespace sluice::sim
