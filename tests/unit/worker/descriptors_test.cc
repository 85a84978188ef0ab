// Descriptors and MemoryWatch: lists of handlers, the two buffers, and who waits for memory. The
// handlers are the test's own and have no descriptor.
#include "sluice/core/worker/descriptors.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/worker/memory_watch.h"
#include "sluice/core/worker/worker.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::descriptors_test {
namespace {

// Notes its calls by name: "a turn", "a slice end".
class Noter : public IoHandler {
 public:
  Noter(std::string name, std::vector<std::string>& notes)
      : name_(std::move(name)), notes_(notes) {}
  void OnEvents(uint32_t) override { Note("events"); }
  void OnTurn() override { Note("turn"); }
  void OnDeadline() override { Note("deadline"); }
  void OnSliceEnd() override { Note("slice end"); }
  void OnGatherTaken() override {
    Note("gather taken");
    gather_owner->ReleaseGather();
  }
  void OnUnparked() override {}
  void OnActorEnded(bool) override {}
  void OnDrain() override {}
  void OnDrainClose() override {}
  void OnShutdown() override {}
  Descriptors* gather_owner = nullptr;

 private:
  void Note(const char* what) { notes_.push_back(name_ + " " + what); }
  const std::string name_;
  std::vector<std::string>& notes_;
};

class DescriptorsTest : public ::testing::Test {
 protected:
  DescriptorsTest() : runtime_(SmallOptions(1)) {}
  Worker& worker() { return runtime_.worker(0); }
  Descriptors& descriptors() { return worker().descriptors(); }
  MemoryWatch& memory() { return worker().memory(); }

  Runtime runtime_;
  std::vector<std::string> notes_;
  Noter a_{"a", notes_};
  Noter b_{"b", notes_};
};

using Notes = std::vector<std::string>;

TEST_F(DescriptorsTest, ReadyHandlersHaveOneTurnEachInOrder) {
  descriptors().MarkReady(&b_);
  descriptors().MarkReady(&a_);
  descriptors().MarkReady(&b_);
  descriptors().RunReady();
  EXPECT_EQ(notes_, (Notes{"b turn", "a turn"}));
  EXPECT_FALSE(descriptors().HasReady());
}

TEST_F(DescriptorsTest, ADeadlineIsJudgedBehindTheTurnThatWaits) {
  EXPECT_FALSE(descriptors().JudgeAfterTurn(&a_));  // No turn waits: judge now.
  descriptors().MarkReady(&a_);
  EXPECT_TRUE(descriptors().JudgeAfterTurn(&a_));
  descriptors().RunReady();
  EXPECT_EQ(notes_, (Notes{"a turn", "a deadline"}));
  descriptors().MarkReady(&a_);
  descriptors().RunReady();
  EXPECT_EQ(notes_.size(), 3u);  // Judged once.
}

TEST_F(DescriptorsTest, OutputLeavesInTheOrderItWasWritten) {
  descriptors().FlushAfterSlice(&b_);
  descriptors().FlushAfterSlice(&a_);
  descriptors().FlushAfterSlice(&b_);
  descriptors().RunFlushList(Desk::kTurnNs);
  EXPECT_EQ(notes_, (Notes{"b slice end", "a slice end"}));
}

TEST_F(DescriptorsTest, TheGatherBufferHasOneHolder) {
  a_.gather_owner = &descriptors();
  descriptors().AcquireGather(&a_);
  descriptors().Gather() += "bytes of a";
  descriptors().AcquireGather(&b_);
  EXPECT_EQ(notes_, (Notes{"a gather taken"}));
  EXPECT_EQ(descriptors().Gather(), "");
  descriptors().ReleaseGather();
}

TEST_F(DescriptorsTest, AHandlerWaitsForMemoryOnce) {
  memory().WaitForMemory(&a_);
  memory().WaitForMemory(&b_);
  memory().WaitForMemory(&a_);
  EXPECT_TRUE(a_.WaitsForMemory() && b_.WaitsForMemory());
  memory().CheckInvariants();
  memory().Withdraw(&a_);
  memory().Withdraw(&a_);
  EXPECT_FALSE(a_.WaitsForMemory());
  EXPECT_TRUE(b_.WaitsForMemory());
  memory().CheckInvariants();
  memory().Withdraw(&b_);
}

TEST_F(DescriptorsTest, FreeMemoryPutsWaitersBackOnTheReadyList) {
  memory().PauseReading();
  memory().WaitForMemory(&a_);
  EXPECT_TRUE(memory().Active());
  memory().Check();  // The budget is not spent.
  EXPECT_FALSE(memory().ReadingPaused());
  EXPECT_FALSE(a_.WaitsForMemory());
  descriptors().RunReady();
  EXPECT_EQ(notes_, (Notes{"a turn"}));
}

}  // namespace
}  // namespace sluice::testing::descriptors_test
