#include "sluice/tests/os/script.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sim/world/simulation.h"

namespace sluice::testing {

namespace {

// Obeys its client's lines, and logs all its callbacks.
class Server : public Session {
 public:
  explicit Server(Log* log) : log_(*log) {}
  void OnOpen() override { log_.Add("open"); }
  void OnData(Input& in) override {
    for (size_t end = in.Peek().find('\n'); end != std::string_view::npos;
         end = in.Peek().find('\n')) {
      const std::string line(in.Take(end));
      in.Skip(1);
      log_.Add("line " + line);
      Do(line);
    }
  }
  void OnEof() override {
    log_.Add(absl::StrCat("end of input, ", Unconsumed().size(), " bytes left"));
    if (keep_) (void)Write("bye\n");  // A refused write would be missing in the peer's log.
    Close();
  }
  void OnClose(CloseReason reason) override {
    log_.Add(absl::StrCat("closed: ", ToAbsl(CloseReasonName(reason))));
  }

 private:
  void Do(std::string_view line) {
    const size_t space = std::min(line.find(' '), line.size());
    const std::string_view verb = line.substr(0, space);
    const std::string_view rest = line.substr(std::min(space + 1, line.size()));
    int bytes = 0;
    // A refused write would be missing in the peer's log.
    if (verb == "say") (void)Write(absl::StrCat(ToAbsl(rest), "\n"));
    if (verb == "flood" && absl::SimpleAtoi(ToAbsl(rest), &bytes)) {
      (void)Write(std::string(static_cast<size_t>(bytes), 'x'));
    }
    if (verb == "close") Close();
    if (verb == "close_write") CloseWrite();
    if (verb == "abort") Abort();
    if (verb == "stop") Stop();
    if (verb == "keep") keep_ = true;
    if (verb == "pause") hold_ = HoldReading();
    if (verb == "throw") {
      (void)Write("last words\n");
      throw std::runtime_error("as told");
    }
  }
  Log& log_;
  bool keep_ = false;
  ReadHold hold_;
};

class Caller : public Session {
 public:
  explicit Caller(Log* log) : log_(*log) {}
  void OnOpen() override { log_.Add("caller: open"); }
  void OnData(Input& in) override { in.TakeAll(); }
  void OnClose(CloseReason reason) override {
    log_.Add(absl::StrCat("caller: closed: ", ToAbsl(CloseReasonName(reason))));
  }

 private:
  Log& log_;
};

Options OptionsOf(const Script& script) {
  Options options;
  options.workers = 2;
  options.memory_bytes_max = 64 * 1024 * 1024;
  options.max_connections = 16;
  options.log_level = "off";
  if (script.options) script.options(options);
  return options;
}

// The process id keeps two test runs at once apart.
std::string UnixName() { return absl::StrCat("unix:@sluice-fidelity-", getpid()); }

Seen Run(const Script& script, Os& os, std::function<void()> sleep) {
  Log server;
  Seen seen;
  {
    Runtime runtime(OptionsOf(script), os);
    runtime.Listen<Server>(script.listen, &server);
    const absl::Status started = runtime.Start();
    if (!started.ok()) {
      seen.client = {std::string(started.message())};
      return seen;
    }
    Stage stage(os, runtime, server, std::move(sleep));
    script.run(stage);
    stage.client().Close();
    runtime.Drain(absl::Seconds(10));
    seen.client = std::move(stage.client_lines);
    const ConnectionLedger::Totals totals =
        runtime.Attachment<ConnectionLedger>(runtime.WorkerCount()).Sum();
    for (int i = 0; i < kCloseReasonCount; ++i) {
      const int64_t count = totals.closed[static_cast<size_t>(i)];
      if (count == 0) continue;
      absl::StrAppend(&seen.ledger, ToAbsl(CloseReasonName(static_cast<CloseReason>(i))), " ",
                      count, ", ");
    }
    absl::StrAppend(&seen.ledger, "opened ", totals.opened, ", read ", totals.bytes_read, ", held ",
                    totals.BytesHeld());
  }
  seen.server = server.Lines();
  return seen;
}

}  // namespace

void Log::Add(std::string line) {
  std::lock_guard<std::mutex> lock(lock_);
  lines_.push_back(std::move(line));
}

std::vector<std::string> Log::Lines() const {
  std::lock_guard<std::mutex> lock(lock_);
  return lines_;
}

bool Log::Has(std::string_view line) const {
  std::lock_guard<std::mutex> lock(lock_);
  return std::ranges::find(lines_, line) != lines_.end();
}

void Stage::Note(std::string_view step, const absl::Status& status) {
  client_lines.push_back(absl::StrCat(ToAbsl(step), ": ", status.ok() ? "ok" : status.message()));
}

void Stage::Connect() { ConnectTo(runtime_.Listening().front()); }

void Stage::ConnectTo(std::string_view address) { Note("connect", client_.Connect(address)); }

void Stage::Tell(std::string_view line) {
  Note(absl::StrCat("tell ", ToAbsl(line)), client_.Write(absl::StrCat(ToAbsl(line), "\n")));
}

void Stage::Expect(std::string_view bytes) {
  const absl::StatusOr<std::string> read = client_.ReadExactly(bytes.size());
  Note("read", read.status());
  if (read.ok()) client_lines.push_back("heard " + *read);
}

void Stage::ExpectBytes(size_t count) {
  size_t heard = 0;
  while (heard < count) {
    const absl::StatusOr<std::string> read = client_.Read();
    if (!read.ok() || read->empty()) {
      Note("read", read.status());
      break;
    }
    heard += read->size();
  }
  client_lines.push_back(absl::StrCat("heard ", heard, " bytes"));
}

void Stage::ReadToEnd() {
  const absl::StatusOr<std::string> read = client_.ReadToEnd();
  Note("read to the end", read.status());
  if (read.ok()) client_lines.push_back("heard " + *read);
}

void Stage::AwaitUnread() { Note("unread bytes", client_.AwaitUnread()); }
void Stage::CloseWrite() { Note("close write", client_.CloseWrite()); }
void Stage::Close() { client_.Close(); }
void Stage::Reset() { client_.Reset(); }

void Stage::AwaitServer(std::string_view line) {
  const int64_t deadline_ns = os_.NowNs() + 30'000'000'000;
  while (!server_.Has(line) && os_.NowNs() < deadline_ns) sleep_();
  client_lines.push_back(
      absl::StrCat("server: ", ToAbsl(line), server_.Has(line) ? "" : ": never"));
}

const std::vector<Script>& Scripts() {
  static const auto& scripts = *new std::vector<Script>{
      {"AClientThatEndsItsSideHearsTheRest",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("keep");
         stage.Tell("say one");
         stage.Expect("one\n");
         stage.CloseWrite();
         stage.ReadToEnd();
         stage.AwaitServer("closed: closed by the peer");
       }},
      {"AClientThatClosesIsNoticed",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("say one");
         stage.Expect("one\n");
         stage.Close();
         stage.AwaitServer("closed: closed by the peer");
       }},
      {"AClientThatResetsIsNoticed",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("say one");
         stage.Expect("one\n");
         stage.Reset();
         stage.AwaitServer("closed: reset by the peer");
       }},
      {"AClientThatClosesWithUnreadBytesResets",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("say one");
         stage.AwaitUnread();
         stage.Close();
         stage.AwaitServer("closed: reset by the peer");
       }},
      {"APartOfALineIsLeftAtTheEnd",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("say one");
         stage.Expect("one\n");
         stage.client_lines.push_back(stage.client().Write("without end").ok() ? "written"
                                                                               : "not written");
         stage.CloseWrite();
         stage.ReadToEnd();
         stage.AwaitServer("closed: closed by the peer");
       }},
      {"AServerThatClosesIsHeardToTheEnd",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("flood 300000");
         stage.Tell("close");
         stage.ReadToEnd();
         stage.Close();
         stage.AwaitServer("closed: closed");
       }},
      {"AServerThatClosesTakesWhatStillComes",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("say one");
         stage.Tell("close");
         stage.Expect("one\n");
         stage.AwaitServer("line close");
         stage.Tell("too late");
         stage.ReadToEnd();
         stage.Close();
         stage.AwaitServer("closed: closed");
       }},
      {"AServerThatAbortsResets",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("say one");
         stage.Expect("one\n");
         stage.Tell("abort");
         stage.ReadToEnd();
         stage.AwaitServer("closed: aborted");
       }},
      {"AServerThatEndsItsSideGoesOnListening",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("say one");
         stage.Tell("close_write");
         stage.ReadToEnd();
         stage.Tell("still here");
         stage.AwaitServer("line still here");
         stage.CloseWrite();
         stage.AwaitServer("closed: closed");
       }},
      {"AHandlerThatThrowsLosesNoWrittenByte",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("throw");
         stage.ReadToEnd();
         stage.Close();
       }},
      {"AnActorThatStopsClosesItsConnection",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("say one");
         stage.Tell("stop");
         stage.ReadToEnd();
         stage.Close();
       }},
      {"WhatNobodyListensOnIsRefused", [](Stage& stage) { stage.ConnectTo("127.0.0.1:1"); }},
      {"AnOutgoingConnectionIsRefused",
       [](Stage& stage) {
         const auto caller = sluice::Connect<Caller>(stage.runtime(), "127.0.0.1:1",
                                                     absl::Seconds(5), &stage.server());
         stage.client_lines.push_back(caller.ok() ? "calls" : "does not call");
         stage.AwaitServer("caller: closed: connect failed");
       }},
      {"PastTheLimitAConnectionIsRefused",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("say one");
         stage.Expect("one\n");
         sim::Client second(stage.os());
         const bool connected = second.Connect(stage.runtime().Listening().front()).ok();
         stage.client_lines.push_back(connected ? "second: connected" : "second: not connected");
         const absl::StatusOr<std::string> read = second.Read();
         stage.client_lines.push_back(absl::StrCat("second: ", read.ok() ? *read : "reset"));
         stage.Tell("say two");
         stage.Expect("two\n");
         stage.Close();
         stage.AwaitServer("closed: closed by the peer");
       },
       [](Options& options) { options.max_connections = 1; }},
      {"AnIdleConnectionIsEnded",
       [](Stage& stage) {
         stage.Connect();
         stage.ReadToEnd();
         stage.Close();
         stage.AwaitServer("closed: idle");
       },
       [](Options& options) { options.idle_timeout = absl::Milliseconds(50); }},
      {"AHalfClosedConnectionIsReaped",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("close_write");
         stage.ReadToEnd();
         stage.AwaitServer("closed: half-closed");
       },
       [](Options& options) { options.half_closed_timeout = absl::Milliseconds(50); }},
      {"AClientThatReadsNothingIsEnded",
       [](Stage& stage) {
         stage.client().LimitBuffers(4'096, 4'096);
         stage.Connect();
         stage.Tell("flood 1000000");
         stage.AwaitServer("closed: write stalled");
       },
       [](Options& options) {
         options.write_stalled_timeout = absl::Milliseconds(200);
         options.notsent_bytes_max = 16 * 1024;
       }},
      {"ADrainClosesAfterWhatHadCome",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("say one");
         stage.Expect("one\n");
         stage.Tell("say two");
         stage.AwaitServer("line say two");
         stage.runtime().Drain(absl::Seconds(10));
         stage.ReadToEnd();
       }},
      {"OnAUnixSocketAClientEndsItsSide",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("keep");
         stage.Tell("say one");
         stage.Expect("one\n");
         stage.CloseWrite();
         stage.ReadToEnd();
         stage.AwaitServer("closed: closed by the peer");
       },
       nullptr, UnixName()},
      {"OnAUnixSocketUnreadBytesReset",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("say one");
         stage.AwaitUnread();
         stage.Close();
         stage.AwaitServer("closed: reset by the peer");
       },
       nullptr, UnixName()},
      {"OnAUnixSocketAFloodIsReadWhole",
       [](Stage& stage) {
         stage.Connect();
         stage.Tell("flood 1000000");
         stage.ExpectBytes(1'000'000);
         stage.Tell("close");
         stage.ReadToEnd();
         stage.Close();
         stage.AwaitServer("closed: closed");
       },
       nullptr, UnixName()},
  };
  return scripts;
}

Seen RunOnLinux(const Script& script) {
  return Run(script, LinuxOs(),
             [] { std::this_thread::sleep_for(std::chrono::microseconds(200)); });
}

Seen RunSimulated(const Script& script, uint64_t seed) {
  sim::Simulation simulation(seed);
  Seen seen = Run(script, simulation.os(), [&] { simulation.Sleep(absl::Microseconds(200)); });
  if (simulation.Failed()) seen.client.push_back(simulation.violation());
  return seen;
}

}  // namespace sluice::testing
