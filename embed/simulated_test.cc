// The broker's sessions and actors, unchanged, on a simulated system: the seed picks workers,
// network and faults.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "client.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/run/gtest.h"
#include "sluice/sim/world/client.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sluice.h"

namespace broker {
namespace {

namespace sim = sluice::sim;

constexpr const char* kAddress = "10.0.0.1:7070";
constexpr absl::Duration kPatience = absl::Seconds(30);

struct Play {
  sim::Simulation& simulation;
  sim::SimOs& town;
  std::set<std::string> taken = {};  // Texts that were answered OK.
  std::set<std::string> heard = {};
  int64_t publishing = 0;
};

// Reconnects after each error and repeats the unanswered text, which may then be published twice.
void Publish(Play& play, int64_t number, int64_t messages) {
  for (int64_t i = 0; i < messages; ++i) {
    const std::string text = absl::StrCat(number, ".", i);
    while (!play.taken.contains(text) && !play.simulation.Failed()) {
      sim::Client client(play.town, kPatience);
      if (!client.Connect(kAddress).ok() ||
          !client.Write(absl::StrCat("PUB news ", text, "\n")).ok()) {
        continue;
      }
      const auto answer = client.ReadLine();
      if (!answer.ok()) continue;
      if (answer->starts_with("OK PUB news ")) {
        play.taken.insert(text);
      } else {
        EXPECT_EQ(*answer, "ERR too many publishers wait for this topic");
        play.simulation.Sleep(absl::Milliseconds(10));
      }
    }
  }
  --play.publishing;
}

// Holds the topic under one name, acknowledges each message, and takes the name again after each
// error, until it has received all.
void Hold(Play& play) {
  const auto done = [&] {
    return (play.publishing == 0 && play.heard == play.taken) || play.simulation.Failed();
  };
  const int64_t latest_ns = play.simulation.NowNs() + absl::ToInt64Nanoseconds(absl::Hours(24));
  while (!done()) {
    if (play.simulation.NowNs() > latest_ns) {
      ADD_FAILURE() << "of " << play.taken.size() << " messages only " << play.heard.size()
                    << " are ever heard";
      return;
    }
    sim::Client client(play.town, kPatience);
    if (!client.Connect(kAddress).ok() || !client.Write("HOLD news reader park\n").ok()) continue;
    while (!done()) {
      const auto line = client.ReadLine();
      if (!line.ok()) break;
      const std::vector<std::string> words = absl::StrSplit(*line, ' ');
      if (words[0] != "MSG" && words[0] != "AGAIN") continue;
      ASSERT_EQ(words.size(), 4u) << *line;
      play.heard.insert(words[3]);
      if (!client.Write(absl::StrCat("ACK news ", words[2], "\n")).ok()) break;
    }
  }
}

TEST(Broker, NameReceivesEveryTakenMessageDespiteNetworkFaults) {
  sim::ForEachSeed(
      [](sim::Simulation& simulation) {
        const auto workers = static_cast<int>(simulation.Amount("workers", 1, 3));
        const Limits limits{8,
                            8,
                            1'024,
                            static_cast<uint32_t>(simulation.Amount("window", 1, 4)),
                            static_cast<uint32_t>(simulation.Amount("queue", 1, 8)),
                            absl::InfiniteDuration()};
        sim::Site site(simulation, sim::SmallOptions(workers));
        const auto directory = site.runtime().Spawn<Directory>(limits);
        site.runtime().Listen<Client>(kAddress, directory, limits);
        if (!site.Start()) return;  // In some seeds there are too few descriptors to start.
        Play play{simulation, simulation.NewMachine("town")};
        {
          // The name exists before the first message.
          sim::Client first(play.town, kPatience);
          while (!first.Connect(kAddress).ok() || !first.Write("HOLD news reader park\n").ok() ||
                 !first.ReadLine().ok()) {
          }
        }
        std::vector<sluice::ThreadId> threads;
        play.publishing = simulation.Amount("publishers", 1, 4);
        const int64_t messages = simulation.Amount("messages", 1, 10);
        for (int64_t i = play.publishing; i > 0; --i) {
          threads.push_back(simulation.StartThread(play.town, absl::StrCat("publisher ", i),
                                                   [&, i] { Publish(play, i, messages); }));
        }
        threads.push_back(simulation.StartThread(play.town, "reader", [&] { Hold(play); }));
        for (const sluice::ThreadId thread : threads) simulation.Join(thread);
      },
      {.seeds = 100, .faults = sim::Faults::Harsh()});
}

}  // namespace
}  // namespace broker
