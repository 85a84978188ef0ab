// The relay example, between clients and an upstream on another machine: every byte of both
// directions arrives, the end of one side is passed on unchanged, and a drain lets running
// exchanges finish.
#include <algorithm>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/base/strings.h"
#include "sluice/examples/relay_session.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/far.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/world/client.h"
#include "sluice/sluice.h"

namespace sluice::sim::relay_scenario {

namespace {

constexpr std::string_view kManners = "eeeesha";
constexpr absl::Duration kPrompt = absl::Seconds(5);

class Near {
 public:
  Near(Way& way, SimOs& machine, int64_t rounds)
      : simulation_(way.simulation),
        way_(way),
        random_(way.simulation.random()),
        door_(AnyDoor(way.simulation, machine)),
        client_(*door_.machine),
        rounds_(rounds) {}

  void Run() {
    if (random_.Below(2) == 0) {
      LimitBuffersBelow(client_, random_, 8'000);
    }
    const size_t number = way_.upstreams.size();
    upstream_ = &way_.upstreams.emplace_back();
    const char manner = kManners[random_.Below(kManners.size())];
    if (!Fine(client_.Connect(door_.address)) ||
        !Fine(client_.Write(absl::StrCat(std::string(1, manner), " ", number, "\n"))))
      return;
    switch (manner) {
      case kFarAborts:
        return HearReset();
      case kFarSaysAll: {
        HearAnswer();
        return client_.Close();
      }
      case kFarHalfCloses:
        return SendAfterTheEnd();
      default:
        Talk();
    }
  }

  // No upstream: the client is reset within `bound`, and never sees an end of stream.
  void RunInVain(absl::Duration bound) {
    if (!Fine(client_.Connect(door_.address))) return;
    const int64_t start_ns = simulation_.NowNs();
    // The reset may have come before the first byte was sent.
    const absl::Status written = client_.Write("hello");
    const absl::Status end = written.ok() ? client_.ReadToEnd().status() : written;
    if (MayEndConnections(simulation_.faults)) return;
    if (end.ok() && door_.tcp) {
      simulation_.Broken("L9 close", "without an upstream a client saw an end of its stream");
    }
    if (absl::IsDeadlineExceeded(end) ||
        simulation_.NowNs() - start_ns > absl::ToInt64Nanoseconds(bound + kPrompt)) {
      simulation_.Broken("L9 close", absl::StrCat("without an upstream: ", end.ToString()));
    }
  }

 private:
  // In a drain a client that was not served yet may be refused.
  bool Fine(const absl::Status& status) {
    if (!status.ok() && way_.draining && !served_) return false;
    return Allowed(simulation_, status);
  }

  // A UNIX socket cannot say that its stream was cut short.
  bool MayLookLikeAnEnd() const { return !door_.tcp && MayEndConnections(simulation_.faults); }

  void Talk() {
    for (int64_t round = 0; round < rounds_; ++round) {
      const std::string sent = Pattern(2, round, 1 + random_.Below(12'000));
      if (!Fine(client_.Write(sent))) return;
      const absl::StatusOr<std::string> read = client_.ReadExactly(sent.size());
      if (!Fine(read.status())) return;
      if (*read != sent) simulation_.Broken("L2 order", "an echo differs from what was sent");
      served_ = true;
    }
    // From here on a drain finds this connection quiet, and may close it.
    if (random_.Below(2) == 0) {
      if (door_.tcp) {
        client_.Reset();
        Ended("a reset", /*clean=*/false);
      }
      return;
    }
    if (!Fine(client_.Write("last")) || !Fine(client_.CloseWrite())) return;
    const absl::StatusOr<std::string> rest = client_.ReadToEnd();
    if (!Fine(rest.status())) return;
    if (*rest != "last" && !MayLookLikeAnEnd()) {
      simulation_.Broken("L9 close", "what was sent before a FIN is lost");
    }
    Ended("a FIN", /*clean=*/true);
  }

  bool HearAnswer() {
    const absl::StatusOr<std::string> answer = client_.ReadToEnd();
    if (!Fine(answer.status())) return false;
    // Refused by the upstream or by a drain: no connection had begun.
    if (answer->empty() && (MayEndConnections(simulation_.faults) || way_.draining)) return false;
    if (*answer == Pattern(1, 1, kFarAnswerBytes)) return served_ = true;
    // If its upstream has vanished, a drain finds the connection quiet.
    if (MayLookLikeAnEnd() || (MayEndConnections(simulation_.faults) && way_.draining))
      return false;
    simulation_.Broken("L9 close", absl::StrCat("of an answer came ", answer->size(), " bytes"));
    return false;
  }

  void SendAfterTheEnd() {
    if (!HearAnswer()) return;
    int64_t sent = 0;
    for (int64_t i = 0; i < rounds_; ++i) {
      const std::string more = Pattern(3, i, 1 + random_.Below(20'000));
      if (!Fine(client_.Write(more))) return;
      sent += static_cast<int64_t>(more.size());
    }
    if (!Fine(client_.CloseWrite())) return;
    Ended("a FIN behind a half-close", /*clean=*/true);
    if (!MayEndConnections(simulation_.faults) && upstream_->counted != sent) {
      simulation_.Broken("L9 close", absl::StrCat("behind a half-close ", upstream_->counted,
                                                  " of ", sent, " bytes have come"));
    }
  }

  void HearReset() {
    const absl::Status end = client_.ReadToEnd().status();
    if (MayEndConnections(simulation_.faults)) return;
    if (absl::IsDeadlineExceeded(end) || (door_.tcp && end.ok() && !way_.draining)) {
      simulation_.Broken("L9 close", absl::StrCat("a reset came as ", end.ToString()));
    }
  }

  // The upstream is notified promptly, with the same kind of end.
  void Ended(std::string_view how, bool clean) {
    if (MayEndConnections(simulation_.faults)) return;
    const int64_t until_ns = simulation_.NowNs() + absl::ToInt64Nanoseconds(kPrompt);
    while (!upstream_->ended.has_value() && simulation_.NowNs() < until_ns) {
      simulation_.Sleep(absl::Milliseconds(5));
    }
    if (!upstream_->ended.has_value()) {
      simulation_.Broken("L9 close",
                         absl::StrCat("the upstream was not notified of ", ToAbsl(how)));
    } else if (upstream_->eof != clean && !way_.draining) {
      simulation_.Broken("L9 close",
                         absl::StrCat("the upstream took ", ToAbsl(how), " for something else: ",
                                      ToAbsl(CloseReasonName(*upstream_->ended))));
    }
  }

  Simulation& simulation_;
  Way& way_;
  Random& random_;
  const Door door_;
  Client client_;
  const int64_t rounds_;
  Upstream* upstream_ = nullptr;
  bool served_ = false;
};

}  // namespace

void Run(Simulation& simulation) {
  CalmOrHarsh(simulation);
  Way way{simulation};
  SimOs& far_machine = simulation.NewMachine("upstream");  // 10.0.0.2
  SimOs& machine = simulation.NewMachine("clients");
  // 0: the upstream listens; 1: its machine is there, but nobody listens; 2: its machine is gone.
  const int64_t absent = std::max<int64_t>(simulation.Amount("absent", 0, 7) - 5, 0);
  const absl::Duration connect_timeout = absl::Seconds(simulation.Amount("connect", 1, 20));
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 4)));
  options.sockets_per_connection = 2;
  options.output_bytes_high = simulation.Amount("output_high", 4'000, 64'000);
  options.output_bytes_low = options.output_bytes_high / 4;
  const relay::Upstream upstream{*Target::Parse("10.0.0.2:80"), connect_timeout};
  Site far(simulation, far_machine, SmallOptions(static_cast<int>(simulation.Amount("far", 1, 2))));
  Site site(simulation, options);
  if (absent != 1) far.runtime().Listen<Far>("10.0.0.2:80", &way);
  if (absent == 2) far_machine.SetPlugged(false);
  site.runtime().Listen<relay::Relay>(kDoors, &upstream);
  if (!far.Start() || !site.Start()) return;
  Crowd crowd(simulation, machine);
  const int64_t rounds = simulation.Amount("rounds", 1, 8);
  for (int64_t i = simulation.Amount("clients", 1, 10); i > 0; --i) {
    crowd.Add(absl::StrCat("client ", i), [&] {
      Near near(way, machine, rounds);
      absent == 0 ? near.Run()
                  : near.RunInVain(absent == 1 ? absl::ZeroDuration() : connect_timeout);
    });
  }
  if (absent == 0 && simulation.Amount("early_drain", 0, 3) == 0) {
    simulation.Sleep(absl::Microseconds(simulation.random().Below(20'000)));
    way.draining = true;
    site.runtime().Drain(absl::Seconds(10));
  }
  crowd.Join();
  site.End();
  far.End();
  const ConnectionLedger::Totals totals = ConnectionsOf(site);
  if (totals.Open() != 0 || totals.BytesHeld() != 0) {
    simulation.Broken("L1 ledger", totals.ToString());
  }
}

}  // namespace sluice::sim::relay_scenario
