#include <cstdio>
#include <latch>
#include <string>
#include <utility>

#include "sluice/sluice.h"

// Dana learns of guests from Host, and hears from the guests themselves. Host tells Dana first and
// the guest afterwards, but they may live on three workers: nothing keeps the guest's greeting
// behind Host's introduction.
struct Introduce {
  int guest;
  std::string name;
  int64_t HeldBytes() const { return sluice::HeldBytes(name); }
};
struct Greeting {
  int guest;
};
// What keeps the order: the fact travels with the message that needs it.
struct GreetingWithName {
  std::string name;
  int64_t HeldBytes() const { return sluice::HeldBytes(name); }
};

class Dana : public sluice::Actor {
 public:
  explicit Dana(std::latch* done) : done_(*done) {}
  void On(Introduce guest) { known_ = std::move(guest.name); }
  void On(Greeting) {
    // known_ may be empty, though Host sent the introduction before the guest heard of Dana.
    done_.count_down();
  }
  void On(GreetingWithName greeting) {
    std::printf("hello, %s\n", greeting.name.c_str());
    done_.count_down();
  }

 private:
  std::string known_;
  std::latch& done_;
};

struct Meet {
  sluice::Ref<Dana> dana;
  std::string name;
  int64_t HeldBytes() const { return sluice::HeldBytes(name); }
};
class Guest : public sluice::Actor {
 public:
  void On(Meet meet) {
    (void)Send(meet.dana, Greeting{1});
    (void)Send(meet.dana, GreetingWithName{std::move(meet.name)});
  }
};

class Host : public sluice::Actor {
 public:
  Host(sluice::Ref<Dana> dana, sluice::Ref<Guest> guest) : dana_(dana), guest_(guest) {}
  void OnStart() override {
    (void)Send(dana_, Introduce{1, "Gus"});
    (void)Send(guest_, Meet{dana_, "Gus"});
  }

 private:
  const sluice::Ref<Dana> dana_;
  const sluice::Ref<Guest> guest_;
};

int main() {
  std::latch done(2);
  sluice::Options options;
  options.workers = 3;
  sluice::Runtime runtime(options);
  const auto dana = runtime.SpawnWith<Dana>({.name = "dana", .worker = 0}, &done);
  const auto guest = runtime.SpawnWith<Guest>({.name = "guest", .worker = 1});
  runtime.SpawnWith<Host>({.name = "host", .worker = 2}, dana, guest);
  if (!runtime.Start().ok()) return 1;
  done.wait();
  runtime.Drain(absl::Seconds(5));
}
