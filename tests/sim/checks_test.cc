#include "sluice/sim/checks.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/sim/simulation.h"

namespace sluice::sim {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Checks : ::testing::Test {
  Simulation simulation{1, Faults::None()};
};

TEST_F(Checks, MessagesOutOfOrderAreFound) {
  SequenceCheck order(simulation);
  for (int i = 0; i < 3; ++i) order.Sent(1, 2);
  order.Arrived(1, 2, 1);
  order.Arrived(1, 2, 3);
  order.AtEnd(/*dropped=*/1);
  EXPECT_EQ(simulation.violation(), "");
  order.Arrived(1, 2, 2);
  EXPECT_THAT(simulation.violation(), StartsWith("L2 order"));
}

TEST_F(Checks, AMessageThatNobodySentIsFound) {
  SequenceCheck order(simulation);
  order.Arrived(1, 2, order.Next(1, 2));
  EXPECT_THAT(simulation.violation(), StartsWith("L2 order"));
}

TEST_F(Checks, AMessageThatIsLostIsFound) {
  SequenceCheck order(simulation);
  order.Sent(1, 2);
  order.AtEnd();
  EXPECT_THAT(simulation.violation(), StartsWith("L1 ledger"));
}

TEST_F(Checks, ASecondDownIsFound) {
  DownCheck downs(simulation);
  downs.Monitored(1, 2, 5);
  downs.Down(1, 5);
  downs.AtEnd();
  EXPECT_EQ(simulation.violation(), "");
  downs.Down(1, 5);
  EXPECT_THAT(simulation.violation(), StartsWith("L8 death"));
}

TEST_F(Checks, ADownThatNeverComesIsFound) {
  DownCheck downs(simulation);
  downs.Monitored(1, 2, 5);
  downs.Monitored(3, 2, 5);
  downs.WatcherEnded(3);
  downs.Down(1, 5);
  downs.Monitored(1, 2, 6);
  downs.TakenBack(1, 6);
  downs.AtEnd();
  EXPECT_EQ(simulation.violation(), "");
  downs.Monitored(1, 2, 7);
  downs.AtEnd();
  EXPECT_THAT(simulation.violation(), StartsWith("L8 death"));
}

TEST_F(Checks, AMessageOfTheDeadAfterItsDownIsFound) {
  DownCheck downs(simulation);
  downs.Monitored(1, 2, 5);
  downs.Message(2, 1);
  downs.Down(1, 5);
  EXPECT_EQ(simulation.violation(), "");
  downs.Message(2, 1);
  EXPECT_THAT(simulation.violation(), StartsWith("L8 death"));
}

TEST_F(Checks, AConnectionThatEndsTwiceOrNeverIsFound) {
  CloseCheck closes(simulation);
  ConnectionLedger::Totals totals;
  totals.closed[static_cast<size_t>(CloseReason::kClosed)] = 1;
  const int64_t connection = closes.Opened();
  closes.Closed(connection, CloseReason::kClosed);
  closes.AtEnd(totals);
  EXPECT_EQ(simulation.violation(), "");
  closes.Closed(connection, CloseReason::kReset);
  EXPECT_THAT(simulation.violation(), HasSubstr("ended twice: closed, then reset by the peer"));
}

TEST_F(Checks, ASessionThatNeverHearsItsEndIsFound) {
  CloseCheck closes(simulation);
  closes.Opened();
  closes.AtEnd(ConnectionLedger::Totals());
  EXPECT_THAT(simulation.violation(), HasSubstr("never heard its end"));
}

}  // namespace
}  // namespace sluice::sim
