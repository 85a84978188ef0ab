// Tests of the operator's log when something goes wrong, on the simulated system: each trouble is
// logged with its peer, once a minute, with a count.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/log_limit.h"
#include "sluice/examples/relay_session.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/world/client.h"
#include "sluice/sim/world/network.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sluice.h"

namespace sluice::sim::operator_log_test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Echo : public Session {
  void OnData(Input& in) override { WriteOrAbort(in.TakeAll()); }
};

// A server on the first machine, at 10.0.0.1, and a client at 10.0.0.2.
class Told {
 public:
  explicit Told(Options options, const relay::Upstream* upstream = nullptr,
                std::string_view level = "warning")
      : simulation(1, Faults::None()), server(simulation, WithLevel(options, level)) {
    if (upstream == nullptr) {
      server.runtime().Listen<Echo>(kDoor);
    } else {
      server.runtime().Listen<relay::Relay>(kDoor, upstream);
    }
    machine = &simulation.NewMachine("client");
    ::testing::internal::CaptureStderr();
    EXPECT_TRUE(server.Start());
  }
  ~Told() {
    SetLogLevel(LogLevel::kOff);
    server.End();
    EXPECT_EQ(simulation.violation(), "");
    (void)Lines();
    (void)::testing::internal::GetCapturedStderr();
    SetLogLevel(LogLevel::kInfo);
  }
  // The lines since the last call that contain `of`.
  std::vector<std::string> Lines(std::string_view of = "") {
    EXPECT_TRUE(LogFlush());
    const std::string text = ::testing::internal::GetCapturedStderr();
    ::testing::internal::CaptureStderr();
    std::vector<std::string> lines;
    for (const auto line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      if (std::string_view(line.data(), line.size()).find(of) != std::string_view::npos) {
        lines.emplace_back(line);
      }
    }
    return lines;
  }
  std::unique_ptr<Client> Connect() {
    auto client = std::make_unique<Client>(*machine, absl::Seconds(5));
    EXPECT_TRUE(client->Connect(kDoor).ok());
    return client;
  }
  // A client that the server serves.
  std::unique_ptr<Client> Served() {
    std::unique_ptr<Client> client = Connect();
    EXPECT_TRUE(client->Write("hello").ok());
    EXPECT_TRUE(client->ReadExactly(5).ok());
    return client;
  }

  static constexpr const char* kDoor = "10.0.0.1:7001";
  Simulation simulation;
  Site server;
  SimOs* machine;

 private:
  static Options WithLevel(Options options, std::string_view level) {
    options.log_level = level;
    return options;
  }
};

TEST(OperatorLog, RefusalAtTheLimitNamesPeerAndCount) {
  Options options = SmallOptions(1);
  options.max_connections = 1;
  Told told(options);
  const auto served = told.Served();
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(told.Connect()->ReadExactly(1).ok());
  EXPECT_THAT(told.Lines("accept"), ElementsAre(AllOf(HasSubstr("10.0.0.2:"),
                                                      HasSubstr("is refused, as 1 connections"))));
  told.simulation.Sleep(absl::Seconds(60));
  EXPECT_FALSE(told.Connect()->ReadExactly(1).ok());
  EXPECT_THAT(told.Lines("accept"), ElementsAre(HasSubstr("; 9 more since the last such line")));
}

TEST(OperatorLog, NewcomersThatWaitAtTheLimitAreTold) {
  Options options = SmallOptions(1);
  options.max_connections = 1;
  options.at_limit = AtLimit::kWait;
  Told told(options);
  const auto served = told.Served();
  const auto waits = told.Connect();
  told.simulation.Sleep(absl::Seconds(1));
  EXPECT_THAT(told.Lines("accept"), ElementsAre(HasSubstr("newcomers wait, as 1 connections")));
}

TEST(OperatorLog, RefusalWithoutADescriptorIsLogged) {
  Told told(SmallOptions(1));
  told.Served();
  told.simulation.os().RefuseDescriptors(EMFILE, 1);
  EXPECT_FALSE(told.Connect()->ReadExactly(1).ok());
  EXPECT_THAT(told.Lines("accept"),
              ElementsAre(AllOf(HasSubstr("Too many open files"), HasSubstr("10.0.0.2:"))));
}

TEST(OperatorLog, IdleEndIsLoggedWithPeerAndTimeout) {
  Options options = SmallOptions(1);
  options.idle_timeout = absl::Seconds(5);
  Told told(options);
  const auto first = told.Served();
  const auto second = told.Served();
  told.simulation.Sleep(absl::Seconds(6));
  EXPECT_THAT(told.Lines("ended"),
              ElementsAre(AllOf(HasSubstr("connection with 10.0.0.2:"),
                                HasSubstr("ended: idle (idle_timeout 5s); after 5s"))));
}

TEST(OperatorLog, ADeadPeerIsTold) {
  Told told(SmallOptions(1));
  const auto client = told.Served();
  told.machine->SetPlugged(false);
  told.simulation.Sleep(absl::Minutes(5));
  EXPECT_THAT(told.Lines("ended"), ElementsAre(AllOf(HasSubstr("connection with 10.0.0.2:"),
                                                     HasSubstr("ended: dead peer"))));
}

TEST(OperatorLog, AnUpstreamThatRefusesIsNamedWithTheClient) {
  const relay::Upstream upstream{*Target::Parse("10.0.0.1:9"), absl::Seconds(3)};
  Told told(SmallOptions(1), &upstream);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(told.Connect()->ReadExactly(1).ok());
  EXPECT_THAT(told.Lines("connect"),
              ElementsAre(AllOf(HasSubstr("connect to 10.0.0.1:9 for 10.0.0.2:"),
                                HasSubstr("Connection refused"))));
}

TEST(OperatorLog, EachAddressOfAnUpstreamThatFailsIsNamed) {
  const relay::Upstream upstream{*Target::Parse("api.test:80"), absl::Seconds(2)};
  Told told(SmallOptions(1), &upstream, "debug");
  told.simulation.network().SetHost("api.test", {"10.0.0.1", "10.9.9.9"});
  EXPECT_FALSE(told.Connect()->ReadExactly(1).ok());
  EXPECT_THAT(
      told.Lines("connect to"),
      ElementsAre(AllOf(HasSubstr("connect to api.test:80 for 10.0.0.2:"),
                        HasSubstr("10.0.0.1:80: Connection refused; the next address is tried")),
                  AllOf(HasSubstr("connect to api.test:80 for 10.0.0.2:"),
                        HasSubstr("10.9.9.9:80: Connection timed out"))));
}

TEST(OperatorLog, FailedLookUpIsLoggedWithTheClient) {
  const relay::Upstream upstream{*Target::Parse("api.test:80"), absl::Seconds(2)};
  Told told(SmallOptions(1), &upstream);
  EXPECT_FALSE(told.Connect()->ReadExactly(1).ok());
  EXPECT_THAT(told.Lines("connect"),
              ElementsAre(AllOf(HasSubstr("connect to api.test:80 for 10.0.0.2:"),
                                HasSubstr("there is no host api.test"))));
}

TEST(OperatorLog, EachEndIsALineAtDebug) {
  Told told(SmallOptions(1), nullptr, "debug");
  auto client = told.Served();
  EXPECT_TRUE(client->CloseWrite().ok());
  EXPECT_FALSE(client->ReadExactly(1).ok());
  told.Served()->Reset();
  told.simulation.Sleep(absl::Seconds(1));
  EXPECT_THAT(told.Lines("connection with 10.0.0.2:"),
              ElementsAre(AllOf(HasSubstr("ended: closed by the peer; after "),
                                HasSubstr("5 bytes in, 5 bytes out")),
                          HasSubstr("ended: reset by the peer")));
}

TEST(OperatorLog, UsualEndsAreNoWarnings) {
  Told told(SmallOptions(1));
  told.Served()->Close();
  told.Served()->Reset();
  told.simulation.Sleep(absl::Seconds(1));
  EXPECT_THAT(told.Lines(), IsEmpty());
}

TEST(LogLimit, PassesOneAMinuteAndCountsTheRest) {
  LogLimit limit;
  EXPECT_EQ(limit.Pass(1'000), 0);
  for (int i = 0; i < 7; ++i) EXPECT_EQ(limit.Pass(60'999), std::nullopt);
  EXPECT_EQ(limit.Pass(61'000), 7);
  EXPECT_EQ(limit.Pass(121'000), 0);
}

}  // namespace
}  // namespace sluice::sim::operator_log_test
