// A client that stays connected: it subscribes by a line, prints the lines that come, and connects
// again when the connection ends, each time after a longer pause, until SIGTERM.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <random>
#include <string>
#include <string_view>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "sluice/sluice.h"

ABSL_FLAG(std::string, address, "127.0.0.1:7011", "Where the feed is.");
ABSL_FLAG(std::string, topic, "news", "The feed gets the line \"subscribe TOPIC\".");

constexpr absl::Duration kPauseMin = absl::Milliseconds(100);
constexpr absl::Duration kPauseMax = absl::Seconds(10);

struct LinesCame {};

class Feed : public sluice::Actor {
 public:
  void OnStart() override { StartTask(Stay()); }
  void On(LinesCame) { pause_ = kPauseMin; }

 private:
  sluice::Task<> Stay();

  absl::Duration pause_ = kPauseMin;
};

class Reader : public sluice::TaskSession {
 public:
  explicit Reader(sluice::Ref<Feed> feed) : feed_(feed) {}

 private:
  static size_t WholeLines(std::string_view in) { return in.rfind('\n') + 1; }
  sluice::Task<> Serve() override {
    co_await Write("subscribe " + absl::GetFlag(FLAGS_topic) + "\n");
    while (const auto lines = co_await Frame(&WholeLines)) {
      if (Send(feed_, LinesCame{}) != sluice::Answer::kAccepted) co_return;
      // Whoever reads our output may be slow: the feed waits then, and the worker does not.
      auto printing = RunBlocking([text = std::string(*lines)] {
        const bool good = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
        return good && std::fflush(stdout) == 0 ? absl::OkStatus() : absl::DataLossError("stdout");
      });
      const absl::Status printed = co_await printing;
      if (!printed.ok()) co_return;
    }
  }
  const sluice::Ref<Feed> feed_;
};

// Each client waits for another time, so that they do not all come at once when the server is back.
sluice::Task<> Feed::Stay() {
  for (std::minstd_rand random{std::random_device()()};;) {
    const auto reader = co_await sluice::Connect<Reader>(this, absl::GetFlag(FLAGS_address),
                                                         absl::Seconds(3), RefOf(this));
    if (reader.ok()) co_await EndOf(*reader);
    const absl::Duration pause = pause_ * std::uniform_real_distribution<>(0.5, 1.0)(random);
    pause_ = std::min(2 * pause_, kPauseMax);
    sluice::LogInfo("the next attempt follows in %s", absl::FormatDuration(pause));
    co_await Sleep(pause);
  }
}

int main(int argc, char** argv) {
  sluice::Options options = sluice::Options::FromFlags(argc, argv);
  options.workers = 1;
  sluice::Runtime runtime(options);
  const auto target = sluice::Target::Parse(absl::GetFlag(FLAGS_address));
  if (!target.ok()) runtime.KeepError(target.status());
  runtime.Spawn<Feed>();
  return runtime.RunUntilSignal();
}
