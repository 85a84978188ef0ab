#include <cstdio>
#include <map>
#include <string>

#include "sluice/sluice.h"

struct Reading {
  int value;
};

class Display : public sluice::Actor {
 public:
  void On(Reading reading) { std::printf("shows %d\n", reading.value); }
};

int main() {
  sluice::Runtime runtime{sluice::Options()};
  sluice::SpawnOptions small;
  small.mailbox_messages_max = 2;
  const sluice::Ref<Display> display = runtime.SpawnWith<Display>(small);

  // Nobody runs yet, so the mailbox fills. A thread that is no worker can always do without, or
  // try again; what was not accepted is still its own.
  std::map<std::string, int> answers;
  for (int value = 1; value <= 5; ++value) {
    ++answers[std::string(sluice::AnswerName(display.TrySend(Reading{value})))];
  }
  for (const auto& [answer, count] : answers) std::printf("%s: %d\n", answer.c_str(), count);

  if (!runtime.Start().ok()) return 1;
  runtime.Drain(absl::Seconds(5));
  std::printf("closed: %s\n",
              display.TrySend(Reading{6}) == sluice::Answer::kClosed ? "yes" : "no");

  // Nothing is lost in silence: each message is in exactly one of these.
  const sluice::Ledger ledger = runtime.TotalLedger();
  std::printf("balanced: %s\n", ledger.Balanced() ? "yes" : "no");
}
