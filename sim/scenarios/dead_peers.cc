// Peers that die, stand still, are silent, or never come to an end. Each connection ends within the
// bound that the options set, for the true reason, and not before.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/strings.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/world/client.h"
#include "sluice/sluice.h"

namespace sluice::sim::dead_peers_scenario {

namespace {

// Timers tick in milliseconds, the network delays, and a long wait may be a retransmission's.
constexpr absl::Duration kSlack = absl::Seconds(3);

// More than any socket takes; and a part that makes room again when it is read.
constexpr size_t kFullBytes = 900'000;
constexpr size_t kSlowReadBytes = 100'000;
// Writes after the peer's FIN, half of half_closed_timeout apart.
constexpr int kDrips = 6;
// Interval of the constant writes.
constexpr absl::Duration kTick = absl::Seconds(1);

struct Fate {
  std::optional<CloseReason> ended;
  int64_t ended_ns = 0;
};

struct Ward {
  Simulation& simulation;
  Fate fates[16];
};

// The first byte picks the Fate, the second the behaviour.
class Patient : public Session {
 public:
  explicit Patient(Ward* ward) : ward_(*ward) {}
  void OnData(Input& in) override {
    if (fate_ == nullptr) {
      if (in.size() < 2) return;
      fate_ = &ward_.fates[static_cast<size_t>(in.Take(1)[0] - 'A')];
      const char manner = in.Take(1)[0];
      if (manner == 'f') WriteOrAbort(std::string(kFullBytes, 'f'));
      if (manner == 'h') CloseWrite();
      drips_ = manner == 'd';
      if (manner == 't') Tick();
    }
    WriteOrAbort(in.TakeAll());
  }
  // Keeps its own side open, for ever if nothing ends it.
  void OnEof() override {
    if (drips_) Drip(kDrips);
  }
  void OnClose(CloseReason reason) override {
    if (fate_ == nullptr) return;
    fate_->ended = reason;
    fate_->ended_ns = ward_.simulation.NowNs();
  }

 private:
  // Keeps some bytes unacknowledged all the time.
  void Tick() {
    (void)Write("t");
    After(kTick, [this] { Tick(); });
  }
  void Drip(int left) {
    if (left == 0) return;
    After(runtime().options().half_closed_timeout / 2, [this, left] {
      (void)Write("d");  // After the end of its connection this writes nothing.
      Drip(left - 1);
    });
  }

  Ward& ward_;
  Fate* fate_ = nullptr;
  bool drips_ = false;
};

class Caller : public Session {
 public:
  Caller(Fate* fate, Simulation* simulation) : fate_(*fate), simulation_(*simulation) {}
  void OnData(Input& in) override { in.TakeAll(); }
  void OnClose(CloseReason reason) override {
    fate_.ended = reason;
    fate_.ended_ns = simulation_.NowNs();
  }

 private:
  Fate& fate_;
  Simulation& simulation_;
};

// Behaviour of a client, which decides the expected end.
enum class Case {
  kUnplugged,       // The machine vanishes while nothing is unacknowledged: keepalive.
  kUnpluggedFull,   // The machine vanishes while bytes are unacknowledged.
  kStandsStill,     // The client takes no output, but answers probes.
  kHalfClosed,      // The client ends its side, the server does not.
  kHalfClosedHere,  // The server ends its side, the client does not.
  kSilent,
  kReadsSlowly,  // For a while takes a little now and then, then nothing.
  kDownloads,    // Ends its side; is written to now and then; then no more.
  kTalks,        // Talks now and then, for ever: only the lifetime ends it.
  kCut,          // The link is cut while it is written to, and restored in time.
  kCutForGood,   // The link is cut and never restored.
  kCount,
};

class DeadPeers {
 public:
  DeadPeers(Simulation& simulation, Ward& ward, const Options& options)
      : simulation_(simulation),
        ward_(ward),
        options_(options),
        old_kernel_(simulation.os().old_kernel) {}

  void Run(SimOs& machine, int64_t number, Case what) {
    Fate& fate = ward_.fates[number];
    Client client(machine, absl::Minutes(1));
    client.LimitBuffers(4'096, 4'096);
    const int64_t began_ns = simulation_.NowNs();
    std::string first{static_cast<char>('A' + number), 'e'};
    const bool full = IsFull(what);
    if (full) first[1] = 'f';
    if (what == Case::kHalfClosedHere) first[1] = 'h';
    if (what == Case::kDownloads) first[1] = 'd';
    if (what == Case::kCut || what == Case::kCutForGood) first[1] = 't';
    if (!Allowed(simulation_, client.Connect("10.0.0.1:7001")) ||
        !Allowed(simulation_, client.Write(first))) {
      return;
    }
    // After the echo the server knows this connection.
    if (!full && what != Case::kHalfClosedHere) {
      if (!Allowed(simulation_, client.Write("x")) ||
          !Allowed(simulation_, client.ReadExactly(1).status()))
        return;
    } else {
      simulation_.Sleep(absl::Milliseconds(50));
    }
    // If the kernel refused a send for a moment, those bytes are not taken while the link is cut,
    // and the connection counts as stalled.
    if (what == Case::kCutForGood &&
        options_.write_stalled_timeout <
            2 * options_.unacknowledged_timeout + AskedAgainWithin() + 2 * kSlack) {
      return;
    }
    if (what == Case::kUnplugged || what == Case::kUnpluggedFull || what == Case::kCutForGood) {
      machine.SetPlugged(false);
    }
    if (what == Case::kCut) {
      CutForAWhile(machine, client, fate);
      return;
    }
    if (what == Case::kHalfClosed && !Allowed(simulation_, client.CloseWrite())) return;
    if (what == Case::kReadsSlowly && !ReadSlowly(client, fate)) return;
    if (what == Case::kDownloads && !Download(client)) return;
    const int64_t start_ns = simulation_.NowNs();
    int64_t active_ns = start_ns;
    // The time before is a part of its lifetime.
    const absl::Duration lived = absl::Nanoseconds(start_ns - began_ns);
    const absl::Duration bound = BoundOf(what, lived);
    const absl::Duration latest = LatestOf(what, lived);
    while (!fate.ended.has_value()) {
      if (simulation_.NowNs() - start_ns > absl::ToInt64Nanoseconds(latest)) {
        if (!MayEndConnections(simulation_.faults)) {
          Broken(what, absl::StrCat("it stands after ", absl::FormatDuration(bound)));
        }
        return;
      }
      simulation_.Sleep(std::clamp(bound / 16, absl::Milliseconds(1), options_.idle_timeout / 4));
      if (what != Case::kTalks || fate.ended.has_value()) continue;
      if (!client.Write("y").ok() || !client.ReadExactly(1).ok()) break;
      active_ns = simulation_.NowNs();
    }
    if (MayEndConnections(simulation_.faults)) return;
    simulation_.Sleep(kSlack);
    if (!fate.ended.has_value()) {
      Broken(what, "the client was notified of the end, the session was not");
    } else if (const CloseReason reason = *fate.ended; !MayBe(what, lived, reason)) {
      Broken(what, absl::StrCat("it ended as ", ToAbsl(CloseReasonName(reason))));
    } else if (fate.ended_ns + absl::ToInt64Nanoseconds(kSlack) <
               start_ns + absl::ToInt64Nanoseconds(bound)) {
      Broken(what, absl::StrCat("it ended early, as ", ToAbsl(CloseReasonName(reason)), ", after ",
                                (fate.ended_ns - active_ns) / 1'000'000, " ms of ",
                                absl::FormatDuration(bound)));
    }
  }

 private:
  // Reads a little for twice as long as a peer may take nothing. False: the connection was ended.
  bool ReadSlowly(Client& client, const Fate& fate) {
    constexpr int kReads = 6;
    const absl::Duration pause = options_.write_stalled_timeout / 3;
    // Another bound could come first.
    if (BoundOf(Case::kReadsSlowly, absl::ZeroDuration()) < options_.write_stalled_timeout ||
        options_.lifetime_timeout < (kReads + 4) * pause + kSlack) {
      return true;
    }
    for (int i = 0; i < kReads; ++i) {
      simulation_.Sleep(pause);
      if (!Allowed(simulation_, client.ReadExactly(kSlowReadBytes).status())) return false;
      if (!fate.ended.has_value()) continue;
      if (!MayEndConnections(simulation_.faults)) {
        Broken(Case::kReadsSlowly, absl::StrCat("it takes some and was ended, as ",
                                                ToAbsl(CloseReasonName(*fate.ended))));
      }
      return false;
    }
    return true;
  }
  // Cuts the link for less time than bytes may stay unacknowledged: the connection must live.
  void CutForAWhile(SimOs& machine, Client& client, const Fate& fate) {
    const absl::Duration cut_most =
        std::min(options_.unacknowledged_timeout, options_.write_stalled_timeout / 2) - 2 * kSlack;
    if (cut_most < kSlack) return;
    const absl::Duration cut =
        absl::Milliseconds(500 + simulation_.random().Below(
                                     static_cast<uint64_t>(absl::ToInt64Milliseconds(cut_most))));
    // A retransmission arrives after at most twice the time.
    const absl::Duration again = 2 * (cut + kTick) + kSlack;
    if (options_.lifetime_timeout < again + 2 * kSlack) return;
    machine.SetCut(true);
    simulation_.Sleep(cut);
    machine.SetCut(false);
    simulation_.Sleep(again - cut);
    const absl::Status status = client.ReadExactly(4).status();
    if (MayEndConnections(simulation_.faults) || (status.ok() && !fate.ended.has_value())) return;
    Broken(Case::kCut,
           absl::StrCat("its link was cut for ", absl::FormatDuration(cut), ", and it was ended",
                        fate.ended.has_value() ? " as " : "",
                        fate.ended.has_value() ? ToAbsl(CloseReasonName(*fate.ended)) : ""));
  }
  // Downloads for three times as long as the other side may be silent. False: the connection was
  // ended.
  bool Download(Client& client) {
    const absl::Duration needed = kDrips * options_.half_closed_timeout / 2 + kSlack;
    if (options_.lifetime_timeout < needed + kSlack ||
        options_.idle_timeout <= options_.half_closed_timeout / 2 + kSlack) {
      return false;  // Another bound comes first: no case for this test.
    }
    if (!Allowed(simulation_, client.CloseWrite())) return false;
    for (int i = 0; i < kDrips; ++i) {
      simulation_.Sleep(options_.half_closed_timeout / 2);
      if (!Allowed(simulation_, client.ReadExactly(1).status())) return false;
    }
    return true;
  }
  absl::Duration Keepalive() const {
    return options_.keepalive_idle + options_.keepalive_interval * options_.keepalive_probes;
  }
  absl::Duration LifetimeLeft(absl::Duration lived) const {
    return std::max(options_.lifetime_timeout - lived, absl::ZeroDuration());
  }
  absl::Duration BoundOf(Case what, absl::Duration lived) const {
    const absl::Duration quiet = std::min(options_.idle_timeout, LifetimeLeft(lived));
    switch (what) {
      case Case::kUnplugged:
        return std::min(Keepalive(), quiet);
      case Case::kStandsStill:
      case Case::kReadsSlowly:
        return std::min(options_.write_stalled_timeout, quiet);
      case Case::kUnpluggedFull:
        return std::min({options_.write_stalled_timeout, options_.unacknowledged_timeout, quiet,
                         absl::Nanoseconds(Link::kRetransmitTimeoutNs)});
      case Case::kHalfClosed:
      case Case::kHalfClosedHere:
      case Case::kDownloads:
        return std::min(options_.half_closed_timeout, quiet);
      case Case::kTalks:
        return LifetimeLeft(lived);
      case Case::kCutForGood:
        return std::min({options_.unacknowledged_timeout, LifetimeLeft(lived),
                         absl::Nanoseconds(Link::kRetransmitTimeoutNs)});
      default:
        return quiet;
    }
  }
  // Time from the time-out to the next retransmission, plus a tolerance, as the time of the first
  // one is known only roughly.
  absl::Duration AskedAgainWithin() const {
    const absl::Duration timeout = options_.unacknowledged_timeout;
    const absl::Duration next = old_kernel_
                                    ? std::min(timeout + absl::Seconds(1), absl::Minutes(2))
                                    : std::clamp(timeout / 5, absl::Seconds(1), absl::Minutes(2));
    return next + timeout / 10 + 2 * kTick;
  }
  // True: the output is stuck, as the peer reads little or nothing.
  static bool IsFull(Case what) {
    return what == Case::kUnpluggedFull || what == Case::kStandsStill || what == Case::kReadsSlowly;
  }
  // The kernel may take the rest of its room late (after a spurious event, by the last write before
  // the end, each time only a part), and that counts as progress.
  absl::Duration LatestOf(Case what, absl::Duration lived) const {
    return BoundOf(what, lived) + kSlack +
           (what == Case::kUnpluggedFull || what == Case::kCutForGood ? AskedAgainWithin()
                                                                      : absl::ZeroDuration()) +
           (IsFull(what) ? 3 * options_.write_stalled_timeout : absl::ZeroDuration());
  }
  // If two bounds may be due together, either may come first.
  bool MayBe(Case what, absl::Duration lived, CloseReason reason) const {
    const absl::Duration latest = LatestOf(what, lived);
    if (reason == CloseReason::kIdle) return options_.idle_timeout <= latest;
    if (reason == CloseReason::kLifetime) return LifetimeLeft(lived) <= latest;
    switch (what) {
      case Case::kUnplugged:
      case Case::kCutForGood:
        return reason == CloseReason::kDeadPeer;
      case Case::kUnpluggedFull:
        return reason == CloseReason::kDeadPeer || reason == CloseReason::kWriteStalled;
      case Case::kStandsStill:
      case Case::kReadsSlowly:
        return reason == CloseReason::kWriteStalled;
      case Case::kHalfClosed:
      case Case::kHalfClosedHere:
      case Case::kDownloads:
        return reason == CloseReason::kHalfClosed;
      default:
        return false;
    }
  }
  void Broken(Case what, std::string_view text) {
    simulation_.Broken("L9 close",
                       absl::StrCat("case ", static_cast<int>(what), ": ", ToAbsl(text)));
  }

  Simulation& simulation_;
  Ward& ward_;
  const Options& options_;
  const bool old_kernel_;
};

}  // namespace

void Run(Simulation& simulation) {
  CalmOrHarsh(simulation);
  const auto seconds = [&](const char* name, int64_t least, int64_t most) {
    return absl::Seconds(simulation.Amount(name, least, most));
  };
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 4)));
  options.keepalive_idle = seconds("keepalive", 5, 7'200);
  options.keepalive_interval = seconds("interval", 1, 100);
  options.keepalive_probes = static_cast<int>(simulation.Amount("probes", 1, 9));
  options.write_stalled_timeout = seconds("write_stalled", 5, 1'000);
  options.half_closed_timeout = seconds("half_closed", 5, 1'000);
  options.unacknowledged_timeout = seconds("unacknowledged", 5, 1'000);
  options.idle_timeout = seconds("idle", 100, 20'000);
  options.lifetime_timeout = seconds("lifetime", 200, 30'000);
  const absl::Duration connect_timeout = seconds("connect", 1, 300);
  simulation.os().old_kernel = simulation.Amount("old_kernel", 0, 1) == 1;
  Ward ward{simulation, {}};
  Site site(simulation, options);
  site.runtime().Listen<Patient>("10.0.0.1:7001", &ward);
  SimOs& gone = simulation.NewMachine("gone");
  gone.SetPlugged(false);
  Fate call;
  const auto caller =
      Connect<Caller>(site.runtime(), "10.0.0.2:80", connect_timeout, &call, &simulation);
  const int64_t called_ns = simulation.NowNs();
  if (!site.Start()) return;
  DeadPeers peers(simulation, ward, options);
  {
    std::vector<std::unique_ptr<Crowd>> crowds;
    for (int64_t i = simulation.Amount("clients", 1, 10); i > 0; --i) {
      SimOs& machine = simulation.NewMachine(absl::StrCat("client ", i));
      const auto what =
          static_cast<Case>(simulation.random().Below(static_cast<uint64_t>(Case::kCount)));
      crowds.push_back(std::make_unique<Crowd>(simulation, machine));
      crowds.back()->Add("client", [&peers, &machine, i, what] { peers.Run(machine, i, what); });
    }
  }
  // The kernel gives up after 127 s of its own (tcp_syn_retries).
  const absl::Duration call_bound = std::min(connect_timeout, absl::Seconds(127));
  simulation.RunUntil([&] { return call.ended.has_value(); }, call_bound + kSlack);
  const int64_t took_ns = call.ended_ns - called_ns;
  if (call.ended != CloseReason::kConnectFailed ||
      took_ns > absl::ToInt64Nanoseconds(call_bound + kSlack)) {
    if (!MayEndConnections(simulation.faults)) {
      simulation.Broken("L9 close", absl::StrCat("a connect ended after ", took_ns, " ns"));
    }
  }
  site.End();
}

}  // namespace sluice::sim::dead_peers_scenario
