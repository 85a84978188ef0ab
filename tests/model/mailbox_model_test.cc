#include "sluice/tests/model/mailbox_model.h"

#include "gtest/gtest.h"

namespace sluice::model {
namespace {

Report Run1(const MailboxConfig& config, Memory memory = Memory::kTso) {
  ExploreOptions options;
  options.memory = memory;
  const Report report = Explore<MailboxModel>(options, config);
  std::printf("%s\n", report.Summary().c_str());
  return report;
}

TEST(X, Y) {
  for (uint32_t cap : {1, 2, 3}) {
    for (int v = 0; v < 8; ++v) {
      MailboxConfig c;
      c.capacity = cap;
      c.messages = static_cast<int>(cap)+1;
      c.ends_max = v & 1;
      c.closes_max = (v >> 1) & 1;
      c.lane_messages_max = (v >> 2) & 1;
      std::printf("cap %u v %d: ", cap, v);
      std::fflush(stdout);
      if (Run1(c).failed) return;
    }
  }
}

}  // namespace
}  // namespace sluice::model
