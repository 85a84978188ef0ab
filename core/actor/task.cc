#include "sluice/core/actor/task.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>

#include "absl/status/status.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/waits.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace internal {
namespace {

void StartIn(std::unique_ptr<StartedTask> started) {
  if (JoinTasks(started->slot(), *started)) started.release()->BeginTask();
}

}  // namespace
}  // namespace internal

void Actor::StartTask(Task<void> task) {
  CheckThread("StartTask()");
  internal::StartIn(std::make_unique<internal::StartedTask>(slot_, std::move(task)));
}

void Actor::WithdrawAsk(AskId ask) {
  OpenQuestion* const question = slot_->extra->FindAsk(ask);
  if (question == nullptr) return;
  SLUICE_PLANT(question_not_withdrawn, question->callback = [](void*, const absl::Status&) {};
               return);
  DisarmAsk(*question);
  const auto gone = std::exchange(question->callback, nullptr);
  if (gone != nullptr) ++slot_->extra->asks_over;
}

namespace internal {

void* GetFrame(size_t bytes) {
  SLUICE_CHECK(Worker::Current() != nullptr,
               "a coroutine was called outside its actor: call it in a handler");
  void* const place = Worker::Current()->desk().frames.Get(bytes);
  if (place == nullptr) throw NoFrameMemory();
  return place;
}

void PutFrame(void* place, size_t bytes) {
  SLUICE_CHECK(Worker::Current() != nullptr, "a Task has left its actor's worker");
  Worker::Current()->desk().frames.Put(place, bytes);
}

bool JoinTasks(Slot* slot, Coroutine& coroutine) {
  // The destructor of an actor whose constructor throws would come before the end of its tasks.
  if (slot->actor == nullptr && slot->state == ActorState::kStarting) {
    throw std::logic_error("StartTask() in a constructor: start the task in OnStart() or later");
  }
  if (slot->state == ActorState::kLingering || slot->state == ActorState::kRestarting) return false;
  Worker& worker = *slot->worker;
  coroutine.JoinList(worker.Extra(slot).tasks, worker.desk().coroutine_runs);
  return true;
}

void RefuseWait(const Slot* slot, Where where, const char* mistake) {
  std::fprintf(stderr, "sluice: a task of %s %s, at %s:%d\n", NameOfActor(slot).c_str(), mistake,
               where.file, where.line);
  std::abort();
}

void StartHandling(Slot* slot, Task<void> task) {
  StartIn(std::make_unique<HandlingTask>(slot, std::move(task)));
}

void MessageTaskBegins(Slot* slot) { slot->worker->holds().TaskBegins(slot); }

void MessageTaskEnds(Slot* slot) { slot->worker->holds().TaskEnds(slot); }

void TaskIsOver(Slot* slot) {
  if (slot->actor != nullptr) static_cast<Actor*>(slot->actor)->CallbackRan();
}

void Wait::Suspend(Coroutine& coroutine, std::coroutine_handle<> frame, const char* what,
                   const Slot* target) {
  if (coroutine.slot() != actor_.slot()) [[unlikely]] {
    RefuseWait(coroutine.slot(), place_.where, "awaits what belongs to another actor");
  }
  if (coroutine_ != nullptr) [[unlikely]] {
    RefuseWait(coroutine.slot(), place_.where, "awaits once more what it has awaited");
  }
  coroutine_ = &coroutine;
  frame_ = frame;
  coroutine.WaitsAt(place_, what, coroutine.slot()->worker->NowNs(), target);
}

bool TimerWait::BeginTimer(Coroutine& coroutine, std::coroutine_handle<> frame, const char* what,
                           absl::Duration delay) {
  Suspend(coroutine, frame, what);
  timer_ = actor_.After(delay, [this] {
    timer_ = 0;
    GoOn();
  });
  return timer_ != 0;
}

bool SleepWait::Begin(Coroutine& coroutine, std::coroutine_handle<> frame) {
  if (BeginTimer(coroutine, frame, "a time", delay_)) return true;
  throw std::runtime_error("Sleep() was refused: the actor has timers_max timers");
}

bool EndWait::Begin(Coroutine& coroutine, std::coroutine_handle<> frame) {
  Suspend(coroutine, frame, "the end", target_);
  monitor_ = actor_.MonitorSlot(target_, generation_);
  if (monitor_ == 0) {
    throw std::runtime_error("EndOf() was refused: the actor has monitors_max monitors");
  }
  actor_.slot()->extra->watching.find(monitor_)->second.listener = this;
  return true;
}

void EndWait::Withdraw() {
  SLUICE_PLANT(end_not_withdrawn, actor_.slot()->extra->watching.find(monitor_)->second.listener = nullptr;
               return);
  actor_.Demonitor(monitor_);
}

void EndWait::Told(Down down) {
  monitor_ = 0;
  down_ = std::move(down);
  GoOn();
}

}  // namespace internal
}  // namespace sluice
