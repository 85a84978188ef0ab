#include "sluice/sim/world/simulation.h"

#include <cxxabi.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/base/check.h"
#include "sluice/core/base/strings.h"
#include "sluice/sim/world/network.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sim/world/thread.h"

namespace sluice::sim {

namespace {

// When no thread can run, time is pushed on at most so often, so that the test can end.
constexpr int64_t kForcedMax = 100'000;

void SetCurrentWorker(Worker* worker) {
  if (worker != nullptr) {
    worker->Enter();
  } else if (Worker::Current() != nullptr) {
    Worker::Current()->Leave();
  }
}

}  // namespace

Simulation::Simulation(uint64_t seed, const Faults& with, Amounts amounts)
    : faults(with),
      seed_(seed),
      told_amounts_(std::move(amounts)),
      random_(seed),
      network_(std::make_unique<Network>(*this)) {
  threads_.push_back(std::make_unique<SimThread>());
  running_ = threads_.front().get();
  running_->name = "main";
  running_->state = SimThread::State::kRunning;
  running_->machine = &NewMachine("server");
}

Simulation::~Simulation() {
  for (const auto& thread : threads_) {
    if (thread->id == 0 || thread->state == SimThread::State::kDone) continue;
    SLUICE_CHECK(Failed(), "a simulation ends while threads in it run");
    thread->fiber->Abandon();
  }
  due_.clear();
}

SimOs& Simulation::NewMachine(std::string name) {
  const int number = static_cast<int>(machines_.size()) + 1;
  machines_.push_back(std::make_unique<SimOs>(*this, std::move(name), number));
  network_->Connect(*machines_.back());
  return *machines_.back();
}

int64_t Simulation::Amount(const std::string& name, int64_t least, int64_t most) {
  const auto told = told_amounts_.find(name);
  uint64_t seed = seed_;
  for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  const int64_t amount = told != told_amounts_.end() ? std::clamp(told->second, least, most)
                                                     : Random(seed).Between(least, most);
  amounts_[name] = amount;
  return amount;
}

const std::string& Simulation::RunningName() const { return running_->name; }

// --- Threads.

ThreadId Simulation::StartThread(SimOs& os, std::string name, std::function<void()> main) {
  auto thread = std::make_unique<SimThread>();
  thread->id = threads_.size();
  thread->name = std::move(name);
  thread->machine = &os;
  SimThread* const self = thread.get();
  thread->fiber = std::make_unique<Fiber>(
      [this, self, main = std::move(main)]() mutable {
        main();
        main = nullptr;
        self->state = SimThread::State::kDone;
        for (SimThread* joiner : std::exchange(self->joiners, {})) Wake(*joiner);
      },
      kStackBytes, Fiber::FakeFrames::kKept);
  threads_.push_back(std::move(thread));
  runnable_.push_back(self);
  return self->id;
}

void Simulation::Join(ThreadId id) {
  SimThread& thread = *threads_[id];
  while (thread.state != SimThread::State::kDone) {
    thread.joiners.push_back(running_);
    Block(kNever);
    std::erase(thread.joiners, running_);
  }
}

void Simulation::Sleep(absl::Duration time) {
  const int64_t until_ns = now_ns_ + absl::ToInt64Nanoseconds(time);
  while (now_ns_ < until_ns) Block(until_ns);
}

bool Simulation::RunUntil(absl::FunctionRef<bool()> done, absl::Duration timeout) {
  const int64_t until_ns = now_ns_ + absl::ToInt64Nanoseconds(timeout);
  const auto keep = std::make_shared<int>();
  Post(
      until_ns, keep, [](void*, uint64_t) {}, 0);  // Without an event time would not get there.
  while (!done()) {
    if (now_ns_ >= until_ns) return false;
    SLUICE_CHECK(running_ == threads_.front().get(),
                 "RunUntil belongs to the thread that made the simulation");
    running_->state = SimThread::State::kBlocked;
    StepOthers();
    running_ = threads_.front().get();
    std::erase(runnable_, running_);
    running_->state = SimThread::State::kRunning;
  }
  return true;
}

void Simulation::At(absl::Duration later, absl::AnyInvocable<void()> act) {
  struct Later {
    Simulation* simulation;
    absl::AnyInvocable<void()> act;
  };
  auto made = std::make_shared<Later>(Later{this, std::move(act)});
  Post(
      now_ns_ + absl::ToInt64Nanoseconds(later), std::move(made),
      [](void* object, uint64_t) {
        auto* due = static_cast<Later*>(object);
        due->simulation->acts_.push_back(std::move(due->act));
      },
      0);
}

void Simulation::Block(int64_t deadline_ns) {
  SimThread& self = *running_;
  self.state = SimThread::State::kBlocked;
  ++self.waits;
  if (deadline_ns != kNever) {
    struct Alarm {
      Simulation* simulation;
      SimThread* thread;
    };
    Post(
        deadline_ns, std::make_shared<Alarm>(Alarm{this, &self}),
        [](void* object, uint64_t wait) {
          auto* alarm = static_cast<Alarm*>(object);
          if (alarm->thread->waits == wait) alarm->simulation->Wake(*alarm->thread);
        },
        self.waits);
  }
  SwitchAway();
}

void Simulation::Wake(SimThread& thread) {
  if (thread.state != SimThread::State::kBlocked) return;
  thread.state = SimThread::State::kRunnable;
  runnable_.push_back(&thread);
}

void Simulation::SwitchAway() {
  SimThread& self = *running_;
  if (self.id != 0) {
    self.fiber->Yield();
    return;
  }
  SLUICE_CHECK(&self == threads_.front().get());
  self.worker = Worker::Current();
  self.constructing = std::exchange(internal::ConstructionScope::current, nullptr);
  self.function_of = std::exchange(internal::FunctionScope::current, nullptr);
  while (self.state != SimThread::State::kRunning) StepOthers();
  running_ = &self;
  SetCurrentWorker(self.worker);
  internal::ConstructionScope::current = self.constructing;
  internal::FunctionScope::current = self.function_of;
}

void Simulation::StepOthers() {
  FireDue();
  for (auto& act : std::exchange(acts_, {})) {
    running_ = threads_.front().get();
    SetCurrentWorker(nullptr);
    act();
  }
  if (runnable_.empty()) {
    if (due_.empty()) {
      NobodyCanRun();
    } else {
      now_ns_ = std::max(now_ns_, due_.front().at_ns);
    }
    return;
  }
  const size_t picked = runnable_.size() == 1 ? 0 : random_.Below(runnable_.size());
  SimThread& thread = *runnable_[picked];
  runnable_[picked] = runnable_.back();
  runnable_.pop_back();
  Run(thread);
}

void Simulation::Run(SimThread& thread) {
  ++steps_;
  trace_.Add(thread.id);
  thread.state = SimThread::State::kRunning;
  running_ = &thread;
  if (thread.id == 0) return;  // SwitchAway() returns to it.
  // The C++ library lists the exceptions that are being handled for each thread of the system.
  auto* const exceptions = reinterpret_cast<std::byte*>(abi::__cxa_get_globals());
  decltype(thread.exceptions) outside;
  std::copy_n(exceptions, outside.size(), outside.begin());
  std::copy(thread.exceptions.begin(), thread.exceptions.end(), exceptions);
  SetCurrentWorker(thread.worker);
  internal::ConstructionScope::current = thread.constructing;
  internal::FunctionScope::current = thread.function_of;
  thread.fiber->Resume();
  if (thread.state == SimThread::State::kDone) thread.fiber.reset();
  thread.worker = Worker::Current();
  thread.constructing = std::exchange(internal::ConstructionScope::current, nullptr);
  thread.function_of = std::exchange(internal::FunctionScope::current, nullptr);
  std::copy_n(exceptions, outside.size(), thread.exceptions.begin());
  std::copy(outside.begin(), outside.end(), exceptions);
  SetCurrentWorker(nullptr);
  running_ = threads_.front().get();
  for (auto& check : checks_) check();
}

// --- Time.

void Simulation::Post(int64_t at_ns, std::shared_ptr<void> object, Event event, uint64_t number) {
  due_.push_back({std::max(at_ns, now_ns_), next_order_++, std::move(object), event, number});
  std::push_heap(due_.begin(), due_.end());
}

void Simulation::FireDue() {
  while (!due_.empty() && due_.front().at_ns <= now_ns_) {
    std::pop_heap(due_.begin(), due_.end());
    const Due due = std::move(due_.back());
    due_.pop_back();
    due.event(due.object.get(), due.number);
  }
}

void Simulation::Called(bool may_switch) {
  now_ns_ += kCallNs;
  FireDue();
  if (!may_switch) return;
  // Thread 0 made the simulation and is no program on a machine.
  if (running_->id != 0) {
    while (now_ns_ < running_->machine->StoppedUntilNs())
      Block(running_->machine->StoppedUntilNs());
  }
  if (!random_.Chance(faults.preempt)) return;
  running_->state = SimThread::State::kRunnable;
  runnable_.push_back(running_);
  SwitchAway();
}

// --- Laws.

void Simulation::Broken(std::string_view law, std::string_view what) {
  if (Failed()) return;
  violation_ =
      absl::StrFormat("%s is broken at t=%.6fms, step %d, in %s: %s", ToAbsl(law),
                      static_cast<double>(now_ns_) / 1e6, steps_, running_->name, ToAbsl(what));
  if (trace_.KeepsLines()) trace_.LastLine(violation_);
}

// Every thread sleeps for ever: a wake-up is lost, or the test waits for an event that cannot come.
void Simulation::NobodyCanRun() {
  std::string who;
  for (const auto& thread : threads_) {
    if (thread->state != SimThread::State::kBlocked) continue;
    absl::StrAppend(&who, who.empty() ? "" : ", ", thread->machine->name(), "/", thread->name);
  }
  Broken("L5 progress", absl::StrCat("all threads sleep, and nothing will wake any: ", who));
  SLUICE_CHECK(++forced_ <= kForcedMax, "a simulation that cannot go on cannot end either");
  now_ns_ += 1'000'000;
  for (const auto& thread : threads_) Wake(*thread);
}

}  // namespace sluice::sim
