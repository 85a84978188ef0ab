#include "sluice/sim/world/sim_os.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/base/check.h"
#include "sluice/core/base/strings.h"
#include "sluice/sim/world/network.h"
#include "sluice/sim/world/simulation.h"
#include "sluice/sim/world/thread.h"

namespace sluice::sim {

namespace {

std::shared_ptr<const Address> MustParse(const std::string& text) {
  return std::make_shared<const Address>(*Address::Parse(text));
}

// Names of a wait's events: IN|RDHUP.
std::string EventNames(int64_t events) {
  static constexpr std::pair<uint32_t, const char*> kNames[] = {{EPOLLIN, "IN"},
                                                                {EPOLLOUT, "OUT"},
                                                                {EPOLLERR, "ERR"},
                                                                {EPOLLHUP, "HUP"},
                                                                {EPOLLRDHUP, "RDHUP"}};
  std::string names;
  for (const auto& [bit, name] : kNames) {
    if ((events & bit) != 0) absl::StrAppend(&names, names.empty() ? "" : "|", name);
  }
  return names;
}

std::string ResultText(std::string_view call, int64_t result) {
  if (result < 0) return absl::StrCat("-", strerrorname_np(static_cast<int>(-result)));
  return call == "event" ? EventNames(result) : absl::StrCat(result);
}

}  // namespace

SimOs::SimOs(Simulation& simulation, std::string name, int number)
    : simulation_(simulation), name_(std::move(name)) {
  addresses_ = {MustParse(absl::StrCat("10.", number >> 16, ".", (number >> 8) & 255, ".",
                                       number & 255, ":0")),
                MustParse(absl::StrFormat("[fd00::%x]:0", number))};
}

SimOs::~SimOs() {
  for (auto& file : files_) {
    if (file != nullptr) file->Closed();
  }
}

int64_t SimOs::Done(std::string_view call, int fd, int64_t result, std::string_view data) {
  Trace& trace = simulation_.trace();
  trace.CountEvent();
  trace.Add(call.size() ^ (uint64_t{static_cast<unsigned char>(call[0])} << 8) ^
            (uint64_t{static_cast<uint32_t>(fd)} << 32));
  trace.Add(static_cast<uint64_t>(result));
  if (!data.empty()) trace.Add(data);
  if (trace.KeepsLines()) {
    constexpr size_t kShownMax = 40;
    const std::string shown =
        data.empty() ? ""
                     : absl::StrCat(" \"", absl::CEscape(ToAbsl(data.substr(0, kShownMax))),
                                    data.size() > kShownMax ? "\"..." : "\"");
    trace.Line(absl::StrFormat("t=%.6fms %s/%s: %s(%s) = %s%s",
                               static_cast<double>(simulation_.NowNs()) / 1e6, name_,
                               simulation_.RunningName(), ToAbsl(call),
                               fd < 0 ? "" : absl::StrCat(fd), ResultText(call, result), shown));
  }
  return result;
}

// --- Descriptors.

File* SimOs::FileAt(int fd) {
  if (fd < kFirstDescriptor || static_cast<size_t>(fd) >= files_.size() || files_[fd] == nullptr) {
    simulation_.Broken("L10 handles", absl::StrCat("a call on descriptor ", fd, " of ", name_,
                                                   ", which is not open"));
    return nullptr;
  }
  return files_[fd].get();
}

int SimOs::Open(std::shared_ptr<File> file) {
  if (open_ + kFirstDescriptor >= descriptors_max) return -EMFILE;
  int fd;
  if (free_.empty()) {
    fd = std::max(kFirstDescriptor, static_cast<int>(files_.size()));
    files_.resize(static_cast<size_t>(fd) + 1);
  } else {
    std::pop_heap(free_.begin(), free_.end(), std::greater<>());
    fd = free_.back();
    free_.pop_back();
  }
  files_[fd] = std::move(file);
  ++open_;
  return fd;
}

int SimOs::OpenOrFail(std::shared_ptr<File> file) {
  if (refuse_count_ > 0) {
    --refuse_count_;
    return -refuse_error_;
  }
  if (simulation_.random().Chance(simulation_.faults.no_descriptor)) {
    constexpr int kErrors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    return -kErrors[simulation_.random().Below(4)];
  }
  return Open(std::move(file));
}

void SimOs::RefuseDescriptors(int error, int count) {
  refuse_error_ = error;
  refuse_count_ = count;
}

void SimOs::Replace(int fd, std::shared_ptr<File> file) {
  file->TakeWatches(*files_[fd]);
  if (const auto named = names_.extract(files_[fd].get()); !named.empty()) {
    const std::string text = named.mapped().Whole().ToString();
    if (named.mapped().base->IsUnixPath()) {
      const auto path = paths_.find(text);
      if (path != paths_.end() && path->second.socket.lock() == files_[fd]) {
        path->second.socket = file;
      }
    } else {
      bound_[text] = file;
    }
    names_.emplace(file.get(), named.mapped());
  }
  files_[fd] = std::move(file);
}

int SimOs::Close(int fd) {
  simulation_.Called(/*may_switch=*/false);
  if (Find<File>(fd) == nullptr) return static_cast<int>(Done("close", fd, -EBADF));
  std::shared_ptr<File> file = std::move(files_[fd]);
  files_[fd] = nullptr;
  free_.push_back(fd);
  std::push_heap(free_.begin(), free_.end(), std::greater<>());
  --open_;
  if (Worker::Current() != nullptr) {
    traffic_.closed += dynamic_cast<Stream*>(file.get()) != nullptr;
  }
  if (std::ranges::find(childs_, file) == childs_.end()) LastClosed(*file);
  return static_cast<int>(Done("close", fd, 0));
}

void SimOs::LastClosed(File& file) {
  if (const auto named = names_.extract(&file); !named.empty()) {
    bound_.erase(named.mapped().Whole().ToString());
  }
  file.Closed();
}

void SimOs::Fork() {
  for (const auto& file : files_) {
    if (file != nullptr) childs_.push_back(file);
  }
}

void SimOs::EndChild() {
  for (const std::shared_ptr<File>& file : std::exchange(childs_, {})) {
    if (std::ranges::find(files_, file) == files_.end()) LastClosed(*file);
  }
}

int SimOs::SpareOpen() {
  simulation_.Called(false);
  return static_cast<int>(Done("spare", -1, Open(std::make_shared<WakeFile>())));
}

// --- Time, threads.

int64_t SimOs::NowNs() {
  simulation_.Called(/*may_switch=*/true);
  return simulation_.NowNs();
}

// Handlers take no time here unless they say so; that time is processor time.
int64_t SimOs::ThreadProcessorNs() { return simulation_.NowNs(); }

int64_t SimOs::SocketMemoryBytes(int64_t sockets) { return sockets * (64 + 64) * 1024; }

int SimOs::ThreadStart(std::function<void()> main, ThreadId* thread) {
  simulation_.Called(false);
  if (simulation_.random().Chance(simulation_.faults.no_thread)) {
    return static_cast<int>(Done("thread", -1, -EAGAIN));
  }
  *thread =
      simulation_.StartThread(*this, absl::StrCat("thread ", threads_started_++), std::move(main));
  return static_cast<int>(Done("thread", -1, 0));
}

void SimOs::ThreadJoin(ThreadId thread) { simulation_.Join(thread); }

void SimOs::ThreadDetach(ThreadId) {}

void SimOs::Wait(std::condition_variable& condition, std::unique_lock<std::mutex>& lock) {
  WaitUntil(condition, lock, Simulation::kNever);
}

void SimOs::WaitFor(std::condition_variable& condition, std::unique_lock<std::mutex>& lock,
                    int64_t timeout_ns) {
  WaitUntil(condition, lock, simulation_.NowNs() + timeout_ns);
}

void SimOs::WaitUntil(std::condition_variable& condition, std::unique_lock<std::mutex>& lock,
                      int64_t deadline_ns) {
  SimThread& self = simulation_.Running();
  conditions_[&condition].push_back(&self);
  lock.unlock();
  simulation_.Block(deadline_ns);
  lock.lock();
  const auto found = conditions_.find(&condition);
  if (found == conditions_.end()) return;
  std::erase(found->second, &self);
  if (found->second.empty()) conditions_.erase(found);
}

void SimOs::NotifyOne(std::condition_variable& condition) {
  const auto found = conditions_.find(&condition);
  if (found == conditions_.end()) return;
  std::vector<SimThread*>& waiting = found->second;
  const size_t picked = simulation_.random().Below(waiting.size());
  SimThread* const thread = waiting[picked];
  waiting.erase(waiting.begin() + static_cast<ptrdiff_t>(picked));
  if (waiting.empty()) conditions_.erase(found);
  simulation_.Wake(*thread);
}

void SimOs::NotifyAll(std::condition_variable& condition) {
  const auto waiting = conditions_.extract(&condition);
  if (waiting.empty()) return;
  for (SimThread* thread : waiting.mapped()) simulation_.Wake(*thread);
}

// --- Readiness.

int SimOs::PollerCreate() {
  simulation_.Called(false);
  return static_cast<int>(Done("epoll_create", -1, Open(std::make_shared<Poller>(simulation_))));
}

int SimOs::PollerAdd(int poller, int fd, uint32_t events, uint64_t data) {
  simulation_.Called(false);
  auto* const at = Find<Poller>(poller);
  File* const file = Find<File>(fd);
  if (at == nullptr || file == nullptr) return -EBADF;
  return static_cast<int>(Done("epoll_add", fd, at->Add(*file, events, data)));
}

int SimOs::PollerRemove(int poller, int fd) {
  simulation_.Called(false);
  auto* const at = Find<Poller>(poller);
  File* const file = Find<File>(fd);
  if (at == nullptr || file == nullptr) return -EBADF;
  return static_cast<int>(Done("epoll_remove", fd, at->Remove(*file)));
}

int SimOs::PollerWait(int poller, epoll_event* events, int events_max, int timeout_ms) {
  return PollerWaitNs(poller, events, events_max,
                      timeout_ms < 0 ? -1 : timeout_ms * int64_t{1'000'000});
}

int SimOs::PollerWaitNs(int poller, epoll_event* events, int events_max, int64_t timeout_ns) {
  auto* const at = Find<Poller>(poller);
  if (at == nullptr) return -EBADF;
  const std::shared_ptr<File> keep = files_[poller];
  at->inside = true;
  at->timeout_ms = timeout_ns < 0 ? -1 : static_cast<int>((timeout_ns + 999'999) / 1'000'000);
  simulation_.Called(/*may_switch=*/true);
  Random& random = simulation_.random();
  const Faults& faults = simulation_.faults;
  if (random.Chance(faults.spurious_event)) at->Spurious();
  int most = events_max;
  if (random.Chance(faults.few_events)) {
    most = static_cast<int>(1 + random.Below(static_cast<uint64_t>(std::min(events_max, 4))));
  }
  int count = at->Collect(events, most);
  if (count == 0 && timeout_ns != 0) {
    const int64_t deadline_ns =
        timeout_ns < 0 ? Simulation::kNever : simulation_.NowNs() + timeout_ns;
    const int64_t forced = simulation_.Forced();
    at->waiting = &simulation_.Running();
    do {
      simulation_.Block(deadline_ns);
      count = at->Collect(events, most);
    } while (count == 0 && simulation_.NowNs() < deadline_ns && simulation_.Forced() == forced);
    at->waiting = nullptr;
  }
  at->inside = false;
  for (int i = 0; i < count; ++i) {
    simulation_.trace().Add(events[i].data.u64);
    Done("event", static_cast<int>(events[i].data.u64 & 0x7FFFFFFF), events[i].events);
  }
  return count;
}

SimOs::WaitView SimOs::WaitAt(int poller) const {
  if (poller < 0 || static_cast<size_t>(poller) >= files_.size()) return {};
  const auto* const at = dynamic_cast<const Poller*>(files_[poller].get());
  if (at == nullptr) return {};
  return {at->inside, at->waiting != nullptr && at->waiting->state == SimThread::State::kBlocked,
          at->timeout_ms};
}

int SimOs::WakeCreate() {
  simulation_.Called(false);
  return static_cast<int>(Done("eventfd", -1, Open(std::make_shared<WakeFile>())));
}

int SimOs::WakeSignal(int fd) {
  simulation_.Called(false);
  auto* const wake = Find<WakeFile>(fd);
  if (wake == nullptr) return -EBADF;
  ++wake->count;
  wake->Changed();
  return static_cast<int>(Done("wake", fd, 0));
}

int SimOs::WakeClear(int fd) {
  simulation_.Called(false);
  auto* const wake = Find<WakeFile>(fd);
  if (wake == nullptr) return -EBADF;
  wake->count = 0;
  return 0;
}

void SimOs::Signal(int signal) {
  for (const auto& weak : signal_files_) {
    const std::shared_ptr<SignalFile> file = weak.lock();
    if (file == nullptr || std::ranges::find(file->signals, signal) == file->signals.end())
      continue;
    file->pending.push_back(signal);
    file->Changed();
  }
}

void SimOs::Stop(absl::Duration time) {
  const int64_t until_ns = simulation_.NowNs() + absl::ToInt64Nanoseconds(time);
  stopped_until_ns_ = std::max(stopped_until_ns_, until_ns);
  Done("stop", -1, until_ns);
}

int SimOs::SignalOpen(const std::vector<int>& signals) {
  simulation_.Called(false);
  auto file = std::make_shared<SignalFile>();
  file->signals = signals;
  signal_files_.push_back(file);
  return static_cast<int>(Done("signalfd", -1, Open(std::move(file))));
}

int SimOs::SignalClose(int fd) { return Close(fd); }

int SimOs::SignalRead(int fd) {
  auto* const file = Find<SignalFile>(fd);
  if (file == nullptr) return -EBADF;
  if (file->pending.empty()) return -EAGAIN;
  const int signal = file->pending.front();
  file->pending.erase(file->pending.begin());
  return static_cast<int>(Done("signal", fd, signal));
}

void SimOs::ExitNow(int code) {
  SLUICE_CHECK(false,
               absl::StrCat("a simulated program has ended itself with code ", code).c_str());
  std::abort();
}

}  // namespace sluice::sim
