// Mail: when a message to another worker leaves its stage, and who wakes the receiver. No threads:
// the test takes the workers' turns.
#include "sluice/core/worker/mail.h"

#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/mailbox/inbox.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/worker/worker.h"
#include "sluice/tests/support/forwarding_os.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::mail_test {
namespace {

struct Count {};

class Counter : public Actor {
 public:
  void On(Count) { ++counted; }
  int counted = 0;
};

// Counts the signals to each eventfd.
class SignalOs : public ForwardingOs {
 public:
  int WakeSignal(int fd) override {
    ++signals;
    return ForwardingOs::WakeSignal(fd);
  }
  int signals = 0;
};

class MailTest : public ::testing::Test {
 protected:
  MailTest() : runtime_(SmallOptions(2), os_), step_(runtime_) {
    target_ = runtime_.SpawnWith<Counter>({.name = "", .mailbox_messages_max = 512, .worker = 1});
    step_.Round(2);
    os_.signals = 0;
  }
  // As a handler on worker 0 would.
  void Send(int messages) {
    from().Enter();
    for (int i = 0; i < messages; ++i) EXPECT_EQ(target_.TrySend(Count{}), Answer::kAccepted);
    Worker::Leave();
  }
  Worker& from() { return runtime_.worker(0); }
  Worker& to() { return runtime_.worker(1); }
  int Counted() { return static_cast<Counter*>(target_.slot()->actor)->counted; }

  SignalOs os_;
  Runtime runtime_;
  Stepper step_;
  Ref<Counter> target_;
};

TEST_F(MailTest, AStageIsEnqueuedWhenItIsFull) {
  Send(Mail::kStageMax - 1);
  EXPECT_EQ(from().mail().StageTo(1).count, Mail::kStageMax - 1);
  EXPECT_EQ(to().mail().inbox().Count(), 0u);
  Send(1);
  EXPECT_EQ(from().mail().StageTo(1).count, 0);
  EXPECT_EQ(to().mail().inbox().Count(), static_cast<size_t>(Mail::kStageMax));
  EXPECT_EQ(from().mail().CrossSent(), Mail::kStageMax);
}

TEST_F(MailTest, AFlushSendsWhatAStageHoldsOnce) {
  Send(3);
  EXPECT_TRUE(from().mail().HasStaged());
  from().mail().Flush();
  EXPECT_FALSE(from().mail().HasStaged());
  from().mail().Flush();
  EXPECT_EQ(to().mail().inbox().Count(), 3u);
  step_.Turn(1);
  EXPECT_EQ(Counted(), 3);
}

TEST_F(MailTest, ASleepingReceiverIsSignalledOnce) {
  to().mail().sleep_word().FallAsleep();
  Send(1);
  from().mail().Flush();
  EXPECT_EQ(os_.signals, 1);
  Send(2 * Mail::kStageMax);
  from().mail().Flush();
  EXPECT_EQ(os_.signals, 1);
}

TEST_F(MailTest, AFullStageWakesASleeperAtOnce) {
  to().mail().sleep_word().FallAsleep();
  Send(Mail::kStageMax - 1);
  EXPECT_EQ(os_.signals, 0);
  Send(1);
  EXPECT_EQ(os_.signals, 1);
}

TEST_F(MailTest, AnAwakeReceiverIsNotSignalled) {
  Send(Mail::kStageMax);
  from().mail().Flush();
  EXPECT_EQ(os_.signals, 0);
}

TEST_F(MailTest, ARefusedMessageTakesNothing) {
  ASSERT_TRUE(from().lease().Charge(80));  // From now on the lease holds some of the budget.
  from().lease().Refund(80);
  const int64_t left = from().lease().LeftBytes();
  const uint64_t sent = to().mail().inbox().LaneFrom(0).gate.SentTotal();
  const uint32_t generation = target_.generation() + 2;  // An actor that never lived.
  Mail::Stage& stage = from().mail().StageTo(1);
  EXPECT_EQ(from().mail().Reserve(stage, target_.slot(), generation, 80, /*overdraft=*/false),
            Answer::kClosed);
  EXPECT_EQ(from().lease().LeftBytes(), left);
  EXPECT_EQ(to().mail().inbox().LaneFrom(0).gate.SentTotal(), sent);
}

TEST_F(MailTest, AnOutsideMessageIsCountedAsTakenWhenItArrives) {
  const int64_t taken = to().mail().CrossTaken();
  EXPECT_EQ(target_.TrySend(Count{}), Answer::kAccepted);
  EXPECT_EQ(to().mail().CrossTaken(), taken);
  step_.Turn(1);
  EXPECT_EQ(to().mail().CrossTaken(), taken + 1);
  EXPECT_FALSE(to().mail().CameFromWorkers());
  Send(1);
  step_.Turn(0);
  to().Enter();
  EXPECT_TRUE(to().mail().Drain());
  Worker::Leave();
  EXPECT_TRUE(to().mail().CameFromWorkers());
  EXPECT_FALSE(to().mail().CameFromWorkers());
}

}  // namespace
}  // namespace sluice::testing::mail_test
