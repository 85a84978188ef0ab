// Tests of a relay that knows its upstream by name, on the simulated system: how its clients fare.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "sluice/actors/peers/resolver.h"
#include "sluice/examples/relay_session.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/world/client.h"
#include "sluice/sim/world/network.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sluice.h"

namespace sluice::sim::names_test {
namespace {

// Connects to another name each time; all names stand for the second machine.
class ToAnyName : public Pipe {
 public:
  explicit ToAnyName(int* names) : names_(*names) {}
  void OnOpen() override {
    ConnectPartner(*Target::Parse(absl::StrCat("host", names_++, ".test:80")), absl::Seconds(3));
  }

 private:
  int& names_;
};

class Echo : public Session {
  void OnData(Input& in) override { WriteOrAbort(in.TakeAll()); }
};

// Three machines: a relay, an echo with the address 10.0.0.2, and a client.
class Relayed {
 public:
  explicit Relayed(const std::vector<std::string>& addresses,
                   absl::Duration timeout = absl::Seconds(3))
      : simulation(1, Faults::None()),
        upstream{*Target::Parse("api.test:80"), timeout},
        relay(simulation, ForMany()),
        echo(simulation, simulation.NewMachine("echo"), ForMany()),
        machine(simulation.NewMachine("client")) {
    simulation.network().SetHost("api.test", addresses);
    relay.runtime().Listen<relay::Relay>("10.0.0.1:7003", &upstream);
    echo.runtime().Listen<Echo>("0.0.0.0:80");
    EXPECT_TRUE(relay.Start() && echo.Start());
  }
  ~Relayed() {
    relay.End();
    echo.End();
    EXPECT_EQ(simulation.violation(), "");
  }
  static Options ForMany() {
    Options options = SmallOptions(1);
    options.max_connections = 256;
    return options;
  }
  double SecondsSince(int64_t start_ns) const {
    return static_cast<double>(simulation.NowNs() - start_ns) / 1e9;
  }

  // clients` connect at once and send; returns how many of them are answered within `in_time`.
  int Served(int clients, absl::Duration in_time, std::string_view door = "10.0.0.1:7003") {
    int served = 0;
    const int64_t start_ns = simulation.NowNs();
    std::vector<ThreadId> threads;
    for (int i = 0; i < clients; ++i) {
      threads.push_back(simulation.StartThread(machine, absl::StrCat("client ", i), [&] {
        Client client(machine);
        if (!client.Connect(door).ok() || !client.Write("hello").ok()) return;
        const bool heard = client.ReadExactly(5).ok();
        served += heard && SecondsSince(start_ns) < absl::ToDoubleSeconds(in_time);
      }));
    }
    for (const ThreadId thread : threads) simulation.Join(thread);
    return served;
  }
  // Time from connect to reset, for a client that sends nothing.
  double SecondsToReset() {
    Client client(machine);
    EXPECT_TRUE(client.Connect("10.0.0.1:7003").ok());
    const int64_t start_ns = simulation.NowNs();
    EXPECT_FALSE(client.Read().ok());
    return SecondsSince(start_ns);
  }

  Simulation simulation;
  const relay::Upstream upstream;
  Site relay;
  Site echo;
  SimOs& machine;
};

TEST(Names, DataSentBeforeTheLookUpIsKept) {
  Relayed relayed({"10.0.0.2"});
  Client client(relayed.machine);
  ASSERT_TRUE(client.Connect("10.0.0.1:7003").ok());
  const std::string said(100'000, 'x');
  ASSERT_TRUE(client.Write(said).ok());
  ASSERT_TRUE(client.CloseWrite().ok());
  const auto heard = client.ReadToEnd();
  ASSERT_TRUE(heard.ok()) << heard.status();
  EXPECT_EQ(*heard, said);
}

TEST(Names, NextAddressIsTriedAfterRefusalOrSilence) {
  Relayed relayed({"10.0.0.1", "10.9.9.9", "10.0.0.2"});
  Client client(relayed.machine);
  ASSERT_TRUE(client.Connect("10.0.0.1:7003").ok());
  ASSERT_TRUE(client.Write("hello").ok());
  const auto heard = client.ReadExactly(5);
  ASSERT_TRUE(heard.ok()) << heard.status();
  EXPECT_EQ(*heard, "hello");
}

TEST(Names, DeadAddressesMayStandInAnyPosition) {
  // An address that refuses, one that is silent and one that lives: each in each place, and two
  // dead ones of one kind.
  const std::string refuses = "10.0.0.1", silent = "10.9.9.9", other = "10.9.9.10";
  const std::string lives = "10.0.0.2";
  const std::vector<std::vector<std::string>> lists = {
      {refuses, silent, lives}, {silent, refuses, lives},
      {refuses, lives, silent}, {silent, lives, refuses},
      {lives, refuses, silent}, {lives, silent, refuses},
      {silent, other, lives},   {silent, lives, other},
      {lives, silent, other},   {refuses, lives},
      {lives, refuses},         {silent, lives},
      {lives, silent},          {silent, other, refuses, lives}};
  for (const std::vector<std::string>& addresses : lists) {
    SCOPED_TRACE(absl::StrJoin(addresses, ", "));
    Relayed relayed(addresses);
    Client client(relayed.machine);
    ASSERT_TRUE(client.Connect("10.0.0.1:7003").ok());
    const int64_t start_ns = relayed.simulation.NowNs();
    ASSERT_TRUE(client.Write("hello").ok());
    const auto heard = client.ReadExactly(5);
    ASSERT_TRUE(heard.ok()) << heard.status();
    EXPECT_EQ(*heard, "hello");
    // A silent address costs its share of the timeout before the next is tried; an address that
    // refuses costs nothing, and neither do addresses behind the live one.
    bool waits = false;
    for (const std::string& address : addresses) {
      if (address == lives) break;
      waits = waits || address != refuses;
    }
    EXPECT_LT(relayed.SecondsSince(start_ns), waits ? 2.1 : 0.1);
  }
}

TEST(Names, ClientIsResetIfAllAddressesFail) {
  const std::string refuses = "10.0.0.1", silent = "10.9.9.9";
  EXPECT_NEAR(Relayed({refuses, silent}).SecondsToReset(), 3, 0.1);
  // The silent address gets half of the time.
  EXPECT_NEAR(Relayed({silent, refuses}).SecondsToReset(), 1.5, 0.1);
  EXPECT_LT(Relayed({refuses, refuses}).SecondsToReset(), 0.1);
}

TEST(Names, EachConnectionAsksAnew) {
  Relayed relayed({"10.9.9.9"});
  Client first(relayed.machine);
  ASSERT_TRUE(first.Connect("10.0.0.1:7003").ok());
  EXPECT_FALSE(first.Read().ok());
  relayed.simulation.network().SetHost("api.test", {"10.0.0.2"});
  Client second(relayed.machine);
  ASSERT_TRUE(second.Connect("10.0.0.1:7003").ok());
  ASSERT_TRUE(second.Write("hello").ok());
  EXPECT_TRUE(second.ReadExactly(5).ok());
}

// A name server that answers after a second, and a relay that was just started.
TEST(Names, AHundredClientsAtOnceShareOneLookUp) {
  Relayed relayed({"10.0.0.2"});
  relayed.simulation.network().SetLookUpTime(absl::Seconds(1));
  EXPECT_EQ(relayed.Served(100, absl::Milliseconds(1'200)), 100);
  EXPECT_EQ(Resolver::TotalsOf(relayed.relay.runtime()).run, 1);
  EXPECT_EQ(relayed.Served(1, absl::Milliseconds(1'200)), 1);
}

// The three seconds for which the clients wait are enough for sixteen look-ups.
TEST(Names, LookUpsThatNobodyWaitsForAreNeverBegun) {
  Relayed relayed({"10.0.0.2"});
  int names = 0;
  relayed.relay.runtime().Listen<ToAnyName>("10.0.0.1:7004", &names);
  for (int i = 0; i <= 100; ++i) {
    relayed.simulation.network().SetHost(absl::StrCat("host", i, ".test"), {"10.0.0.2"});
  }
  relayed.simulation.network().SetLookUpTime(absl::Seconds(1));
  EXPECT_GE(relayed.Served(100, absl::Seconds(4), "10.0.0.1:7004"), 8);
  EXPECT_EQ(relayed.Served(1, absl::Milliseconds(2'200), "10.0.0.1:7004"), 1);
}

TEST(Names, NoLookUpBeginsForDepartedClients) {
  Relayed relayed({"10.0.0.2"}, absl::Seconds(60));
  int names = 0;
  relayed.relay.runtime().Listen<ToAnyName>("10.0.0.1:7004", &names);
  relayed.simulation.network().SetLookUpTime(absl::Milliseconds(100));
  for (int i = 0; i < 40; ++i) {
    Client client(relayed.machine);
    ASSERT_TRUE(client.Connect("10.0.0.1:7004").ok());
    client.Reset();
  }
  EXPECT_EQ(relayed.Served(1, absl::Milliseconds(300)), 1);
  EXPECT_LE(names, 40);
}

// A lost packet costs a second of its own, and not the five for which its look-up waits.
TEST(Names, AnUnansweredLookUpDoesNotDelayNewcomers) {
  Relayed relayed({"10.0.0.2"});
  relayed.simulation.faults.lost_lookup = 1'000'000;
  Client unlucky(relayed.machine);
  ASSERT_TRUE(unlucky.Connect("10.0.0.1:7003").ok());
  relayed.simulation.Sleep(absl::Milliseconds(1'100));
  relayed.simulation.faults.lost_lookup = 0;
  EXPECT_EQ(relayed.Served(1, absl::Milliseconds(100)), 1);
  EXPECT_TRUE(unlucky.Write("hello").ok());  // The answer reaches all that wait.
  EXPECT_TRUE(unlucky.ReadExactly(5).ok());
}

// Each of these look-ups is answered at once. Regression: the third and fourth client were bound to
// the hanging look-up, because the age of the last look-up counted, which was answered already.
TEST(Names, NewcomersBypassAHangingLookUp) {
  Relayed relayed({"10.0.0.2"});
  relayed.simulation.faults.lost_lookup = 1'000'000;
  Client unlucky(relayed.machine);
  ASSERT_TRUE(unlucky.Connect("10.0.0.1:7003").ok());
  relayed.simulation.Sleep(absl::Milliseconds(1'500));
  relayed.simulation.faults.lost_lookup = 0;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(relayed.Served(1, absl::Milliseconds(100)), 1) << i;
    relayed.simulation.Sleep(absl::Milliseconds(100));
  }
  EXPECT_EQ(Resolver::TotalsOf(relayed.relay.runtime()).run, 4);
}

TEST(Names, ErrorBypassesAHangingLookUp) {
  Relayed relayed({});
  relayed.simulation.faults.lost_lookup = 1'000'000;
  Client unlucky(relayed.machine);
  ASSERT_TRUE(unlucky.Connect("10.0.0.1:7003").ok());
  relayed.simulation.Sleep(absl::Milliseconds(1'500));
  relayed.simulation.faults.lost_lookup = 0;
  for (int i = 0; i < 3; ++i) EXPECT_LT(relayed.SecondsToReset(), 0.1) << i;
  // The client that started the hanging look-up still waits for it.
  relayed.simulation.network().SetHost("api.test", {"10.0.0.2"});
  EXPECT_EQ(relayed.Served(1, absl::Milliseconds(100)), 1);
  EXPECT_TRUE(unlucky.Write("hello").ok());
  EXPECT_TRUE(unlucky.ReadExactly(5).ok());
}

// The second look-up fails while the first one hangs; the third client came after the second
// look-up had begun.
TEST(Names, FailingSecondLookUpLeavesNewcomersTheirOwn) {
  Relayed relayed({});
  relayed.simulation.network().SetLookUpTime(absl::Milliseconds(400));
  relayed.simulation.faults.lost_lookup = 1'000'000;
  Client unlucky(relayed.machine);
  ASSERT_TRUE(unlucky.Connect("10.0.0.1:7003").ok());
  relayed.simulation.Sleep(absl::Milliseconds(1'500));
  relayed.simulation.faults.lost_lookup = 0;
  Client second(relayed.machine);
  ASSERT_TRUE(second.Connect("10.0.0.1:7003").ok());
  relayed.simulation.Sleep(absl::Milliseconds(200));
  Client third(relayed.machine);
  ASSERT_TRUE(third.Connect("10.0.0.1:7003").ok());
  const int64_t start_ns = relayed.simulation.NowNs();
  EXPECT_FALSE(second.Read().ok());
  relayed.simulation.network().SetHost("api.test", {"10.0.0.2"});
  ASSERT_TRUE(third.Write("hello").ok());
  EXPECT_TRUE(third.ReadExactly(5).ok());
  EXPECT_LT(relayed.SecondsSince(start_ns), 0.7);
}

// The name server is gone: newcomers begin another look-up each second, and leave a thread for
// other names.
TEST(Names, HangingLookUpsLeaveOtherNamesAThread) {
  Relayed relayed({"10.0.0.2"}, absl::Seconds(60));
  int names = 0;
  relayed.relay.runtime().Listen<ToAnyName>("10.0.0.1:7004", &names);
  relayed.simulation.network().SetHost("host0.test", {"10.0.0.2"});
  relayed.simulation.faults.lost_lookup = 1'000'000;
  const int threads = relayed.relay.runtime().options().blocking_threads_max;
  std::vector<std::unique_ptr<Client>> unlucky;
  for (int i = 0; i < 4 * threads; ++i) {
    unlucky.push_back(std::make_unique<Client>(relayed.machine));
    ASSERT_TRUE(unlucky.back()->Connect("10.0.0.1:7003").ok());
    relayed.simulation.Sleep(absl::Milliseconds(500));
  }
  relayed.simulation.faults.lost_lookup = 0;
  EXPECT_EQ(relayed.Served(1, absl::Milliseconds(100), "10.0.0.1:7004"), 1);
}

// The look-up that finds no such host began before the second client came.
TEST(Names, NewcomerInAFailingLookUpStartsAnother) {
  Relayed relayed({});
  relayed.simulation.network().SetLookUpTime(absl::Milliseconds(400));
  Client first(relayed.machine);
  ASSERT_TRUE(first.Connect("10.0.0.1:7003").ok());
  relayed.simulation.Sleep(absl::Milliseconds(200));
  Client second(relayed.machine);
  ASSERT_TRUE(second.Connect("10.0.0.1:7003").ok());
  ASSERT_TRUE(second.Write("hello").ok());
  EXPECT_FALSE(first.Read().ok());
  relayed.simulation.network().SetHost("api.test", {"10.0.0.2"});
  EXPECT_TRUE(second.ReadExactly(5).ok());
}

TEST(Names, UnknownNameResetsTheClientAtOnce) {
  Relayed relayed({});
  EXPECT_LT(relayed.SecondsToReset(), 0.1);
}

TEST(Names, ClientIsResetAfterTimeoutWithoutNameServer) {
  Relayed relayed({"10.0.0.2"});
  relayed.simulation.faults.lost_lookup = 1'000'000;
  EXPECT_NEAR(relayed.SecondsToReset(), 3, 0.1);
}

TEST(Names, SilentAddressesResetTheClientAfterTimeout) {
  Relayed relayed({"10.9.9.8", "10.9.9.9", "10.9.9.10"});
  EXPECT_NEAR(relayed.SecondsToReset(), 3, 0.1);
}

TEST(Names, DrainDoesNotWaitForALookUp) {
  Relayed relayed({"10.0.0.2"}, absl::Seconds(60));
  relayed.simulation.faults.lost_lookup = 1'000'000;
  Client client(relayed.machine);
  ASSERT_TRUE(client.Connect("10.0.0.1:7003").ok());
  relayed.simulation.Sleep(absl::Milliseconds(10));
  const int64_t start_ns = relayed.simulation.NowNs();
  relayed.relay.End();
  EXPECT_LT(relayed.SecondsSince(start_ns), 6);  // The look-up itself takes 5 s.
}

}  // namespace
}  // namespace sluice::sim::names_test
