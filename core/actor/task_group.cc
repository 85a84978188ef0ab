#include "sluice/core/actor/task_group.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/demangle.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"

namespace sluice {

namespace internal {

bool FirstOfBase::Alternative::Begin(FirstOfBase& of, int index) {
  of_ = &of;
  index_ = index;
  SetSlot(of.waiting_->slot());
  JoinTasks(slot(), *this);
  StartIn();
  Coroutine::Begin();
  return of.first_ < 0;
}

Coroutine* FirstOfBase::OnEnded(int index) {
  if (first_ >= 0) return nullptr;
  first_ = index;
  if (starting_) return nullptr;  // Begin() answers false.
  waiting_->SetNext(frame_);
  return waiting_;
}

// The actor ends.
void GroupTask::Cancel() {
  SLUICE_PLANT(group_task_stays_listed, return OwnedTask::Cancel());
  group_.tasks_.Remove(*this);
  OwnedTask::Cancel();
}

}  // namespace internal

TaskGroup::~TaskGroup() {
  if (joining_ != nullptr) [[unlikely]] {
    internal::RefuseWait(slot_, join_->place_.where, "joins a group that ends before its tasks");
  }
  CancelAll();
  LeaveJoin();
  if (error_ == nullptr) return;
  LogError(absl::StrCat(NameOfActor(slot_), ": a task of a group failed, and nobody joined it: ",
                        ExceptionText(error_)));
}

void TaskGroup::Start(Task<void> task) {
  auto started = std::make_unique<internal::GroupTask>(*this, slot_, std::move(task));
  if (!internal::JoinTasks(slot_, *started)) return;
  tasks_.PushBack(*started);
  started.release()->BeginTask();
}

void TaskGroup::Cancel() {
  CancelAll();
  internal::TaskIsOver(slot_);
  SLUICE_PLANT(joiner_not_told, return);
  if (joining_ != nullptr) std::exchange(joining_, nullptr)->Resume(frame_);
}

void TaskGroup::CancelAll() {
  while (!tasks_.Empty()) {
    internal::GroupTask& task = *tasks_.Front();
    task.LeaveList();
    task.Cancel();
  }
}

Coroutine* TaskGroup::OnEnded(internal::GroupTask& task) {
  tasks_.Remove(task);
  const std::unique_ptr<internal::GroupTask> own(&task);
  const std::exception_ptr error = task.TakeError();
  if (error != nullptr) Failed(error);
  internal::TaskIsOver(slot_);
  if (joining_ == nullptr || (!tasks_.Empty() && error_ == nullptr)) return nullptr;
  Coroutine* const joining = std::exchange(joining_, nullptr);
  joining->SetNext(frame_);
  return joining;
}

void TaskGroup::Failed(const std::exception_ptr& error) {
  ++errors_;
  if (error_ == nullptr) {
    error_ = error;
    return;
  }
  LogError(
      absl::StrCat(NameOfActor(slot_), ": error ", errors_,
                   " of a group of tasks, behind the one that Join tells: ", ExceptionText(error)));
}

void TaskGroup::LeaveJoin() {
  if (join_ == nullptr) return;
  join_->error_ = TakeError();
  join_->group_ = nullptr;
  join_->joins_ = false;
  join_ = nullptr;
}

bool TaskGroup::JoinWait::Begin(Coroutine& coroutine, std::coroutine_handle<> frame) {
  if (group_ == nullptr) [[unlikely]] {
    internal::RefuseWait(coroutine.slot(), place_.where,
                         "awaits a Join once more, and its group may have ended");
  }
  if (group_->joining_ != nullptr) [[unlikely]] {
    internal::RefuseWait(coroutine.slot(), place_.where, "joins a group that another one joins");
  }
  if (group_->tasks_.Empty() || group_->error_ != nullptr) return false;
  group_->LeaveJoin();
  coroutine.WaitsAt(place_, "the tasks of a group", coroutine.slot()->worker->NowNs());
  joins_ = true;
  group_->join_ = this;
  group_->joining_ = &coroutine;
  group_->frame_ = frame;
  return true;
}

void TaskGroup::JoinWait::Result() {
  if (group_ == nullptr) {
    if (error_ != nullptr) std::rethrow_exception(std::exchange(error_, nullptr));
    return;
  }
  if (std::exchange(joins_, false)) group_->Joined();
  if (group_->error_ == nullptr) return;
  group_->CancelAll();
  std::rethrow_exception(group_->TakeError());
}

}  // namespace sluice
