// Every byte that a client sends comes back, in order and once, whatever the network does,
// whichever side stops reading, and however either side ends. Each end is counted under its true
// reason.
#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sluice/actors/peers/acceptor.h"
#include "sluice/sim/check/close_check.h"
#include "sluice/sim/check/site.h"
#include "sluice/sim/scenarios/all.h"
#include "sluice/sim/scenarios/talk.h"
#include "sluice/sim/world/client.h"

namespace sluice::sim::echo_scenario {

namespace {

// A client's first byte picks the server's behaviour; 'e': an echo.
constexpr char kKeeps = 'k';       // Consumes records of kRecordBytes only.
constexpr char kPauses = 'p';      // Stops reading for a while, now and then.
constexpr char kSaysAll = 's';     // Answers with kAnswerBytes and closes.
constexpr char kHalfCloses = 'h';  // Answers likewise, ends its side, and counts later input.
constexpr char kAborts = 'a';      // Aborts, by another session or after a long wait.
// Writes kTaleBytes as fast as there is room, and is parked again and again.
constexpr char kTells = 't';
constexpr std::string_view kManners = "eeekkpppshaat";
constexpr size_t kRecordBytes = 700;
constexpr size_t kAnswerBytes = 60'000;
constexpr size_t kPieceBytes = 26 * 400;  // Whole turns of Pattern().
constexpr size_t kTaleBytes = 60 * kPieceBytes;

constexpr absl::Duration kWaits = absl::Milliseconds(200);

class Speaker;

struct Tally {
  explicit Tally(Simulation& of) : simulation(of), closes(of) {}
  Simulation& simulation;
  CloseCheck closes;
  std::array<int64_t, kCloseReasonCount> sure{};  // Ends that clients know for sure.
  int64_t unsure = 0;                             // Ends with any reason.
  int64_t half_closed_bytes = 0;                  // Bytes received after the own half-close,
  int64_t half_closed_sent = 0;                   // and bytes that clients sent then.
  std::map<const Worker*, std::vector<Speaker*>> waiting = {};  // Sessions to be aborted.
  std::map<const Worker*, bool> ending = {};                    // A handler is aborting one.
};

class Speaker : public Session {
 public:
  explicit Speaker(Tally* tally) : tally_(*tally) {}
  void OnOpen() override { number_ = tally_.closes.Opened(); }
  void OnClose(CloseReason reason) override {
    tally_.closes.Closed(number_, reason);
    if (tally_.ending[&worker()]) {
      tally_.simulation.Broken("L4 one at a time",
                               "a session is notified of its end in another session's handler");
    }
    std::erase(tally_.waiting[&worker()], this);
  }
  void OnData(Input& in) override {
    if (manner_ == 0) {
      manner_ = in.Take(1)[0];
      if (manner_ == kAborts) {
        tally_.waiting[&worker()].push_back(this);
        After(kWaits, [this] { Abort(); });
        return;
      }
      if (manner_ == kTells) return Tell();
      if (manner_ == kSaysAll || manner_ == kHalfCloses) {
        if (Write(Pattern(0, 0, kAnswerBytes)) != Answer::kAccepted) {
          tally_.simulation.Broken("L3 bound", "an empty output has no room");
        }
        return manner_ == kSaysAll ? Close() : CloseWrite();
      }
    }
    if (manner_ == kTells) return in.Skip(in.size());
    if (manner_ == kHalfCloses) {
      tally_.half_closed_bytes += static_cast<int64_t>(in.TakeAll().size());
      return;
    }
    if (manner_ == kPauses && tally_.simulation.random().Below(3) == 0) {
      const auto rest = absl::Microseconds(tally_.simulation.random().Between(1, 50'000));
      After(rest, [hold = HoldReading()] {});
    }
    WriteOrAbort(in.Take(manner_ == kKeeps ? in.size() / kRecordBytes * kRecordBytes : in.size()));
    EndAnother();
  }
  void OnEof() override {
    WriteOrAbort(Unconsumed());
    Close();
  }
  void OnWritable() override {
    if (manner_ == kTells) Tell();
  }

 private:
  void EndAnother() {
    std::vector<Speaker*>& waiting = tally_.waiting[&worker()];
    if (waiting.empty()) return;
    // Time for a reset of its own connection, of which no event has told yet.
    tally_.simulation.Sleep(absl::Microseconds(tally_.simulation.random().Below(1'000)));
    tally_.ending[&worker()] = true;
    waiting.front()->Abort();
    tally_.ending[&worker()] = false;
    if (connection() == nullptr) {
      tally_.simulation.Broken("L4 one at a time",
                               "a connection ends in the middle of its own handler");
    }
  }
  void Tell() {
    while (told_bytes_ < kTaleBytes) {
      if (Write(Pattern(0, 0, kPieceBytes)) == Answer::kFull) return Park();
      told_bytes_ += kPieceBytes;
    }
    Close();
  }
  // Submits more than the pool takes: until there is room this session handles nothing.
  void Park() {
    for (int64_t i = tally_.simulation.random().Between(0, 4); i > 0; --i) {
      const auto takes = absl::Microseconds(tally_.simulation.random().Between(1, 20'000));
      (void)RunBlocking([&simulation = tally_.simulation, takes] { simulation.Sleep(takes); },
                        [](const absl::Status&) {});
    }
  }

  Tally& tally_;
  int64_t number_ = 0;
  char manner_ = 0;
  size_t told_bytes_ = 0;
};

class Talk {
 public:
  Talk(Tally& tally, SimOs& machine, int64_t number, int64_t rounds)
      : simulation_(tally.simulation),
        tally_(tally),
        random_(tally.simulation.random()),
        door_(AnyDoor(tally.simulation, machine)),
        client_(*door_.machine),
        number_(number),
        rounds_(rounds) {}

  void Run() {
    if (random_.Below(2) == 0) {
      LimitBuffersBelow(client_, random_, 8'000);
    }
    if (!Allowed(simulation_, client_.Connect(door_.address))) return;
    const char manner = kManners[random_.Below(kManners.size())];
    ++tally_.unsure;  // Until the end is known.
    if (!Allowed(simulation_, client_.Write(std::string(1, manner)))) return;
    switch (manner) {
      case kSaysAll:
        return HearAll(kAnswerBytes);
      case kTells:
        return HearAll(kTaleBytes);
      case kHalfCloses:
        return SendAfterTheEnd();
      case kAborts:
        return HearReset();
      default:
        if (Rounds(manner == kKeeps)) End();
    }
  }

 private:
  // With at most half a watermark under way the server always goes on reading: otherwise both could
  // wait for each other for ever.
  bool Rounds(bool records) {
    constexpr size_t kUnderWayMax = 8'000;
    std::string sent;  // Sent, and not echoed yet.
    for (int64_t round = 0; round < rounds_ || !sent.empty();) {
      if (random_.Below(16) == 0) simulation_.Sleep(absl::Milliseconds(random_.Between(1, 500)));
      const size_t bytes = records ? kRecordBytes * (1 + random_.Below(4))
                                   : 1 + static_cast<size_t>(random_.Below(5'000));
      if (round < rounds_ && sent.size() + bytes <= kUnderWayMax && random_.Below(2) == 0) {
        const std::string more = Pattern(number_, round++, bytes);
        if (!Allowed(simulation_, client_.Write(more))) return false;
        sent += more;
      } else if (!sent.empty()) {
        const auto read = client_.ReadExactly(1 + static_cast<size_t>(random_.Below(sent.size())));
        if (!Allowed(simulation_, read.status())) return false;
        if (sent.compare(0, read->size(), *read) != 0) {
          simulation_.Broken("L2 order", "an echo differs from what was sent");
        }
        sent.erase(0, read->size());
      }
    }
    return true;
  }

  void End() {
    switch (random_.Below(5)) {
      case 0: {
        // The last bytes are echoed after our FIN.
        if (!Allowed(simulation_, client_.Write("last"))) return;
        if (!Allowed(simulation_, client_.CloseWrite())) return;
        const absl::StatusOr<std::string> rest = client_.ReadToEnd();
        if (!Allowed(simulation_, rest.status())) return;
        if (*rest != "last" && (door_.tcp || !MayEndConnections(simulation_.faults))) {
          simulation_.Broken("L9 close", "the last echo did not come");
        }
        return Sure(CloseReason::kPeerClosed);
      }
      case 1:
        // The last bytes may be read even after the reset has arrived.
        if (door_.tcp && random_.Below(2) == 0 && !Allowed(simulation_, client_.Write("unheard"))) {
          return;
        }
        client_.Reset();  // A UNIX socket knows no reset.
        return Sure(door_.tcp ? CloseReason::kReset : CloseReason::kPeerClosed);
      case 2:  // Closes with the echo unread, or on its way.
        if (Allowed(simulation_, client_.Write("unread"))) {
          simulation_.Sleep(absl::Milliseconds(random_.Below(2)));
        }
        return client_.Close();
      default:
        client_.Close();
        return Sure(CloseReason::kPeerClosed);
    }
  }

  // Expects all of an answer that was followed by a close, though the server did not read all
  // input.
  void HearAll(size_t bytes) {
    for (int64_t i = random_.Between(0, rounds_); i > 0; --i) {
      if (!client_.Write(Pattern(number_, i, 500)).ok()) break;
    }
    if (random_.Below(2) == 0) simulation_.Sleep(absl::Milliseconds(random_.Between(1, 3'000)));
    const absl::StatusOr<std::string> answer = client_.ReadToEnd();
    if (!Allowed(simulation_, answer.status())) return;
    // The connection may have been refused; a UNIX socket cannot tell that it was cut short.
    if (MayEndConnections(simulation_.faults) && (answer->empty() || !door_.tcp)) return;
    if (*answer != Pattern(0, 0, bytes)) {
      simulation_.Broken("L9 close", absl::StrCat("of an answer came ", answer->size(), " bytes"));
    }
    client_.Close();
    Sure(CloseReason::kClosed);
  }

  void SendAfterTheEnd() {
    const absl::StatusOr<std::string> answer = client_.ReadToEnd();
    if (!Allowed(simulation_, answer.status())) return;
    if (MayEndConnections(simulation_.faults) && (answer->empty() || !door_.tcp)) return;
    if (*answer != Pattern(0, 0, kAnswerBytes)) simulation_.Broken("L9 close", "half an answer");
    for (int64_t i = 0; i < rounds_; ++i) {
      const std::string more = Pattern(number_, i, 1 + random_.Below(20'000));
      if (!Allowed(simulation_, client_.Write(more))) return;
      tally_.half_closed_sent += static_cast<int64_t>(more.size());
    }
    if (!Allowed(simulation_, client_.CloseWrite())) return;
    --tally_.unsure;  // kClosed: the server's side ended first.
    ++tally_.sure[static_cast<size_t>(CloseReason::kClosed)];
  }

  void HearReset() {
    const absl::Status end = client_.ReadToEnd().status();
    if (door_.tcp ? absl::IsDeadlineExceeded(end) || end.ok() : absl::IsDeadlineExceeded(end)) {
      if (!MayEndConnections(simulation_.faults)) {
        simulation_.Broken("L9 close", absl::StrCat("no reset: ", end.ToString()));
      }
      return;
    }
    Sure(CloseReason::kAborted);
  }

  void Sure(CloseReason reason) {
    --tally_.unsure;
    ++tally_.sure[static_cast<size_t>(reason)];
  }

  Simulation& simulation_;
  Tally& tally_;
  Random& random_;
  const Door door_;
  Client client_;
  const int64_t number_;
  const int64_t rounds_;
};

}  // namespace

void Run(Simulation& simulation) {
  CalmOrHarsh(simulation);
  Options options = SmallOptions(static_cast<int>(simulation.Amount("workers", 1, 4)));
  options.input_bytes_max = 2 * kRecordBytes + static_cast<int64_t>(32 * 1024);
  options.output_bytes_max = static_cast<int64_t>(160 * 1024);
  options.blocking_threads_max = 1;
  options.blocking_calls_max = 1;
  Site site(simulation, options);
  Tally tally(simulation);
  site.runtime().Listen<Speaker>(kDoors, &tally);
  if (!site.Start()) return;
  SimOs& machine = simulation.NewMachine("clients");
  Crowd crowd(simulation, machine);
  const int64_t rounds = simulation.Amount("rounds", 1, 12);
  for (int64_t i = simulation.Amount("clients", 1, 12); i > 0; --i) {
    crowd.Add(absl::StrCat("client ", i), [&, i] { Talk(tally, machine, i, rounds).Run(); });
  }
  crowd.Join();
  simulation.Sleep(absl::Seconds(1));
  site.End();
  const ConnectionLedger::Totals totals = ConnectionsOf(site);
  tally.closes.AtEnd(totals);
  if (MayEndConnections(simulation.faults)) return;
  for (int i = 0; i < kCloseReasonCount; ++i) {
    const int64_t counted = totals.closed[i];
    const int64_t least = tally.sure[i];
    if (counted < least || counted > least + tally.unsure) {
      simulation.Broken("L9 close", absl::StrCat(least, " to ", least + tally.unsure, " ends are ",
                                                 i, ": ", totals.ToString()));
    }
  }
  if (tally.half_closed_bytes != tally.half_closed_sent) {
    simulation.Broken("L9 close", "bytes behind a half-close are missing");
  }
}

}  // namespace sluice::sim::echo_scenario
