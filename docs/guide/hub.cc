#include <cstdio>
#include <latch>
#include <string>
#include <string_view>

#include "sluice/protocols/line_session.h"
#include "sluice/sluice.h"

// Serves: each connection receives the news until it leaves.
class Listener : public sluice::LineSession {
 public:
  Listener(sluice::Ref<sluice::Hub> news, std::latch* joined)
      : LineSession(100), news_(news), joined_(*joined) {}
  void OnOpen() override {
    sluice::SubscribeOptions options;
    // A slow reader loses the oldest messages, and a notice says how many.
    options.slow = sluice::SlowPolicy::kDropOldest;
    if (Send(news_, sluice::Subscribe(this, options, "welcome\n")) != sluice::Answer::kAccepted) {
      Abort();  // The hub has ended.
    }
  }
  void On(sluice::Subscribed subscribed) {
    if (!subscribed.Joined()) return Abort();  // No memory, or the hub has ended meanwhile.
    joined_.count_down();
  }
  void OnLine(std::string_view) override {}

 private:
  const sluice::Ref<sluice::Hub> news_;
  std::latch& joined_;
};

struct Announce {
  const char* text;
};
class Editor : public sluice::Actor {
 public:
  explicit Editor(sluice::Ref<sluice::Hub> news) : news_(news) {}
  void On(Announce announce) {
    // All subscribers share one block of bytes, charged to the memory budget once.
    auto bytes = sluice::Bytes::Copy(announce.text, runtime().budget());
    if (!bytes || Send(news_, sluice::Publish{*bytes, {}}) != sluice::Answer::kAccepted) {
      std::printf("not published\n");
    }
  }

 private:
  const sluice::Ref<sluice::Hub> news_;
};

class Reader : public sluice::LineSession {
 public:
  explicit Reader(std::latch* done) : LineSession(100), done_(*done) {}
  void OnLine(std::string_view line) override {
    heard_ += std::string(line) + ", ";
    if (line == "good night") Close();
  }
  void OnClose(sluice::CloseReason) override {
    std::printf("%sgone\n", heard_.c_str());
    done_.count_down();
  }

 private:
  std::string heard_;
  std::latch& done_;
};

int main() {
  constexpr int kReaders = 3;
  std::latch joined(kReaders);
  std::latch done(kReaders);
  sluice::Runtime runtime{sluice::Options()};
  sluice::HubOptions options;
  options.missed_notice = [](int64_t missed) { return std::to_string(missed) + " missed\n"; };
  const auto news = runtime.Spawn<sluice::Hub>(options);
  const auto editor = runtime.Spawn<Editor>(news);
  runtime.Listen<Listener>("127.0.0.1:0", news, &joined);
  if (!runtime.Start().ok()) return 1;
  const std::string address = runtime.Listening().front();
  for (int i = 0; i < kReaders; ++i) {
    if (!sluice::Connect<Reader>(runtime, address, absl::Seconds(5), &done).ok()) return 1;
  }
  joined.wait();
  for (const char* text : {"it rains\n", "it is dry\n", "good night\n"}) {
    if (editor.TrySend(Announce{text}) != sluice::Answer::kAccepted) return 1;
  }
  done.wait();
  runtime.Drain(absl::Seconds(5));
  const sluice::HubTotals totals = sluice::HubLedger::Of(runtime);
  std::printf("due %d, received %d, missed %d\n", static_cast<int>(totals.due),
              static_cast<int>(totals.received), static_cast<int>(totals.missed));
}
