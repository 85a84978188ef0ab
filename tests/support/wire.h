// Connections without a kernel: the test plays the socket through a Wire, WireOs supplies its
// readiness and a clock that only the test moves, and Rig takes the turns of one worker on the
// test's thread.
#ifndef SLUICE_TESTS_SUPPORT_WIRE_H_
#define SLUICE_TESTS_SUPPORT_WIRE_H_

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/actors/connection/session.h"
#include "sluice/actors/connection/stream.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/memory/budget.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/worker/worker.h"
#include "sluice/tests/support/forwarding_os.h"
#include "sluice/tests/support/log_level_scope.h"

namespace sluice::testing {

// Wire is one socket and the record of what happened to it. The test changes it; WireOs::Event
// gives the edges.
struct Wire {
  int fd = -1;
  bool tcp = true;
  // To read: `input`, at most read_max at a time, then EOF or an error, or EAGAIN.
  std::string input;
  size_t read_max = SIZE_MAX;
  bool ended = false;
  int read_error = 0;
  std::function<bool()> delay;  // True: this call answers EAGAIN, whatever input or room there is.
  // To write: as much as `room` allows, at most write_max at a time.
  std::string output;
  int64_t room = INT64_MAX;
  size_t write_max = SIZE_MAX;
  int write_error = 0;
  int socket_error = 0;  // SO_ERROR.
  int64_t unacknowledged = 0;
  std::function<int64_t()> acknowledged_ms;  // Unset: unknown.
  std::function<void()> on_close;
  // How long the peer has not answered, though it is asked again each second; unset: it answers.
  std::function<int64_t()> unanswered_ms;
  std::function<Unanswered()> unanswered;  // Instead of unanswered_ms: the whole result.
  int64_t round_trip_ms = 0;
  // The connection's calls so far.
  int reads = 0;
  int writes = 0;
  int looks = 0;
  bool fin = false;
  bool closed = false;
  bool reset = false;
};

class WireStream : public Stream {
 public:
  explicit WireStream(Wire& wire) : wire_(wire) {}
  int64_t Read(char* data, size_t size) override {
    EXPECT_FALSE(wire_.closed);
    ++wire_.reads;
    if (wire_.delay && wire_.delay()) return -EAGAIN;
    const size_t count = std::min({size, wire_.read_max, wire_.input.size()});
    if (count > 0) {
      std::memcpy(data, wire_.input.data(), count);
      wire_.input.erase(0, count);
      return static_cast<int64_t>(count);
    }
    if (wire_.read_error != 0) return -wire_.read_error;
    return wire_.ended ? 0 : -EAGAIN;
  }
  int64_t Write(const iovec* parts, int count) override {
    EXPECT_FALSE(wire_.closed);
    EXPECT_FALSE(wire_.fin);
    ++wire_.writes;
    if (wire_.write_error != 0) return -wire_.write_error;
    if (wire_.delay && wire_.delay()) return -EAGAIN;
    size_t left = static_cast<size_t>(std::min<int64_t>(wire_.room, INT64_MAX));
    left = std::min(left, wire_.write_max);
    int64_t taken = 0;
    for (int i = 0; i < count && left > 0; ++i) {
      const size_t part = std::min(left, parts[i].iov_len);
      wire_.output.append(static_cast<const char*>(parts[i].iov_base), part);
      left -= part;
      taken += static_cast<int64_t>(part);
    }
    if (wire_.room != INT64_MAX) wire_.room -= taken;
    return taken == 0 ? -EAGAIN : taken;
  }
  int64_t SendFile(int file, int64_t offset, int64_t bytes) override {
    std::string read(static_cast<size_t>(std::min<int64_t>(bytes, 1 << 20)), '\0');
    const ssize_t count = pread(file, read.data(), read.size(), offset);
    if (count <= 0) return count < 0 ? -errno : 0;
    const iovec part{read.data(), static_cast<size_t>(count)};
    return Write(&part, 1);
  }
  int ShutdownWrite() override {
    EXPECT_FALSE(wire_.fin);
    wire_.fin = true;
    return wire_.write_error != 0 ? -ENOTCONN : 0;
  }
  void Close(bool reset) override {
    EXPECT_FALSE(wire_.closed);
    wire_.closed = true;
    wire_.reset = reset;
    if (wire_.on_close) wire_.on_close();
  }
  int Descriptor() const override { return wire_.fd; }
  int64_t UnacknowledgedBytes() override { return wire_.unacknowledged; }
  int64_t AcknowledgedMs() override {
    return wire_.acknowledged_ms ? wire_.acknowledged_ms() : Unanswered::kUnknown;
  }
  Unanswered LookForAnswer() override {
    ++wire_.looks;
    if (wire_.unanswered) return wire_.unanswered();
    if (!wire_.unanswered_ms) return {};
    const int64_t silent_ms = wire_.unanswered_ms();
    return {silent_ms, silent_ms, silent_ms % 1'000};
  }
  int64_t RoundTripMs() override { return wire_.round_trip_ms; }
  bool ShortReadMeansEmpty() const override { return wire_.tcp; }

 private:
  Wire& wire_;
};

class WireOs : public ForwardingOs {
 public:
  static constexpr int kFirstFd = 1'000'000;

  int64_t NowNs() override { return now_ns_ += tick_ns; }
  void Advance(absl::Duration by) { now_ns_ += absl::ToInt64Nanoseconds(by); }
  Wire& NewWire() {
    wires_.push_back(std::make_unique<Wire>());
    wires_.back()->fd = kFirstFd + static_cast<int>(wires_.size()) - 1;
    return *wires_.back();
  }
  void Event(const Wire& wire, uint32_t events) { due_.emplace_back(wire.fd, events); }
  bool Registered(const Wire& wire) const { return registered_.contains(wire.fd); }
  const std::vector<std::unique_ptr<Wire>>& wires() const { return wires_; }
  int64_t tick_ns = 0;  // Each look at the clock advances it by this.
  bool HasEvents(int poller) const {
    return std::any_of(due_.begin(), due_.end(), [&](const auto& due) {
      const auto found = registered_.find(due.first);
      return found != registered_.end() && found->second.poller == poller;
    });
  }
  int option_gets = 0;
  int add_error = 0;
  // Files: not in memory until they are fetched, each time. What a fetch does on its thread of the
  // pool; unset: it answers what is there.
  bool files_cold = false;
  std::function<int64_t(int64_t offset, int64_t bytes)> fetch;
  std::atomic<int> fetches{0};
  // The last wait would have slept: there was nothing to do, and nothing came.
  bool slept = false;
  // Set at a test's end: each wait then advances the clock, so deadlines pass.
  bool clock_runs = false;

  int PollerAdd(int poller, int fd, uint32_t events, uint64_t data) override {
    if (fd < kFirstFd) return ForwardingOs::PollerAdd(poller, fd, events, data);
    if (add_error != 0) return -add_error;
    registered_[fd] = {poller, data};
    return 0;
  }
  int PollerRemove(int poller, int fd) override {
    if (fd < kFirstFd) return ForwardingOs::PollerRemove(poller, fd);
    EXPECT_EQ(registered_.erase(fd), add_error == 0 ? 1u : 0u);
    // As with epoll, events already in the worker's current batch still come.
    return 0;
  }
  int PollerWait(int poller, epoll_event* events, int events_max, int timeout_ms) override {
    if (clock_runs) Advance(absl::Milliseconds(1));
    int count = 0;
    for (auto due = due_.begin(); due != due_.end() && count < events_max;) {
      const auto found = registered_.find(due->first);
      if (found != registered_.end() && found->second.poller != poller) {
        ++due;  // Another worker's.
        continue;
      }
      if (found != registered_.end()) {
        events[count].events = due->second;
        events[count++].data.u64 = found->second.data;
      }
      due = due_.erase(due);
    }
    if (count == 0) count = ForwardingOs::PollerWait(poller, events, events_max, 0);
    slept = count == 0 && timeout_ms != 0;
    return count;
  }
  int FileInMemory(int file, int64_t offset, int64_t) override {
    return FileBytes(file) <= offset ? -ENODATA : files_cold ? 0 : 1;
  }
  int64_t FileFetch(int file, int64_t offset, int64_t bytes) override {
    ++fetches;
    if (fetch) return fetch(offset, bytes);
    return std::clamp<int64_t>(FileBytes(file) - offset, 0, bytes);
  }
  // A drain does not wait: only the test's turns move time.
  void WaitFor(std::condition_variable&, std::unique_lock<std::mutex>&, int64_t) override {}
  int OptionGet(int fd, int level, int name, void* value, socklen_t* size) override {
    if (fd < kFirstFd) return ForwardingOs::OptionGet(fd, level, name, value, size);
    ++option_gets;
    EXPECT_EQ(name, SO_ERROR);
    *static_cast<int*>(value) = std::exchange(wires_[fd - kFirstFd]->socket_error, 0);
    return 0;
  }

 private:
  static int64_t FileBytes(int file) {
    struct stat found {};
    EXPECT_EQ(fstat(file, &found), 0);
    return static_cast<int64_t>(found.st_size);
  }
  int64_t now_ns_ = 1'000'000'000'000;
  std::vector<std::unique_ptr<Wire>> wires_;
  struct Registration {
    int poller;
    uint64_t data;
  };
  std::map<int, Registration> registered_;
  std::deque<std::pair<int, uint32_t>> due_;
};

// ScriptSession has handlers that the test writes; it notes which handlers ran.
class ScriptSession : public Session {
 public:
  struct Notes {
    std::string data;   // Taken by the default OnData, which takes all input.
    std::string heard;  // A letter for each call: Open, Data, Eof, Writable, H for OnDrain, Close.
    CloseReason reason = CloseReason::kError;
    std::function<void(ScriptSession&)> on_start, on_open, on_eof, on_writable, on_drain, on_close;
    std::function<void(ScriptSession&, Input&)> on_data;
    std::function<void(ScriptSession&, int)> on_message;
    ScriptSession* session = nullptr;
  };
  struct Poke {
    int value = 0;
  };
  explicit ScriptSession(Notes* notes) : notes_(*notes) { notes_.session = this; }
  ~ScriptSession() override { notes_.session = nullptr; }
  void OnStart() override { Run(notes_.on_start); }
  void OnOpen() override { Note('O', notes_.on_open); }
  void OnData(Input& in) override {
    notes_.heard += 'D';
    if (notes_.on_data) {
      notes_.on_data(*this, in);
    } else {
      notes_.data += in.TakeAll();
    }
  }
  void OnEof() override {
    notes_.heard += 'E';
    if (notes_.on_eof) {
      notes_.on_eof(*this);
    } else {
      Session::OnEof();
    }
  }
  void OnWritable() override { Note('W', notes_.on_writable); }
  void OnDrain() override {
    notes_.heard += 'H';
    if (notes_.on_drain) {
      notes_.on_drain(*this);
    } else {
      Session::OnDrain();
    }
  }
  void OnClose(CloseReason reason) override {
    notes_.reason = reason;
    Note('C', notes_.on_close);
  }
  void On(Poke poke) {
    if (notes_.on_message) notes_.on_message(*this, poke.value);
  }
  using Actor::After;
  using Actor::Every;
  using Actor::RefOf;
  using Actor::Send;
  using Actor::Stop;
  using Session::Abort;
  using Session::Close;
  using Session::CloseWhenDone;
  using Session::CloseWrite;
  using Session::connection;
  using Session::HoldReading;
  using Session::LimitReading;
  using Session::MayGoOn;
  using Session::OutputBytes;
  using Session::ReadingHeld;
  using Session::SendFile;
  using Session::SetInputMax;
  using Session::SetReceiveTimeout;
  using Session::Unconsumed;
  using Session::WantWritable;
  using Session::Write;
  using Session::WriteOrAbort;
  // A hold of the script's.
  void PauseReading() { hold_ = HoldReading(); }
  void ResumeReading() { hold_.Release(); }

 private:
  void Run(const std::function<void(ScriptSession&)>& handler) {
    if (handler) handler(*this);
  }
  void Note(char call, const std::function<void(ScriptSession&)>& handler) {
    notes_.heard += call;
    Run(handler);
  }
  Notes& notes_;
  ReadHold hold_;
};

inline Options WireOptions() {
  Options options;
  options.workers = 1;
  options.memory_bytes_max = 64 * 1024 * 1024;
  options.max_connections = 1'024;
  return options;
}

class Rig {
 public:
  using Notes = ScriptSession::Notes;

  explicit Rig(Options options = WireOptions()) : runtime(options, os), worker(runtime.worker(0)) {
    EXPECT_TRUE(runtime.status().ok()) << runtime.status();
    worker.Enter();
  }
  ~Rig() {
    os.clock_runs = true;
    worker.Leave();
    runtime.Drain(absl::ZeroDuration());
    const ConnectionLedger::Totals totals = Ledger();
    EXPECT_EQ(totals.Open(), 0);
    EXPECT_EQ(totals.BytesHeld(), 0) << totals.ToString();
    for (const auto& wire : os.wires()) EXPECT_TRUE(wire->closed || !os.Registered(*wire));
  }

  // A wire, and the notes of the session that will use it; both live as long as the rig.
  struct Peer {
    Wire& wire;
    Notes& notes;
  };
  Peer New() {
    notes_.push_back(std::make_unique<Notes>());
    return {os.NewWire(), *notes_.back()};
  }

  // Opens a connection on `wire`, with a session of class S.
  template <class S, class... Args>
  Slot* OpenAs(Wire& wire, Connection::Start start, absl::Duration connect_timeout, Args... args) {
    Slot* slot = worker.life().AllocateSlot();
    worker.life().Open(slot, runtime.options().mailbox_messages_max);
    internal::Construct<S>(worker, slot, args...);
    Connection::Open(worker, slot, std::make_unique<WireStream>(wire), ConnectionOwner{}, start,
                     connect_timeout);
    return slot;
  }
  Slot* Open(Wire& wire, Notes& notes) {
    return OpenAs<ScriptSession>(wire, Connection::Start::kConnected, absl::InfiniteDuration(),
                                 &notes);
  }
  Slot* OpenConnecting(Wire& wire, Notes& notes, absl::Duration timeout) {
    return OpenAs<ScriptSession>(wire, Connection::Start::kConnecting, timeout, &notes);
  }

  // Takes turns until the worker would sleep; a worker that never does is a busy loop.
  void Settle(int turns_max = 20'000) {
    for (int i = 0; i < turns_max; ++i) {
      Turn();
      if (os.slept) return;
    }
    ADD_FAILURE() << "the worker does not come to rest: a busy loop";
  }
  void Turn() {
    os.slept = false;
    worker.Turn(worker.NowMs() + 1'000'000'000);
    Check();
  }
  void Advance(absl::Duration by) {
    os.Advance(by);
    Settle();
  }

  // Settles until `done`, which another thread helps to reach.
  template <class F>
  void Await(F done) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (Settle(); !done(); Settle()) {
      ASSERT_LT(std::chrono::steady_clock::now(), until);
      std::this_thread::yield();
    }
  }

  // Events of the kernel.
  void Arrive(Wire& wire, std::string_view bytes) {
    wire.input += bytes;
    os.Event(wire, EPOLLIN);
  }
  void Fin(Wire& wire) {
    wire.ended = true;
    os.Event(wire, EPOLLIN | EPOLLRDHUP);
  }
  void Reset(Wire& wire, int error = ECONNRESET) {
    wire.read_error = wire.write_error = wire.socket_error = error;
    os.Event(wire, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
  }
  void Room(Wire& wire, int64_t bytes) {
    wire.room += bytes;
    os.Event(wire, EPOLLOUT);
  }

  // True: takes all that is left of the budget. False: gives it back.
  void TakeMemory(bool take) {
    Budget& budget = runtime.budget();
    if (take && memory_taken == 0) {
      memory_taken = std::max<int64_t>(0, budget.TakeUpTo(0, budget.BytesMax()));
      EXPECT_FALSE(budget.Take(1));
    } else if (!take) {
      budget.Give(std::exchange(memory_taken, 0));
    }
  }

  ConnectionLedger::Totals Ledger() {
    return runtime.Attachment<ConnectionLedger>(runtime.WorkerCount()).Sum();
  }
  int64_t Closed(CloseReason reason) { return Ledger().closed[static_cast<int>(reason)]; }
  static Connection* Of(Slot* slot) { return static_cast<Connection*>(slot->io); }

  // L9, after each step: every connection is open or closed for one reason, every accepted byte is
  // sent, lost or held.
  void Check() {
    int64_t open = 0;
    int64_t held = 0;
    runtime.shared().slots.ForEach(&worker, [&](Slot* slot) {
      if (slot->io == nullptr) return;
      Of(slot)->CheckInvariants();
      ++open;
      held += Of(slot)->UnsentBytes();
    });
    const ConnectionLedger::Totals totals = Ledger();
    ASSERT_EQ(totals.Open(), open) << totals.ToString();
    ASSERT_EQ(totals.BytesHeld(), held) << totals.ToString();
    int64_t sent = 0;
    for (const auto& wire : os.wires()) sent += static_cast<int64_t>(wire->output.size());
    ASSERT_EQ(totals.bytes_sent, sent) << totals.ToString();
  }

  std::vector<std::unique_ptr<Notes>> notes_;
  WireOs os;
  Runtime runtime;
  Worker& worker;
  int64_t memory_taken = 0;

 private:
  const LogLevelScope quiet_{LogLevel::kOff};
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_WIRE_H_
