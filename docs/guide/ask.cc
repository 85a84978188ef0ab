#include <cstdio>
#include <latch>
#include <string>
#include <utility>

#include "sluice/sluice.h"

struct Root {  // Answered at once, or refused with a status.
  using Reply = int;
  int of;
};
struct Coffee {  // Answered later.
  using Reply = std::string;
};

class Waiter : public sluice::Actor {
 public:
  absl::StatusOr<int> On(Root root) {
    for (int i = 0; i <= root.of; ++i) {
      if (i * i == root.of) return i;
    }
    return absl::NotFoundError("it has none");
  }
  // A promise is the duty to answer, once. You may keep it, move it, and use it on any thread.
  void On(Coffee, sluice::Promise<std::string> cup) {
    if (++cups_ == 1) {
      first_ = std::move(cup);  // Never answered here: the promise answers when this actor ends.
    } else {
      cup.Resolve("black");
    }
  }

 private:
  int cups_ = 0;
  sluice::Promise<std::string> first_;
};

class Guest : public sluice::Actor {
 public:
  Guest(sluice::Ref<Waiter> waiter, std::latch* done) : waiter_(waiter), done_(*done) {}
  void OnStart() override {
    // If a question is not accepted, no answer comes: its callback does not run.
    MustBe(Ask(waiter_, Root{144}, absl::Seconds(5),
               [](absl::StatusOr<int> root) { std::printf("144: %d\n", root.value_or(-1)); }));
    MustBe(Ask(waiter_, Root{7}, absl::Seconds(5), [](absl::StatusOr<int> root) {
      std::printf("7: %s\n", root.status().ToString().c_str());
    }));
    // The callback runs exactly once, here at the deadline.
    MustBe(Ask(waiter_, Coffee{}, absl::Milliseconds(10), [this](absl::StatusOr<std::string> cup) {
      std::printf("coffee: %s\n", cup.status().ToString().c_str());
      AskAgain();
    }));
  }

 private:
  void AskAgain() {
    MustBe(Ask(waiter_, Coffee{}, absl::Seconds(5), [this](absl::StatusOr<std::string> cup) {
      std::printf("coffee: %s\n", cup.value_or("none").c_str());
      done_.count_down();
    }));
  }
  void MustBe(sluice::Answer accepted) {
    if (accepted == sluice::Answer::kAccepted) return;
    std::printf("nobody to ask\n");
    done_.count_down();
  }
  const sluice::Ref<Waiter> waiter_;
  std::latch& done_;
};

int main() {
  std::latch done(1);
  sluice::Runtime runtime{sluice::Options()};
  runtime.Spawn<Guest>(runtime.Spawn<Waiter>(), &done);
  if (!runtime.Start().ok()) return 1;
  done.wait();
  runtime.Drain(absl::Seconds(5));
}
