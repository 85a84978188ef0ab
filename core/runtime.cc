#include "sluice/core/runtime.h"

#include <algorithm>
#include <bit>
#include <new>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/blocking_pool.h"
#include "sluice/core/control.h"
#include "sluice/core/home.h"
#include "sluice/core/log.h"
#include "sluice/core/plant.h"
#include "sluice/core/strings.h"
#include "sluice/core/worker.h"

namespace sluice {

namespace {

// Code, libraries and the C library's own, as a small program has them resident.
constexpr int64_t kProgramBytes = 16 * 1024 * 1024;
constexpr size_t kToldCyclesMax = 1'024;
static_assert(alignof(Worker) <= alignof(Home));
constexpr int64_t kCycleToldAgainMs = 1'000;  // One that is broken may close again and again.
// A thread of the blocking pool, as long as its function is modest: stack and allocator's arena.
constexpr int64_t kBlockingThreadBytes = 256 * 1024;

}  // namespace

uint32_t SpawnOptions::MailboxMax(const Runtime& runtime) const {
  return mailbox_messages_max != 0 ? mailbox_messages_max : runtime.options().mailbox_messages_max;
}

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
      "the "
      "control group, RLIMIT_AS and RLIMIT_DATA): it may end for want of memory before a bound "
      "holds; a smaller --memory lowers the ceiling",
      InWords(ProcessBytes()), InWords(memory_bytes));
}

Runtime::Runtime(Options options) : Runtime(std::move(options), LinuxOs()) {}

Runtime::Runtime(Options options, Os& os)
    : options_(std::move(options)), os_(os), made_ns_(os.NowNs()), dumped_ns_(made_ns_) {
  os_.StandardDescriptorsOpen();  // Before the first descriptor of ours.
  status_ = options_.Complete(os_);
  if (!status_.ok()) {
    // The object must stand, to say what was wrong with it; it never starts.
    const std::string log_level = std::move(options_.log_level);
    options_ = Options();
    options_.workers = 1;
    if (ParseLogLevel(log_level).ok()) options_.log_level = log_level;  // The object still logs.
    options_.Complete(os_).IgnoreError();
  }
  os_.DescriptorsReserve(options_.DescriptorsWanted());  // Before the first thread of ours.
  if (!options_.log_level.empty()) SetLogLevel(*ParseLogLevel(options_.log_level));
  if (const int64_t had = options_.ConnectionsWithDescriptors(os_);
      status_.ok() && had < options_.max_connections) {
    LogWarn(
        "max_connections = %d cannot be had: the process may open %d descriptors (RLIMIT_NOFILE, "
        "hard limit), which is enough for %d connections",
        options_.max_connections, os_.DescriptorsMax(), had);
  }
  budget_.reset(new Budget(options_.memory_bytes_max));
  shedder_ = std::make_unique<Shedder>(*budget_, options_.workers, options_.max_connections,
                                       options_.shed_after);
  blocking_ = std::make_unique<BlockingPool>(*this);
  chunks_max_ = (SlotsMax() + kSlotsPerChunk - 1) / kSlotsPerChunk;
  chunks_ = std::make_unique<std::atomic<Slot*>[]>(chunks_max_);
  for (int i = 0; i < options_.workers; ++i) {
    last_figures_.push_back(std::make_unique<LastFigures>());
    Home& home = Home::Take(*this, sizeof(Worker));
    workers_.emplace_back(new (home.Place()) Worker(*this, i));
    home.Open();
    KeepError(workers_.back()->Open());
  }
}

Runtime::~Runtime() {
  RefuseInHandler("~Runtime()");
  if (!ended_) Drain(absl::ZeroDuration());
  workers_.clear();
  const uint32_t count = chunk_count_.load(std::memory_order_acquire);
  // Handles of them may be used as long as the process lives.
  for (uint32_t i = 0; i < count; ++i) {
    SlotChunks::GiveBack(chunks_[i].load(std::memory_order_relaxed));
  }
}

void LeaveHome::operator()(Worker* worker) const {
  worker->~Worker();
  Home::Of(worker).GiveBack();
}

void KeepOrDelete::operator()(Budget* budget) const {
  // Bytes that outlive their runtime give their charge back to its budget.
  static auto* const kept = new std::vector<Budget*>;
  static std::mutex lock;
  if (budget->UsedBytes() == 0) {
    delete budget;
    return;
  }
  const std::lock_guard<std::mutex> guard(lock);
  kept->push_back(budget);
}

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

bool Runtime::OutsideAdmits() const {
  if (Planted(Plant::kFunctionRefused)) return !outside_gate_.Draining();
  return outside_gate_.Admits([this] { return blocking_->RunsHere(); });
}

sluice::Ceiling Runtime::Ceiling() const {
  std::lock_guard<std::mutex> lock(setup_lock_);
  const int64_t workers = options_.workers;
  const int64_t lane_bytes =
      int64_t{options_.lane_messages_max} * static_cast<int64_t>(sizeof(Envelope)) * 9 / 8;
  const int64_t worker_bytes =
      (workers + 1) * lane_bytes +
      workers * static_cast<int64_t>(sizeof(Envelope)) * (Worker::kStageMax + 1) +
      EnvelopePool::kKeptMax * Envelope::ChargedBytes() + Lease::kOverdraftBytesMax +
      static_cast<int64_t>(Worker::kReadBytes) + 128 * 1024;
  const int64_t sockets =
      std::max(connections_, options_.max_connections) * options_.sockets_per_connection;
  sluice::Ceiling ceiling;
  ceiling.fixed_bytes = kProgramBytes + kLogBytesMax + workers * worker_bytes +
                        options_.blocking_threads_max * kBlockingThreadBytes +
                        int64_t{SlotsMax()} * static_cast<int64_t>(sizeof(Slot)) +
                        int64_t{options_.actors_max} * kActorExtraBytes +
                        connections_user_bytes_ * options_.sockets_per_connection;
  ceiling.budget_bytes = options_.memory_bytes_max;
  ceiling.kernel_bytes = os_.SocketMemoryBytes(sockets);
  ceiling.allocator_bytes = (ceiling.fixed_bytes + ceiling.budget_bytes) / 8;
  return ceiling;
}

// --- Slots.

Slot* Runtime::SlotAt(uint32_t id) const {
  return chunks_[id / kSlotsPerChunk].load(std::memory_order_acquire) + id % kSlotsPerChunk;
}

uint32_t Runtime::SlotsMax() const {
  return options_.actors_max + static_cast<uint32_t>(options_.workers) * kFreeSlotsMax;
}

bool Runtime::AddChunk(Worker& worker) {
  const uint32_t index = chunk_count_.load(std::memory_order_relaxed);
  if (index == chunks_max_) return false;
  Slot* const slots = SlotChunks::Take();
  for (uint32_t i = 0; i < kSlotsPerChunk; ++i) {
    slots[i].worker = &worker;
    slots[i].id = index * kSlotsPerChunk + i;
    slots[i].first_generation = slots[i].generation;
  }
  chunks_[index].store(slots, std::memory_order_release);
  chunk_count_.store(index + 1, std::memory_order_release);
  // The lowest number comes last, and so is taken first.
  for (uint32_t i = kSlotsPerChunk; i > 0; --i) {
    if (!slots[i - 1].UsedUp()) stock_.push_back(&slots[i - 1]);
  }
  return true;
}

// A slot goes to another worker only here: free, and its generation already the next one's. What is
// still on its way for its last actor reaches the old worker or the new one; both find another
// generation, and touch nothing else (core/slot.h).
Slot* Runtime::TakeSlot(Worker& worker, std::vector<Slot*>* kept) {
  if (!CountActor()) return nullptr;
  if (kept != nullptr && !kept->empty()) {
    Slot* const slot = kept->back();
    kept->pop_back();
    return slot;
  }
  std::lock_guard<std::mutex> lock(stock_lock_);
  // The table has room for actors_max and for what the workers keep: there is one left, unless
  // slots are used up.
  if (stock_.empty() && !AddChunk(worker)) {
    UncountActor();
    return nullptr;
  }
  Slot* const slot = stock_.back();
  stock_.pop_back();
  slot->worker = &worker;
  if (kept == nullptr) return slot;
  const size_t more = std::min<size_t>(stock_.size(), kSlotsPerChunk - 1);
  for (size_t i = stock_.size() - more; i < stock_.size(); ++i) {
    stock_[i]->worker = &worker;
    kept->push_back(stock_[i]);
  }
  stock_.resize(stock_.size() - more);
  return slot;
}

void Runtime::GiveSlots(std::vector<Slot*>* free, size_t kept) {
  std::lock_guard<std::mutex> lock(stock_lock_);
  stock_.insert(stock_.end(), free->begin() + static_cast<ptrdiff_t>(kept), free->end());
  free->resize(kept);
}

uint32_t Runtime::ForSomeSlots(const Worker* worker, uint32_t first, uint32_t chunks,
                               absl::FunctionRef<void(Slot*)> visit) const {
  const uint32_t count = chunk_count_.load(std::memory_order_acquire);
  const uint32_t end = first + std::min(chunks, count - first);
  for (uint32_t i = first; i < end; ++i) {
    Slot* slots = chunks_[i].load(std::memory_order_acquire);
    for (uint32_t j = 0; j < kSlotsPerChunk; ++j) {
      // In this order: whoever moves in writes the worker first, and then the generation (release).
      const bool lived_in = MailboxWord<>::IsLive(slots[j].generation.LoadAcquire());
      if (lived_in && slots[j].worker == worker) visit(&slots[j]);
    }
  }
  return end == count ? 0 : end;
}

bool Runtime::CountActor() {
  if (actors_.fetch_add(1, std::memory_order_relaxed) < options_.actors_max) return true;
  actors_.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

bool Runtime::Allows(const SpawnOptions& options) {
  std::string mistake;
  if (options.worker < -1 || options.worker >= options_.workers) {
    mistake = absl::StrCat("worker = ", options.worker, ": the workers are 0 to ",
                           options_.workers - 1, ", and -1 leaves the choice to the runtime");
  } else if (options.mailbox_messages_max > MailboxWord<>::kCreditsMax) {
    mistake = absl::StrCat("mailbox_messages_max = ", options.mailbox_messages_max,
                           " is out of range: it must be from 1 to ", MailboxWord<>::kCreditsMax,
                           ", or 0 for the runtime's");
  } else {
    return true;
  }
  // A server may repeat its mistake for each peer: the first, second, fourth, eighth ... is logged.
  const uint64_t times = spawn_mistakes_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (std::has_single_bit(times)) {
    LogError(absl::StrCat("a spawn is refused",
                          options.name.empty() ? "" : absl::StrCat(" (\"", options.name, "\")"),
                          ", for its SpawnOptions: ", mistake,
                          times == 1 ? "" : absl::StrCat("; such spawns so far: ", times)));
  }
  return false;
}

Worker& Runtime::PlacementOf(const SpawnOptions& options) {
  if (options.worker >= 0) return *workers_[options.worker];
  return *workers_[next_placement_.fetch_add(1, std::memory_order_relaxed) % options_.workers];
}

std::pair<Slot*, uint32_t> Runtime::PlaceSlot(const SpawnOptions& options, Slot* parent,
                                              absl::AnyInvocable<void(Worker&, Slot*)> construct) {
  // A root for each that has ended would keep a drain from its end, past its deadline, too.
  const bool allowed = (parent != nullptr || !outside_gate_.IsShut()) && Allows(options);
  Slot* slot = allowed ? TakeSlot(PlacementOf(options), /*kept=*/nullptr) : nullptr;
  if (slot == nullptr) {
    placed_refused_.fetch_add(1, std::memory_order_relaxed);
    return {nullptr, 0};
  }
  Worker& to = *slot->worker;
  const uint32_t capacity = options.MailboxMax(*this);
  // The word is open from here on: messages may overtake the order that makes the actor, and wait
  // for it.
  const uint32_t generation = slot->mailbox.Word().Open(capacity);
  const uint32_t parent_generation = parent == nullptr ? 0 : uint32_t{parent->generation};
  const uint64_t order = parent == nullptr ? 0 : parent->worker->AddChild(parent, slot, generation);
  auto make = [capacity, name = options.name, parent, parent_generation, order,
               construct = std::move(construct)](Worker& worker, Slot* made) mutable {
    made->mailbox.Adopt(capacity);
    if (!name.empty() || parent != nullptr) {
      ActorExtra& extra = worker.Extra(made);
      extra.name = std::move(name);
      extra.parent = parent;
      extra.parent_generation = parent_generation;
      extra.child_order = order;
    }
    construct(worker, made);
  };
  const bool posted = Worker::Post(
      to, slot, generation,
      PlaceControl{std::make_unique<absl::AnyInvocable<void(Worker&, Slot*)>>(std::move(make))});
  if (posted) return {slot, generation};
  // The drain is over: nobody will make the actor. A word that stays open would let this slot look
  // lived in, also to the next runtime that takes it.
  SLUICE_CHECK(parent == nullptr);  // Its worker turns, so the drain is not over.
  slot->mailbox.Withdraw(generation);
  slot->generation = slot->mailbox.Word().Generation();
  UncountActor();
  placed_refused_.fetch_add(1, std::memory_order_relaxed);
  std::lock_guard<std::mutex> lock(stock_lock_);
  if (!slot->UsedUp()) stock_.push_back(slot);
  return {nullptr, 0};
}

// --- Names.

absl::Status Runtime::RegisterSlot(std::string_view name, Slot* slot, uint32_t generation,
                                   const std::type_info* type) {
  if (slot == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot register \"", ToAbsl(name), "\": the Ref is empty"));
  }
  std::lock_guard<std::mutex> lock(names_lock_);
  auto found = names_.find(ToAbsl(name));
  if (found != names_.end()) {
    if (found->second.slot->mailbox.Word().Generation() == found->second.generation) {
      return absl::AlreadyExistsError(
          absl::StrCat("the name \"", ToAbsl(name), "\" is taken by a live actor"));
    }
    found->second = {slot, generation, type};
    return absl::OkStatus();
  }
  if (names_.size() >= options_.names_max) {
    // Those of actors that ended make room first.
    absl::erase_if(names_, [](const auto& entry) {
      return entry.second.slot->mailbox.Word().Generation() != entry.second.generation;
    });
    if (names_.size() >= options_.names_max) {
      return absl::ResourceExhaustedError(
          absl::StrCat("names_max = ", options_.names_max, " names are taken"));
    }
  }
  names_.emplace(std::string(name), Name{slot, generation, type});
  return absl::OkStatus();
}

std::pair<Slot*, uint32_t> Runtime::FindSlot(std::string_view name,
                                             const std::type_info* type) const {
  std::lock_guard<std::mutex> lock(names_lock_);
  auto found = names_.find(ToAbsl(name));
  if (found == names_.end() || *found->second.type != *type ||
      found->second.slot->mailbox.Word().Generation() != found->second.generation) {
    return {nullptr, 0};
  }
  return {found->second.slot, found->second.generation};
}

void Runtime::Unregister(std::string_view name) {
  std::lock_guard<std::mutex> lock(names_lock_);
  auto found = names_.find(ToAbsl(name));
  if (found != names_.end()) names_.erase(found);
}

// --- Start and run.

absl::Status Runtime::Start() {
  if (const absl::Status kept = status(); !kept.ok()) return kept;
  if (ended_) {
    return absl::FailedPreconditionError("this runtime has been drained; make another Runtime");
  }
  if (started_) return absl::OkStatus();
  WatchExit();
  turning_.store(true, std::memory_order_relaxed);
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
      turning_.store(false, std::memory_order_release);
      for (auto& w : workers_) w->GoOnTurning();  // The drain takes their turns.
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

void Runtime::CallAll(void (Worker::*order)()) {
  for (int i = 0; i < options_.workers; ++i) {
    Call(i, [order](Worker& worker) { (worker.*order)(); });
  }
}

// --- Wait cycles.

Runtime::CycleNote Runtime::NoteWaitCycle(const std::string& actors, const std::string& waits,
                                          const std::string& text, int64_t now_ms) {
  std::lock_guard<std::mutex> lock(names_lock_);
  // Those told of are kept for a while only: a cycle that stands is found by each of its actors
  // once, soon.
  if (told_wait_cycles_.size() >= kToldCyclesMax) {
    told_wait_cycles_.clear();
    wait_cycles_told_ms_.clear();
  }
  if (!told_wait_cycles_.insert(waits).second) return CycleNote::kKnown;
  last_wait_cycle_ = text;
  wait_cycles_.fetch_add(1, std::memory_order_relaxed);
  const auto [told, is_new] = wait_cycles_told_ms_.try_emplace(actors, now_ms);
  if (!is_new && now_ms - told->second < kCycleToldAgainMs) return CycleNote::kAgain;
  told->second = now_ms;
  return CycleNote::kNew;
}

std::string Runtime::LastWaitCycle() const {
  std::lock_guard<std::mutex> lock(names_lock_);
  return last_wait_cycle_;
}

}  // namespace sluice
