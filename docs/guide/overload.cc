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

  // No worker runs yet, so the mailbox fills. A thread outside of the runtime keeps a message that
  // is not accepted: it can drop the message, or try again.
  std::map<std::string, int> answers;
  for (int value = 1; value <= 5; ++value) {
    ++answers[std::string(sluice::AnswerName(display.TrySend(Reading{value})))];
  }
  for (const auto& [answer, count] : answers) std::printf("%s: %d\n", answer.c_str(), count);

  if (!runtime.Start().ok()) return 1;
  runtime.Drain(absl::Seconds(5));
  std::printf("closed: %s\n",
              display.TrySend(Reading{6}) == sluice::Answer::kClosed ? "yes" : "no");

  // No message is lost in silence: the ledger counts each one in exactly one place.
  const sluice::Ledger ledger = runtime.TotalLedger();
  std::printf("balanced: %s\n", ledger.Balanced() ? "yes" : "no");
}
