#include "sluice/core/base/check.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::testing::check_test {
namespace {

using ::testing::ContainsRegex;

TEST(Check, TrueConditionIsEvaluatedOnceAndItsMessageNever) {
  int conditions = 0;
  int messages = 0;
  SLUICE_CHECK(++conditions == 1, (++messages, "not wanted"));
  EXPECT_EQ(conditions, 1);
  EXPECT_EQ(messages, 0);
}

TEST(Check, IsOneStatement) {
  bool else_taken = false;
  if (else_taken)
    SLUICE_CHECK(false);
  else
    else_taken = true;
  EXPECT_TRUE(else_taken);
}

TEST(CheckDeathTest, FailureNamesFileLineAndCondition) {
  const int credits = -1;
  EXPECT_DEATH(SLUICE_CHECK(credits >= 0),
               ContainsRegex("check_test\\.cc:[0-9]+: SLUICE_CHECK\\(credits >= 0\\) failed\n"));
}

TEST(CheckDeathTest, FailureSaysTheMessage) {
  EXPECT_DEATH(SLUICE_CHECK(1 > 2, "the ledger does not add up"),
               ContainsRegex("SLUICE_CHECK\\(1 > 2\\) failed: the ledger does not add up\n"));
}

}  // namespace
}  // namespace sluice::testing::check_test
