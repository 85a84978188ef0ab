#include "sluice/sim/check/close_check.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/sim/world/simulation.h"

namespace sluice::sim::close_check_test {
namespace {

using ::testing::HasSubstr;

struct Closes : ::testing::Test {
  Simulation simulation{1, Faults::None()};
};

TEST_F(Closes, AConnectionThatEndsTwiceOrNeverIsFound) {
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

TEST_F(Closes, SessionNeverNotifiedOfItsEndIsFound) {
  CloseCheck closes(simulation);
  closes.Opened();
  closes.AtEnd(ConnectionLedger::Totals());
  EXPECT_THAT(simulation.violation(), HasSubstr("never got OnClose"));
}

}  // namespace
}  // namespace sluice::sim::close_check_test
