#include <cstdio>
#include <string>

#include "sluice/sluice.h"

struct Tick {};  // A message is any movable struct.

struct Line {  // Its memory is counted: a mailbox is bounded in bytes, too.
  std::string text;
};

class Journal : public sluice::Actor {
 public:
  void On(Tick) { std::printf("tick\n"); }
  void On(const Line& line) { std::printf("%d: %s\n", ++lines_, line.text.c_str()); }

 private:
  int lines_ = 0;
};

// Sends to any actor that handles Line, without knowing its class.
class Writer : public sluice::Actor {
 public:
  explicit Writer(sluice::Recipient<Line> to) : to_(to) {}
  void OnStart() override {
    for (const char* text : {"the messages", "of one sender", "come in order"}) {
      if (Send(to_, Line{text}) != sluice::Answer::kAccepted) return Stop("nobody takes it");
    }
  }

 private:
  const sluice::Recipient<Line> to_;
};

int main() {
  sluice::Options options;
  options.workers = 1;  // Between senders on different workers no order is promised.
  sluice::Runtime runtime(options);
  const sluice::Ref<Journal> journal = runtime.Spawn<Journal>();
  if (journal.TrySend(Tick{}) != sluice::Answer::kAccepted) return 1;  // From outside of any actor.
  if (!runtime.Start().ok()) return 1;
  runtime.Spawn<Writer>(journal);
  runtime.Drain(absl::Seconds(5));
}
