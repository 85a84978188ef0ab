#include <cstdio>
#include <latch>
#include <string>
#include <utility>

#include "sluice/sluice.h"

struct Get {
  using Reply = std::string;
  std::string key;
  int64_t HeldBytes() const { return sluice::HeldBytes(key); }
};

class Store : public sluice::Actor {
 public:
  // A handler that is a task: it answers when it returns. It takes its message by value.
  sluice::Task<std::string> On(Get get) {
    co_await Sleep(absl::Milliseconds(1));  // Other questions are handled meanwhile.
    co_return "value of " + get.key;
  }
};

// Serves a connection from top to bottom: "get KEY" and "both KEY KEY".
class Clerk : public sluice::TaskSession {
 public:
  explicit Clerk(sluice::Ref<Store> store) : store_(store) {}

 private:
  sluice::Task<> Serve() override {
    while (const auto line = co_await Line()) {
      if (line->starts_with("get ")) {
        co_await Answer(std::string(line->substr(4)));
      } else if (*line == "both") {
        // Two tasks at once; the group ends when both have ended.
        sluice::TaskGroup group(this);
        group.Start(Answer("left"));
        group.Start(Answer("right"));
        co_await group.Join();
      } else {
        co_await Write("what?\n");
      }
    }
    co_await Write("bye\n");  // The peer has ended its side. After Serve() the connection closes.
  }

  sluice::Task<> Answer(std::string key) {
    auto question = Ask(store_, Get{std::move(key)}, absl::Seconds(5));
    const absl::StatusOr<std::string> value = co_await question;
    co_await Write(value.value_or("none"));
    co_await Write("\n");
  }

  const sluice::Ref<Store> store_;
};

class Visitor : public sluice::TaskSession {
 public:
  explicit Visitor(std::latch* done) : done_(*done) {}
  void OnClose(sluice::CloseReason) override { done_.count_down(); }

 private:
  sluice::Task<> Serve() override {
    co_await Write("get tea\nboth\nhello\n");
    CloseWrite();
    while (const auto line = co_await Line()) {
      std::printf("%.*s\n", static_cast<int>(line->size()), line->data());
    }
  }
  std::latch& done_;
};

int main() {
  std::latch done(1);
  sluice::Runtime runtime{sluice::Options()};
  runtime.Listen<Clerk>("127.0.0.1:0", runtime.Spawn<Store>());
  if (!runtime.Start().ok()) return 1;
  const std::string address = runtime.Listening().front();
  if (!sluice::Connect<Visitor>(runtime, address, absl::Seconds(5), &done).ok()) return 1;
  done.wait();
  runtime.Drain(absl::Seconds(5));
}
