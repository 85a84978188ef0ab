#include "sluice/tests/model/mailbox_model.h"
#include <cstdlib>
#include <chrono>
#include "gtest/gtest.h"

namespace sluice::model {
namespace {

Report Run1(const MailboxConfig& config, Memory memory = Memory::kTso) {
  ExploreOptions options;
  options.memory = memory;
  options.executions_max=5000000;
  auto t=std::chrono::steady_clock::now();
  const Report report = Explore<MailboxModel>(options, config);
  std::printf("%.1fs %s\n", std::chrono::duration<double>(std::chrono::steady_clock::now()-t).count(), report.Summary().c_str());
  return report;
}

TEST(X, Y) {
 std::string e = getenv("CFG");  // cap senders local messages runs lane ends closes parks fault
      MailboxConfig c; int f;
  while (sscanf(e.c_str(), "%u %d %d %d %d %u %d %d %d %d", &c.capacity, &c.senders, (int*)&f, &c.messages, &c.runs, &c.lane_messages_max, &c.enders, &c.closes_max, (int*)&f,(int*)&f)>=8) {
     int l=0,p=0,fa=0; sscanf(e.c_str(), "%*u %*d %d %*d %*d %*u %*d %*d %d %d",&l,&p,&fa); c.local_sender=l; c.owner_parks=p; c.fault=static_cast<Fault>(fa);
      std::printf("%s: ",e.c_str());
      std::fflush(stdout);
      Run1(c); return;
    }
}

}  // namespace
}  // namespace sluice::model
