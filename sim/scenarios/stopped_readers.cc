// A crowd of peers writes and never reads, more than there is memory for. Clients that read wait
// for a second at most, none of them is ended, and memory does not stay spent.
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/world/client.h"
#include "sluice/sluice.h"

namespace sluice::sim::stopped_readers_scenario {

namespace {

constexpr absl::Duration kWaitMost = absl::Seconds(1);
// After shed_after: the first are found in one check, and ended in the next turns.
constexpr absl::Duration kSpentMost = absl::Seconds(1);
constexpr absl::Duration kWritesEvery = absl::Milliseconds(50);
constexpr int kGoodWordMost = 3'000;

class Echo : public Session {
  void OnData(Input& in) override { WriteOrAbort(in.TakeAll()); }
};

struct Flood {
  Simulation& simulation;
  Random& random;
  int64_t ready = 0;  // Readers that have been served once.
  bool over = false;
  int64_t longest_ns = 0;
};

// Sends a word now and then, and reads its echo.
void Reads(Flood& flood, SimOs& machine, int64_t number) {
  Client client(machine, absl::Minutes(5));
  const bool connected = Allowed(flood.simulation, client.Connect("10.0.0.1:7001"));
  bool served = false;
  for (int64_t round = 0; connected && !flood.over; ++round) {
    const std::string word =
        Pattern(number, round, 1 + flood.random.Below(static_cast<uint64_t>(kGoodWordMost)));
    const int64_t began_ns = flood.simulation.NowNs();
    if (!Allowed(flood.simulation, client.Write(word))) break;
    const absl::StatusOr<std::string> echo = client.ReadExactly(word.size());
    if (!Allowed(flood.simulation, echo.status())) break;
    const int64_t waited_ns = flood.simulation.NowNs() - began_ns;
    flood.longest_ns = std::max(flood.longest_ns, waited_ns);
    if (*echo != word) flood.simulation.Broken("L2 order", "an echo differs from what was sent");
    if (waited_ns > absl::ToInt64Nanoseconds(kWaitMost)) {
      flood.simulation.Broken("L5 progress", absl::StrCat("a peer that reads has waited for ",
                                                          waited_ns / 1'000'000, " ms"));
    }
    if (round == 0) {
      ++flood.ready;
      served = true;
    }
    flood.simulation.Sleep(absl::Microseconds(flood.random.Below(50'000)));
  }
  if (!served) ++flood.ready;  // A reader that could not come is not waited for.
}

// Many peers on one thread: they write what the kernel takes, and never read.
class Crowded {
 public:
  Crowded(Flood& flood, SimOs& machine) : flood_(flood), os_(machine) {}
  void Run(int64_t peers) {
    const Address to = *Address::Parse("10.0.0.1:7001");
    for (int64_t i = 0; i < peers; ++i) {
      const int fd = os_.SocketOpen(AF_INET, SOCK_STREAM);
      if (fd < 0) continue;
      const int little = 4'096;
      os_.OptionSet(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little));
      os_.OptionSet(fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof(little));
      os_.Connect(fd, to.sockaddr(), to.size());
      fds_.push_back(fd);
      if (i % 100 == 99) flood_.simulation.Sleep(absl::Milliseconds(1));
    }
    while (!flood_.over) {
      WriteOnce();
      flood_.simulation.Sleep(kWritesEvery);
    }
    for (const int fd : fds_) os_.Close(fd);
  }

 private:
  // Closes the peers that the server has ended.
  void WriteOnce() {
    std::erase_if(fds_, [this](int fd) {
      const iovec part{text_.data(), text_.size()};
      int64_t sent = 0;
      do {
        sent = os_.Send(fd, &part, 1);
      } while (sent == static_cast<int64_t>(text_.size()));
      if (sent > 0 || sent == -EAGAIN || sent == -ENOTCONN) return false;
      os_.Close(fd);
      return true;
    });
  }

  Flood& flood_;
  SimOs& os_;
  std::vector<int> fds_;
  std::string text_ = std::string(8'192, 'w');
};

}  // namespace

void Run(Simulation& simulation) {
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 3)));
  // 1, unless --set asks for a greater crowd.
  const int64_t times = simulation.Amount("times", 1, 40);
  const int64_t stopped = times * simulation.Amount("stopped", 20, 400);
  const int64_t good = simulation.Amount("good", 1, 5);
  options.max_connections = stopped + good + 8;
  options.actors_max = static_cast<uint32_t>(options.max_connections) + 64;
  options.output_bytes_high = simulation.Amount("output_high", 2'000, 64'000);
  options.output_bytes_low = options.output_bytes_high / 4;
  options.memory_bytes_max =
      std::max(options.MemoryBytesMin(), simulation.Amount("memory", 1, 16) * (int64_t{1} << 20));
  options.write_stalled_timeout = absl::InfiniteDuration();
  simulation.os().descriptors_max = options.max_connections + 100;
  Flood flood{simulation, simulation.random()};
  int64_t spent_ns = -1;
  uint32_t recoveries = 0;
  int64_t spent_longest_ns = 0;
  Site site(simulation, options);
  Runtime& runtime = site.runtime();
  runtime.Listen<Echo>("10.0.0.1:7001");
  if (!site.Start()) return;
  simulation.AfterEachStep(
      [&, spent_most_ns = absl::ToInt64Nanoseconds(options.shed_after + kSpentMost)] {
        if (!runtime.budget().Spent()) {
          spent_ns = -1;
          return;
        }
        // Memory may have been free and spent again in one step.
        if (spent_ns < 0 || recoveries != runtime.budget().Recoveries())
          spent_ns = simulation.NowNs();
        recoveries = runtime.budget().Recoveries();
        spent_longest_ns = std::max(spent_longest_ns, simulation.NowNs() - spent_ns);
        if (simulation.NowNs() - spent_ns > spent_most_ns && !flood.over) {
          simulation.Broken("L5 progress", "memory stays spent by peers that do not read");
        }
      });
  {
    Crowd readers(simulation, simulation.NewMachine("readers"));
    SimOs& readers_machine = *simulation.machines().back();
    for (int64_t i = 0; i < good; ++i) {
      readers.Add(absl::StrCat("reads ", i), [&, i] { Reads(flood, readers_machine, i); });
    }
    simulation.RunUntil([&] { return flood.ready == good; }, absl::Seconds(10));
    SimOs& machine = simulation.NewMachine("stopped");
    machine.descriptors_max = stopped + 100;
    Crowd crowd(simulation, machine);
    Crowded crowded(flood, machine);
    crowd.Add("stopped", [&] { crowded.Run(stopped); });
    simulation.Sleep(absl::Seconds(simulation.Amount("seconds", 3, 8)));
    flood.over = true;
    crowd.Join();
    readers.Join();
  }
  site.End();
  const ConnectionLedger::Totals totals = ConnectionsOf(site);
  if (times > 1) {
    absl::PrintF(
        "%d peers that do not read: a peer that reads waited for %d ms at most; memory was spent "
        "for %d ms at a time; %d were shed\n",
        stopped, flood.longest_ns / 1'000'000, spent_longest_ns / 1'000'000,
        ClosedFor(totals, CloseReason::kShed));
  }
  for (const CloseReason reason : {CloseReason::kFailed, CloseReason::kDeadPeer, CloseReason::kSlow,
                                   CloseReason::kMemory, CloseReason::kError}) {
    if (ClosedFor(totals, reason) != 0) simulation.Broken("L9 close", totals.ToString());
  }
}

}  // namespace sluice::sim::stopped_readers_scenario
