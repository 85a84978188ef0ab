// Tests of sessions that have asked a server when their own runtime drains: the answer that is on
// its way is still read.
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/run/gtest.h"
#include "sluice/sluice.h"

namespace sluice::sim::drain_client_test {
namespace {

constexpr std::string_view kServer = "10.0.0.2:80";

// Answers each line after a while.
class Server : public TaskSession {
 public:
  explicit Server(absl::Duration takes) : takes_(takes) {}
  Task<> Serve() override {
    while (const auto line = co_await Line()) {
      co_await Sleep(takes_);
      co_await Write("answer\n");
    }
  }

 private:
  const absl::Duration takes_;
};

// Asks `questions` times, and then waits for what the server may say by itself.
class Asks : public TaskSession {
 public:
  Asks(int questions, std::string* heard) : questions_(questions), heard_(*heard) {}
  Task<> Serve() override {
    for (int i = 0; i < questions_; ++i) {
      co_await Write("question\n");
      const auto line = co_await Line();
      absl::StrAppend(&heard_, line ? "answer " : "nothing ");
      if (!line) co_return;
    }
    (void)co_await Line();
    heard_ += "end";
  }

 private:
  const int questions_;
  std::string& heard_;
};

class AsksForASecond : public Asks {
 public:
  using Asks::Asks;
  Task<> Serve() override {
    SetReceiveTimeout(absl::Seconds(1));
    return Asks::Serve();
  }
};

// A session of handlers that knows what is due to it.
class Knows : public Session {
 public:
  explicit Knows(std::string* heard) : heard_(*heard) {}
  void OnOpen() override {
    WriteOrAbort("question\n");
    awaits_ = true;
  }
  void OnData(Input& in) override {
    in.TakeAll();
    awaits_ = false;
    heard_ += "answer ";
  }
  bool AwaitsAnswer() const override { return awaits_; }
  void OnDrain() override {
    heard_ += "end";
    Close();
  }

 private:
  std::string& heard_;
  bool awaits_ = false;
};

// How long the drain of a runtime takes whose session has asked a server just before.
template <class S, class... Args>
absl::Duration DrainAfterQuestion(Simulation& simulation, absl::Duration server_takes,
                                  absl::Duration before_drain, Args... args) {
  Site far(simulation, simulation.NewMachine("server"), SmallOptions(1));
  far.runtime().Listen<Server>(kServer, server_takes);
  Site site(simulation, SmallOptions(1));
  if (!far.Start() || !site.Start()) return absl::ZeroDuration();
  EXPECT_TRUE(Connect<S>(site.runtime(), kServer, absl::Seconds(5), args...).ok());
  simulation.Sleep(before_drain);
  const int64_t begun_ns = simulation.NowNs();
  site.End(absl::Seconds(10));
  const absl::Duration took = absl::Nanoseconds(simulation.NowNs() - begun_ns);
  far.End();
  return took;
}

constexpr absl::Duration kServerTakes = absl::Seconds(2);
constexpr absl::Duration kSoon = absl::Milliseconds(100);

SeedOptions FewSeeds() {
  SeedOptions options;
  options.seeds = 5;
  options.faults = Faults::None();
  return options;
}

TEST(DrainClient, TaskHearsTheAnswerThatItsServerOwes) {
  ForEachSeed(
      [](Simulation& simulation) {
        std::string heard;
        const absl::Duration took =
            DrainAfterQuestion<Asks>(simulation, kServerTakes, kSoon, 1, &heard);
        EXPECT_EQ(heard, "answer end");
        EXPECT_LT(took, absl::Seconds(3));
      },
      FewSeeds());
}

TEST(DrainClient, SessionOfHandlersMaySayThatItAwaitsAnAnswer) {
  ForEachSeed(
      [](Simulation& simulation) {
        std::string heard;
        (void)DrainAfterQuestion<Knows>(simulation, kServerTakes, kSoon, &heard);
        EXPECT_EQ(heard, "answer end");
      },
      FewSeeds());
}

TEST(DrainClient, TaskThatHasItsAnswerDelaysNoDrain) {
  ForEachSeed(
      [](Simulation& simulation) {
        std::string heard;
        const absl::Duration took =
            DrainAfterQuestion<Asks>(simulation, kServerTakes, absl::Seconds(3), 1, &heard);
        EXPECT_EQ(heard, "answer end");
        EXPECT_LT(took, absl::Seconds(1));
      },
      FewSeeds());
}

TEST(DrainClient, TaskThatHasAskedNothingDelaysNoDrain) {
  ForEachSeed(
      [](Simulation& simulation) {
        std::string heard;
        const absl::Duration took =
            DrainAfterQuestion<Asks>(simulation, kServerTakes, kSoon, 0, &heard);
        EXPECT_EQ(heard, "end");
        EXPECT_LT(took, absl::Seconds(1));
      },
      FewSeeds());
}

TEST(DrainClient, MuteServerHoldsADrainForHalfOfItsTime) {
  ForEachSeed(
      [](Simulation& simulation) {
        std::string heard;
        const absl::Duration took =
            DrainAfterQuestion<Asks>(simulation, absl::Seconds(60), kSoon, 1, &heard);
        EXPECT_EQ(heard, "nothing ");
        EXPECT_GE(took, absl::Seconds(5));
        EXPECT_LT(took, absl::Seconds(6));
      },
      FewSeeds());
}

TEST(DrainClient, ItsOwnLimitOfSilenceHoldsInADrain) {
  ForEachSeed(
      [](Simulation& simulation) {
        std::string heard;
        const absl::Duration took =
            DrainAfterQuestion<AsksForASecond>(simulation, absl::Seconds(60), kSoon, 1, &heard);
        EXPECT_EQ(heard, "");
        EXPECT_LT(took, absl::Seconds(2));
      },
      FewSeeds());
}

}  // namespace
}  // namespace sluice::sim::drain_client_test
