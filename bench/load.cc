#include "sluice/bench/load.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <chrono>

namespace sluice::bench {
namespace {

constexpr int kEventsMax = 256;

double PerMessage(int64_t before, int64_t after, int64_t messages) {
  return before < 0 ? -1 : static_cast<double>(after - before) / static_cast<double>(messages);
}

}  // namespace

Load::Load(const std::string& address, int connections, int message_bytes)
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      message_(static_cast<size_t>(message_bytes), 'x'),
      missing_(static_cast<size_t>(connections), 0) {
  for (int i = 0; i < connections; ++i) {
    sockets_.emplace_back(address);
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u64 = static_cast<uint64_t>(i);
    epoll_ctl(epoll_, EPOLL_CTL_ADD, sockets_.back().fd(), &event);
  }
}

Load::~Load() { close(epoll_); }

void Load::Exchange(int64_t messages) {
  int64_t started = 0;
  for (size_t i = 0; i < sockets_.size() && started < messages; ++i, ++started) {
    sockets_[i].SendAll(message_);
    missing_[i] = message_.size();
  }
  std::string buffer(message_.size(), '\0');
  epoll_event events[kEventsMax];
  for (int64_t finished = 0; finished < messages;) {
    const int count = epoll_wait(epoll_, events, kEventsMax, -1);
    for (int e = 0; e < count; ++e) {
      const size_t i = events[e].data.u64;
      missing_[i] -= sockets_[i].Receive(buffer.data(), missing_[i]);
      if (missing_[i] > 0) continue;
      ++finished;
      if (started >= messages) continue;
      ++started;
      sockets_[i].SendAll(message_);
      missing_[i] = message_.size();
    }
  }
}

Cost Measure(const ServerProcess& server, Load& load, int64_t messages) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t processor_ns = server.ProcessorNs();
  const int64_t system_calls = server.SystemCalls();
  const int64_t allocations = server.Allocations();
  const int64_t voluntary = server.VoluntarySwitches();
  const int64_t involuntary = server.InvoluntarySwitches();
  load.Exchange(messages);
  Cost cost;
  cost.processor_ns = PerMessage(processor_ns, server.ProcessorNs(), messages);
  cost.system_calls = PerMessage(system_calls, server.SystemCalls(), messages);
  cost.allocations = PerMessage(allocations, server.Allocations(), messages);
  cost.voluntary_switches = PerMessage(voluntary, server.VoluntarySwitches(), messages);
  cost.involuntary_switches = PerMessage(involuntary, server.InvoluntarySwitches(), messages);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  cost.messages_per_second = static_cast<double>(messages) / seconds.count();
  return cost;
}

}  // namespace sluice::bench
