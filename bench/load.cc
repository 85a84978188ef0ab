#include "sluice/bench/load.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace sluice::bench {
namespace {

constexpr int kEventsMax = 256;

double PerMessage(int64_t before, int64_t after, int64_t messages) {
  return before < 0 ? -1 : static_cast<double>(after - before) / static_cast<double>(messages);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
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
  return Measure(server, messages, [&] { load.Exchange(messages); });
}

Cost Measure(const ServerProcess& server, int64_t messages, const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t processor_ns = server.ProcessorNs();
  const int64_t system_calls = server.SystemCalls();
  const int64_t allocations = server.Allocations();
  const int64_t voluntary = server.VoluntarySwitches();
  const int64_t involuntary = server.InvoluntarySwitches();
  work();
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

void PrintRounds(int rounds, double ratio_wanted, const std::function<Cost(bool bare)>& round) {
  std::printf(
      "  round   bare ns   sluice ns   ratio   bare msg/s   sluice msg/s   sleeps/1000: bare  "
      "sluice\n");
  std::vector<double> bare_ns;
  std::vector<double> sluice_ns;
  std::vector<double> ratios;
  for (int i = 1; i <= rounds; ++i) {
    // The order alternates: a machine that grows warm or busy favours the server that runs first.
    Cost bare;
    if (i % 2 == 1) bare = round(true);
    const Cost sluice = round(false);
    if (i % 2 == 0) bare = round(true);
    bare_ns.push_back(bare.processor_ns);
    sluice_ns.push_back(sluice.processor_ns);
    ratios.push_back(sluice.processor_ns / bare.processor_ns);
    std::printf("  %5d  %8.0f  %10.0f  %6.3f  %11.0f  %13.0f  %17.1f  %6.1f\n", i,
                bare.processor_ns, sluice.processor_ns, ratios.back(), bare.messages_per_second,
                sluice.messages_per_second, 1000 * bare.voluntary_switches,
                1000 * sluice.voluntary_switches);
    std::fflush(stdout);
  }
  std::printf("  median %8.0f  %10.0f  %6.3f   (wanted: at most %.2f)\n\n", Median(bare_ns),
              Median(sluice_ns), Median(ratios), ratio_wanted);
}

}  // namespace sluice::bench
