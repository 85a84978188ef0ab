// A user's file, for tools/headers.py: it uses each public template once, and is compiled with more
// warnings than this project's own code. It is not run.
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "sluice/protocols/line_session.h"
#include "sluice/sim/run/gtest.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sim/world/simulation.h"
#include "sluice/sluice.h"

namespace {

struct Tick {
  int64_t number;
};
struct Balance {
  using Reply = int64_t;
};
struct History {
  using Reply = std::string;
};

class Account : public sluice::Actor {
 public:
  explicit Account(int64_t cents) : cents_(cents) {}
  void On(Tick tick) { cents_ += tick.number; }
  int64_t On(Balance) { return cents_; }
  void On(History, sluice::Promise<std::string> promise) { promise.Resolve("none"); }

 private:
  int64_t cents_;
};

class Bank : public sluice::Actor {
 public:
  void OnStart() override {
    account_ = Spawn<Account>(int64_t{3});
    spare_ = SpawnRestarting<Account>(sluice::RestartPolicy{}, sluice::SpawnOptions{}, int64_t{4});
    monitor_ = Monitor(account_);
    timer_ = Every(absl::Seconds(1), [this] { SetName("bank"); });
    if (Send(account_, Tick{1}) != sluice::Answer::kAccepted) Stop("no account");
    const auto told = [this](absl::StatusOr<int64_t> cents) { cents_ = cents.value_or(0); };
    if (Ask(account_, Balance{}, absl::Seconds(1), told) != sluice::Answer::kAccepted) Stop();
    const auto done = [this](absl::StatusOr<int> count) { cents_ += count.value_or(0); };
    if (RunBlocking([] { return 7; }, done) != sluice::Answer::kAccepted) Stop();
    const sluice::Recipient<Tick> anyone(spare_);
    if (anyone.TrySend(Tick{2}) != sluice::Answer::kAccepted) Stop();
  }
  void OnDown(const sluice::Down& down) override {
    if (down.monitor == monitor_) CancelTimer(timer_);
  }

 private:
  sluice::Ref<Account> account_, spare_;
  sluice::MonitorId monitor_ = 0;
  TimerId timer_ = 0;
  int64_t cents_ = 0;
};

class Echo : public sluice::Session {
 public:
  void OnData(sluice::Input& in) override {
    if (Write(in.TakeAll()) != sluice::Answer::kAccepted) Abort();
  }
};

class Shout : public sluice::LineSession {
 public:
  explicit Shout(const sluice::Ref<sluice::Hub>& hub) : LineSession(80), hub_(hub) {}
  void OnOpen() override {
    if (Send(hub_, sluice::Subscribe(this)) != sluice::Answer::kAccepted) Close();
  }
  void On(sluice::Subscribed subscribed) { joined_ = subscribed.Joined(); }
  void OnLine(std::string_view line) override {
    sluice::Publish message{sluice::Bytes::Copy(line), sluice::Except{}, 0};
    if (joined_ && hub_.TrySend(std::move(message)) != sluice::Answer::kAccepted) Close();
  }

 private:
  sluice::Ref<sluice::Hub> hub_;
  bool joined_ = false;
};

class Relay : public sluice::Pipe {
 public:
  void OnOpen() override {
    ConnectPartner(*sluice::Target::Parse("127.0.0.1:7001"), absl::Seconds(1));
  }
};

int Serve(int argc, char** argv) {
  sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
  const sluice::Ref<sluice::Hub> hub = runtime.Spawn<sluice::Hub>();
  runtime.Listen<Echo>("127.0.0.1:7001");
  runtime.Listen<Shout>("127.0.0.1:7002", hub);
  runtime.Listen<Relay>("127.0.0.1:7003");
  const sluice::Ref<Bank> bank = runtime.Spawn<Bank>();
  runtime.KeepError(runtime.Register("bank", bank));
  if (!runtime.Find<Bank>("bank")) return 1;
  if (!sluice::Connect<Echo>(runtime, "127.0.0.1:7001", absl::Seconds(1)).ok()) return 1;
  return runtime.RunUntilSignal();
}

}  // namespace

int main(int argc, char** argv) {
  sluice::sim::ForEachSeed([](sluice::sim::Simulation& simulation) {
    const sluice::Runtime runtime(sluice::Options{}, simulation.os());
  });
  return Serve(argc, argv);
}
