#include <cstdio>
#include <latch>
#include <string>
#include <string_view>
#include <utility>

#include "sluice/sluice.h"

// Serves: sends the news in lines of its own, numbered for this peer, until the peer says "bye".
class Reporter : public sluice::TaskSession {
 public:
  explicit Reporter(sluice::Ref<sluice::Hub> news) : news_(news) {}
  sluice::Task<> Serve() override {
    sluice::Subscription subscription(this);
    const absl::Status joined = co_await subscription.Join(news_);
    if (!joined.ok()) co_return;
    co_await Write("welcome\n");
    for (int count = 1;; ++count) {
      // The first of two waits. A drain, and the end of the peer's side, end the read.
      auto first = co_await FirstOf(subscription.Next(), Line());
      if (first.index() == 1) break;  // A line of the peer, or none any more.
      const auto& message = std::get<0>(first);
      if (!message) break;  // The hub has ended.
      std::string line = std::to_string(count) + ": " + std::string(message->payload.view());
      if (message->missed > 0) line += " (" + std::to_string(message->missed) + " missed)";
      co_await Write(line + "\n");
    }
    co_await Write("goodbye\n");
  }

 private:
  const sluice::Ref<sluice::Hub> news_;
};

struct Welcome {};

// Connects, publishes, and hears its own news come back.
class Client : public sluice::Actor {
 public:
  Client(std::string address, sluice::Ref<sluice::Hub> news, std::latch* done)
      : address_(std::move(address)), news_(news), done_(*done) {}
  void OnStart() override { StartTask(Work()); }
  void On(Welcome) {
    for (const char* text : {"it rains", "it is dry"}) {
      const auto bytes = sluice::Bytes::Copy(text, runtime().budget());
      if (!bytes || Send(news_, sluice::Publish{*bytes, {}}) != sluice::Answer::kAccepted) break;
    }
  }

 private:
  sluice::Task<> Work();

  const std::string address_;
  const sluice::Ref<sluice::Hub> news_;
  std::latch& done_;
};

// Speaks to a Reporter.
class Link : public sluice::TaskSession {
 public:
  explicit Link(sluice::Ref<Client> client) : client_(client) {}
  sluice::Task<> Serve() override {
    while (const auto line = co_await Line()) {
      std::printf("%s\n", std::string(*line).c_str());
      if (*line == "welcome" && Send(client_, Welcome{}) != sluice::Answer::kAccepted) break;
      if (line->starts_with("2:")) co_await Write("bye\n");
    }
  }

 private:
  const sluice::Ref<Client> client_;
};

sluice::Task<> Client::Work() {
  constexpr absl::Duration kTimeout = absl::Seconds(5);
  const sluice::Ref<Client> self = RefOf(this);
  const auto nobody = co_await sluice::Connect<Link>(this, "127.0.0.1:1", kTimeout, self);
  std::printf("%s\n", nobody.ok() ? "connected" : "nobody is there");
  const auto link = co_await sluice::Connect<Link>(this, address_, kTimeout, self);
  if (link.ok()) {
    co_await EndOf(*link);
    std::printf("the connection has ended\n");
  }
  done_.count_down();
}

int main() {
  sluice::Runtime runtime{sluice::Options()};
  const auto news = runtime.Spawn<sluice::Hub>();
  runtime.Listen<Reporter>("127.0.0.1:0", news);
  if (!runtime.Start().ok()) return 1;
  std::latch done(1);
  runtime.Spawn<Client>(runtime.Listening().front(), news, &done);
  done.wait();
  runtime.Drain(absl::Seconds(5));
}
