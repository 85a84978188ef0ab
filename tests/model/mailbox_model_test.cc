#include "sluice/tests/model/mailbox_model.h"

#include <cstdio>
#include <string>

#include "gtest/gtest.h"

namespace sluice::model {
namespace {

Report ExploreMailbox(const MailboxConfig& config, Memory memory = Memory::kTso) {
  ExploreOptions options;
  options.memory = memory;
  const Report report = Explore<MailboxModel>(options, config);
  std::printf("%s\n", report.Summary().c_str());
  return report;
}

void ExpectHolds(const MailboxConfig& config, int64_t executions, Memory memory = Memory::kTso) {
  const Report report = ExploreMailbox(config, memory);
  EXPECT_FALSE(report.failed) << report.failure;
  EXPECT_TRUE(report.complete);
  EXPECT_GT(report.executions, executions);
}

void ExpectFound(const MailboxConfig& config, const std::string& failure) {
  const Report report = ExploreMailbox(config);
  EXPECT_TRUE(report.failed);
  EXPECT_NE(report.failure.find(failure), std::string::npos) << report.failure;
}

// Everything at once: full lanes, a sender that ends while parked, a target that ends, and the next
// actor in its slot.
constexpr MailboxConfig kAll = {.capacity = 1,
                                .senders = 2,
                                .messages = 2,
                                .lane_messages_max = 1,
                                .enders = 1,
                                .closes_max = 1};

TEST(MailboxModel, HoldsWithCapacityOneWhenActorsEnd) {
  ExpectHolds(kAll, 50'000);
  ExpectHolds(kAll, 50'000, Memory::kPso);
  ExpectHolds({.capacity = 1,
               .senders = 1,
               .messages = 2,
               .lane_messages_max = 1,
               .enders = 1,
               .closes_max = 1},
              1'000, Memory::kViews);
  ExpectHolds({.capacity = 1, .senders = 2, .messages = 2}, 50'000, Memory::kViews);
}

TEST(MailboxModel, HoldsWithThreeSenders) {
  MailboxConfig config = kAll;
  config.senders = 3;
  config.messages = 1;
  ExpectHolds(config, 40'000);
  config.capacity = 2;
  ExpectHolds(config, 20'000);
}

TEST(MailboxModel, HoldsWhenReparkedSendersMeetTheNextActor) {
  ExpectHolds({.capacity = 1, .senders = 2, .messages = 1, .runs = 2, .enders = 1, .closes_max = 1},
              80'000);
  ExpectHolds({.capacity = 1, .senders = 2, .messages = 2, .runs = 2}, 40'000);
}

TEST(MailboxModel, HoldsWithCapacityTwoWhereGrantsArePartial) {
  ExpectHolds({.capacity = 2, .senders = 2, .messages = 3, .enders = 1}, 100'000);
  MailboxConfig config = kAll;
  config.capacity = 2;
  ExpectHolds(config, 150'000);
}

TEST(MailboxModel, HoldsWithCapacityThreeWhereGrantsWaitForHalf) {
  ExpectHolds({.capacity = 3, .senders = 2, .messages = 2, .enders = 1}, 10'000);
  ExpectHolds({.capacity = 3,
               .senders = 1,
               .messages = 6,
               .lane_messages_max = 2,
               .enders = 1,
               .closes_max = 1},
              1'000);
}

TEST(MailboxModel, HoldsWithAReserveAndALocalSender) {
  ExpectHolds({.capacity = 4,
               .senders = 1,
               .local_sender = true,
               .messages = 3,
               .enders = 1,
               .closes_max = 1},
              30'000);
  ExpectHolds({.capacity = 2,
               .senders = 1,
               .local_sender = true,
               .messages = 3,
               .enders = 1,
               .closes_max = 1},
              20'000);
}

// A parked target handles nothing, so it can grant only the credits that are free now; waiting for
// half of them would make a deadlock.
TEST(MailboxModel, ParkedTargetGrantsWhatItHas) {
  MailboxConfig config = {.capacity = 3, .senders = 1, .messages = 4, .owner_parks = true};
  ExpectHolds(config, 200);
  config.fault = Fault::kNotEagerWhenParked;
  ExpectFound(config, "sender0 waits for ever");
}

// --- Planted faults: they show that the tests above can fail.

TEST(MailboxModel, PlantedForgottenCreditsAreFound) {
  MailboxConfig config = kAll;
  config.fault = Fault::kLateGrantForgotten;
  ExpectFound(config, "credits: 0 of 1");
  config.capacity = 2;
  config.messages = 3;
  config.fault = Fault::kPaidForgottenAtFullLane;
  ExpectFound(config, "credits: 1 of 2");
}

TEST(MailboxModel, PlantedStaleCreditsAndWaitsAreFound) {
  MailboxConfig config = kAll;
  config.fault = Fault::kStaleReturnTaken;
  ExpectFound(config, "credits: 2 of 1");
  config.fault = Fault::kStaleWaitTaken;
  ExpectFound(config, "credits: 0 of 1");
}

TEST(MailboxModel, PlantedWaitersThatNobodyTellsAreFound) {
  MailboxConfig config = kAll;
  config.fault = Fault::kNoGrantsAfterReturn;
  ExpectFound(config, "sender1 waits for ever");
  config.fault = Fault::kWaitersNotTold;
  ExpectFound(config, "waits for ever");
}

// A sender that gives a credit back to the word instead of the owner passes by the waiters.
TEST(MailboxModel, PlantedGiveByAStrangerIsFound) {
  ExpectFound({.capacity = 2,
               .senders = 2,
               .messages = 3,
               .lane_messages_max = 1,
               .enders = 1,
               .fault = Fault::kStrangerGives},
              "sender1 waits for ever");
}

TEST(MailboxModel, PlantedCreditsLeftWithTheOwnerAreFound) {
  MailboxConfig config = {
      .capacity = 4, .senders = 2, .messages = 3, .lane_messages_max = 1, .enders = 1};
  config.fault = Fault::kNoPublishAfterReturn;
  ExpectFound(config, "credits stay with the owner");
  config.fault = Fault::kNoPublishAfterSlice;
  ExpectFound(config, "credits stay with the owner");
}

TEST(MailboxModel, PlantedOvertakingIsFound) {
  MailboxConfig config = kAll;
  config.fault = Fault::kOutboxOvertaken;
  ExpectFound(config, "a message came out of order");
}

}  // namespace
}  // namespace sluice::model
