#include <cstdio>
#include <latch>
#include <stop_token>
#include <string>
#include <utility>

#include "sluice/sluice.h"

struct Job {
  using Reply = std::string;
  std::string name;
};

// Works on one job at a time, and has no queue of its own: jobs wait in its mailbox.
class Press : public sluice::Actor {
 public:
  void On(Job job, sluice::Promise<std::string> promise) {
    // The hold lives in the callback. It ends with it, also if the call is refused.
    const sluice::Answer asked = RunBlocking(
        [name = job.name](const std::stop_token& stop) {
          for (int page = 0; page < 3 && !stop.stop_requested(); ++page) {
          }  // Prints a page. If the actor ends meanwhile, the rest is not worth the paper.
          return name + " is printed";
        },
        [promise = std::move(promise),
         hold = HoldMail()](absl::StatusOr<std::string> printed) mutable {
          if (printed.ok()) return promise.Resolve(*std::move(printed));
          promise.Fail(printed.status());
        });
    if (asked != sluice::Answer::kAccepted) std::printf("%s is refused\n", job.name.c_str());
  }
};

// Passes each job on: the answer goes straight to whoever asked.
class Counter : public sluice::Actor {
 public:
  explicit Counter(sluice::Ref<Press> press) : press_(press) {}
  void On(Job job, sluice::Promise<std::string> promise) {
    AskFor(std::move(promise), press_, std::move(job), absl::Seconds(5));
  }

 private:
  const sluice::Ref<Press> press_;
};

class Customer : public sluice::Actor {
 public:
  Customer(sluice::Ref<Counter> counter, std::latch* done) : counter_(counter), done_(*done) {}
  void OnStart() override {
    for (const char* const name : {"a letter", "a poster", "a book"}) {
      const sluice::Answer asked =
          Ask(counter_, Job{name}, absl::Seconds(5), [this](absl::StatusOr<std::string> printed) {
            std::printf("%s\n", printed.value_or("nothing").c_str());
            done_.count_down();
          });
      if (asked != sluice::Answer::kAccepted) done_.count_down();
    }
  }

 private:
  const sluice::Ref<Counter> counter_;
  std::latch& done_;
};

int main() {
  std::latch done(3);
  sluice::Runtime runtime{sluice::Options{}};
  sluice::SpawnOptions small;
  small.mailbox_messages_max = 8;  // Past so many waiting jobs the counter is parked.
  const auto press = runtime.SpawnWith<Press>(small);
  runtime.Spawn<Customer>(runtime.Spawn<Counter>(press), &done);
  if (!runtime.Start().ok()) return 1;
  done.wait();
  runtime.Drain(absl::Seconds(5));
}
