// The same promise on both systems: a program and its peer see the same in a script, whether the
// kernel is Linux or simulated.
#include <gtest/gtest.h>

#include "sluice/tests/os/script.h"

namespace sluice::testing {
namespace {

class Fidelity : public ::testing::TestWithParam<Script> {};

TEST_P(Fidelity, LinuxAndTheSimulationShowTheSame) {
  const Seen on_linux = RunOnLinux(GetParam());
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const Seen simulated = RunSimulated(GetParam(), seed);
    EXPECT_EQ(on_linux.client, simulated.client) << "seed " << seed;
    EXPECT_EQ(on_linux.server, simulated.server) << "seed " << seed;
    EXPECT_EQ(on_linux.ledger, simulated.ledger) << "seed " << seed;
    if (HasFailure()) break;
  }
}

INSTANTIATE_TEST_SUITE_P(Scripts, Fidelity, ::testing::ValuesIn(Scripts()),
                         [](const auto& script) { return script.param.name; });

}  // namespace
}  // namespace sluice::testing
