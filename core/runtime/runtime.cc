#include "sluice/core/runtime/runtime.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <new>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "sluice/core/actor/blocking_pool.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/os/listen_names.h"
#include "sluice/core/runtime/names.h"
#include "sluice/core/slot/home.h"
#include "sluice/core/worker/control.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

// Code, libraries and the C library's own memory, as resident in a small program.
constexpr int64_t kProgramBytes = 16 * 1024 * 1024;
static_assert(alignof(Worker) <= alignof(Home));
// A thread of the blocking pool with a modest function: stack and allocator's arena.
constexpr int64_t kBlockingThreadBytes = 256 * 1024;

}  // namespace

namespace {

constexpr double kMiB = 1024.0 * 1024.0;

std::string InWords(int64_t bytes) {
  return bytes < int64_t{10} << 30 ? absl::StrFormat("%.1f MiB", bytes / kMiB)
                                   : absl::StrFormat("%.1f GiB", bytes / kMiB / 1024.0);
}

}  // namespace

std::string Ceiling::ToString() const {
  return absl::StrFormat(
      "memory ceiling: fixed part %.1f MiB + budget %.1f MiB + allocator's allowance %.1f MiB = "
      "%.1f MiB of this "
      "process; kernel's socket buffers at worst %s; in all %s",
      fixed_bytes / kMiB, budget_bytes / kMiB, allocator_bytes / kMiB, ProcessBytes() / kMiB,
      InWords(kernel_bytes), InWords(SumBytes()));
}

std::string Ceiling::Excess(int64_t memory_bytes) const {
  if (ProcessBytes() <= memory_bytes) return "";
  return absl::StrFormat(
      "memory: the ceiling of this process is %s, and it may have %s (the least of the machine, "
      "the control group, RLIMIT_AS and RLIMIT_DATA): the process may run out of memory before its "
      "limits apply; a smaller --memory lowers the budget (%s), and fewer --max_connections or "
      "--workers lower the fixed part (%s)",
      InWords(ProcessBytes()), InWords(memory_bytes), InWords(budget_bytes), InWords(fixed_bytes));
}

Runtime::Runtime(Options options) : Runtime(std::move(options), LinuxOs()) {}

Options Runtime::Checked(Options options, Os& os, absl::Status* status) {
  os.StandardDescriptorsOpen();  // Before the first descriptor of ours.
  *status = options.Complete(os);
  if (!status->ok()) {
    // The object must exist to report the error; it never starts.
    const std::string log_level = std::move(options.log_level);
    options = Options();
    options.workers = 1;
    if (ParseLogLevel(log_level).ok()) options.log_level = log_level;  // The object still logs.
    options.Complete(os).IgnoreError();
  }
  os.DescriptorsReserve(options.DescriptorsWanted());  // Before the first thread of ours.
  return options;
}

Runtime::Runtime(Options options, Os& os)
    : made_ns_(os.NowNs()),
      shared_(*this, Checked(std::move(options), os, &status_), os),
      os_(os),
      options_(shared_.options),
      blocking_(std::make_unique<BlockingPool>(shared_)),
      dumped_ns_(made_ns_),
      names_(std::make_unique<Names>(static_cast<size_t>(options_.names_max))) {
  if (!options_.log_level.empty()) SetLogLevel(*ParseLogLevel(options_.log_level));
  if (const int64_t had = options_.ConnectionsWithDescriptors(os_);
      status_.ok() && had < options_.max_connections) {
    LogWarn(
        "max_connections = %d exceeds the descriptor limit: the process may open %d descriptors "
        "(RLIMIT_NOFILE, hard limit), which is enough for %d connections",
        options_.max_connections, os_.DescriptorsMax(), had);
  }
  for (int i = 0; i < options_.workers; ++i) {
    last_figures_.push_back(std::make_unique<LastFigures>());
    Home& home = Home::Take(*this, sizeof(Worker));
    workers_.emplace_back(new (home.Place()) Worker(shared_, i));
    shared_.workers.push_back(workers_.back().get());
    home.Open();
    KeepError(workers_.back()->Open());
  }
  for (Worker* const worker : shared_.workers) worker->mail().Connect(shared_.workers);
}

Runtime::~Runtime() {
  RefuseInHandler("~Runtime()");
  if (!ended_) Drain(absl::ZeroDuration());
}

void LeaveHome::operator()(Worker* worker) const {
  worker->~Worker();
  Home::Of(worker).GiveBack();
}

absl::Status Runtime::AddName(std::string_view name, Slot* slot, uint32_t generation,
                              const std::type_info& type) {
  return names_->Add(name, slot, generation, type);
}

std::pair<Slot*, uint32_t> Runtime::FindName(std::string_view name,
                                             const std::type_info& type) const {
  return names_->Find(name, type);
}

void Runtime::Unregister(std::string_view name) { names_->Remove(name); }

void Runtime::KeepError(absl::Status status) {
  if (status.ok()) return;
  if (started_.load(std::memory_order_relaxed)) {
    LogError(ToStd(status.message()));
    return;
  }
  std::lock_guard<std::mutex> lock(setup_lock_);
  if (status_.ok()) status_ = std::move(status);
}

absl::Status Runtime::status() const {
  std::lock_guard<std::mutex> lock(setup_lock_);
  return status_;
}

ListedAddress Runtime::AddListening(std::string address) {
  std::lock_guard<std::mutex> lock(setup_lock_);
  listening_.emplace_back(++listed_, std::move(address));
  return ListedAddress(*this, listed_);
}

absl::StatusOr<std::string> Runtime::AddressesToListen(std::string_view program_addresses) {
  std::vector<NamedAddresses> own = SplitByName(program_addresses);
  if (own.empty()) own.emplace_back();
  if (own.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot listen on ", ToAbsl(program_addresses),
                     ": a call of Listen has one name; call it once for each"));
  }
  const std::string& name = own[0].name;
  std::lock_guard<std::mutex> lock(setup_lock_);
  const bool again = absl::c_linear_search(listener_names_, name);
  listener_names_.push_back(name);
  for (NamedAddresses& given : SplitByName(options_.listen)) {
    if (given.name != name) continue;
    if (given.addresses.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("--listen=", name, "= has no address"));
    }
    // Once the runtime runs, the listener before this one may have ended.
    if (!again || Started()) return std::move(given.addresses);
    return absl::InvalidArgumentError(
        absl::StrCat("--listen=", options_.listen, " would be for two listeners of this program",
                     name.empty() ? "" : absl::StrCat(" with the name ", name),
                     ": let each call of Listen name its addresses, as in \"http=HOST:PORT\""));
  }
  return std::move(own[0].addresses);
}

// An address of --listen= that is for no listener is a mistake: the program would serve elsewhere.
absl::Status Runtime::CheckListenNames() const {
  std::lock_guard<std::mutex> lock(setup_lock_);
  if (listener_names_.empty()) return absl::OkStatus();  // Listen follows later.
  std::vector<std::string> named;
  absl::c_copy_if(listener_names_, std::back_inserter(named),
                  [](const std::string& name) { return !name.empty(); });
  for (const NamedAddresses& given : SplitByName(options_.listen)) {
    if (absl::c_linear_search(listener_names_, given.name)) continue;
    const std::string what =
        given.name.empty() ? given.addresses : absl::StrCat(given.name, "=", given.addresses);
    return absl::InvalidArgumentError(absl::StrCat(
        "--listen=", what, " is for no listener of this program: ",
        named.empty()
            ? "its listener has no name; give the address alone"
            : absl::StrCat("write NAME=ADDRESS; its names are ", absl::StrJoin(named, ", "))));
  }
  return absl::OkStatus();
}

void ListedAddress::Remove() {
  if (runtime_ == nullptr) return;
  std::lock_guard<std::mutex> lock(runtime_->setup_lock_);
  std::erase_if(runtime_->listening_, [this](const auto& one) { return one.first == number_; });
  runtime_ = nullptr;
}

std::vector<std::string> Runtime::Listening() const {
  std::lock_guard<std::mutex> lock(setup_lock_);
  std::vector<std::string> addresses;
  for (const auto& [number, address] : listening_) addresses.push_back(address);
  return addresses;
}

void Runtime::AddConnections(int64_t user_bytes) {
  std::lock_guard<std::mutex> lock(setup_lock_);
  connections_ += options_.max_connections;
  connections_user_bytes_ += options_.max_connections * user_bytes;
}

sluice::Ceiling Runtime::Ceiling() const {
  std::lock_guard<std::mutex> lock(setup_lock_);
  const int64_t workers = options_.workers;
  const int64_t lane_bytes =
      int64_t{options_.lane_messages_max} * static_cast<int64_t>(sizeof(Envelope)) * 9 / 8;
  const int64_t worker_bytes =
      (workers + 1) * lane_bytes +
      workers * static_cast<int64_t>(sizeof(Envelope)) * (Mail::kStageMax + 1) +
      EnvelopePool::kKeptMax * Envelope::ChargedBytes() + Lease::kOverdraftBytesMax +
      static_cast<int64_t>(FramePool::kFreeBytesMax) +
      static_cast<int64_t>(Descriptors::kReadBytes) + 128 * 1024;
  const int64_t sockets =
      std::max(connections_, options_.max_connections) * options_.sockets_per_connection;
  sluice::Ceiling ceiling;
  ceiling.fixed_bytes = kProgramBytes + kLogBytesMax + workers * worker_bytes +
                        options_.blocking_threads_max * kBlockingThreadBytes +
                        int64_t{shared_.slots.CountMax()} * static_cast<int64_t>(sizeof(Slot)) +
                        int64_t{options_.actors_max} * kActorExtraBytes +
                        connections_user_bytes_ * options_.sockets_per_connection;
  ceiling.budget_bytes = options_.memory_bytes_max;
  ceiling.kernel_bytes = os_.SocketMemoryBytes(sockets);
  ceiling.allocator_bytes = (ceiling.fixed_bytes + ceiling.budget_bytes) / 8;
  return ceiling;
}

// --- Start and run.

absl::Status Runtime::Start() {
  if (const absl::Status kept = status(); !kept.ok()) return kept;
  if (ended_) {
    return absl::FailedPreconditionError("this runtime has been drained; make another Runtime");
  }
  if (started_) return absl::OkStatus();
  if (absl::Status named = CheckListenNames(); !named.ok()) {
    KeepError(named);
    return named;
  }
  WatchExit();
  shared_.turning.store(true, std::memory_order_relaxed);
  for (auto& worker : workers_) {
    ThreadId thread = 0;
    const int started = os_.ThreadStart([this, w = worker.get()] { WorkerMain(*w); }, &thread);
    if (started < 0) {
      KeepError(
          absl::ErrnoToStatus(-started, absl::StrCat("cannot start the thread of worker ",
                                                     worker->Index(), " of ", options_.workers)));
      for (size_t i = 0; i < threads_.size(); ++i) {
        Call(static_cast<int>(i), [](Worker& running) { running.StopTurning(); });
      }
      JoinThreads();
      shared_.turning.store(false, std::memory_order_release);
      for (auto& w : workers_) w->GoOnTurning();  // The drain runs their turns.
      return status();
    }
    threads_.push_back(thread);
  }
  started_ = true;
  return absl::OkStatus();
}

void Runtime::JoinThreads() {
  for (const ThreadId thread : threads_) os_.ThreadJoin(thread);
  threads_.clear();
}

void Runtime::WorkerMain(Worker& worker) {
  worker.Enter();
  TellFigures(worker, /*with_text=*/true);
  while (worker.Turn(TimerWheel::kNever)) {
  }
  worker.Leave();
}

void Runtime::Call(int worker, absl::AnyInvocable<void(Worker&)> call) {
  Worker::Post(*workers_[worker], nullptr, 0,
               CallControl{std::make_unique<absl::AnyInvocable<void(Worker&)>>(std::move(call))});
}

void Runtime::CallAll(void (DrainOrders::*order)()) {
  for (int i = 0; i < options_.workers; ++i) {
    Call(i, [order](Worker& worker) { (worker.drain().*order)(); });
  }
}

}  // namespace sluice
