// A job queue: "primes N" counts the primes below N on a thread for slow work. The result comes
// when it is there, with the number of its line: "3: 1229". A full queue says so.
#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "sluice/protocols/line_session.h"
#include "sluice/sluice.h"

constexpr int kWorkers = 2;
constexpr int kJobsMax = 16;  // That run or wait.
constexpr int64_t kPrimesMax = 3'000'000;

int64_t CountPrimes(int64_t below, const std::stop_token& stop) {
  int64_t count = 0;
  for (int64_t n = 2; n < below && !stop.stop_requested(); ++n) {
    int64_t divisor = 2;
    while (divisor * divisor <= n && n % divisor != 0) ++divisor;
    count += divisor * divisor > n;
  }
  return count;
}

struct Job {
  using Reply = int64_t;
  int64_t below;
};

class Queue : public sluice::Actor {
 public:
  sluice::Task<absl::StatusOr<int64_t>> On(Job job) {
    if (jobs_ >= kJobsMax) co_return absl::ResourceExhaustedError("the queue is full");
    ++jobs_;
    auto counting = RunBlocking([below = job.below](std::stop_token stop) {
      return CountPrimes(below, stop);  // At the end of a drain nobody waits for the rest.
    });
    const absl::StatusOr<int64_t> count = co_await counting;
    --jobs_;
    co_return count;
  }

 private:
  int jobs_ = 0;
};

class Client : public sluice::LineSession {
 public:
  explicit Client(sluice::Ref<Queue> queue) : LineSession(/*line_bytes_max=*/100), queue_(queue) {}

  void OnLine(std::string_view line) override {
    const int64_t number = ++lines_;
    absl::string_view text = sluice::ToAbsl(line);
    int64_t below = 0;
    const bool good = absl::ConsumePrefix(&text, "primes ") && absl::SimpleAtoi(text, &below);
    if (!good || below > kPrimesMax) return Say(number, "error: primes N, N at most 3000000");
    // A client that ends its side still gets its results: the connection closes after the last one.
    AskOrTell(queue_, Job{below}, absl::Minutes(5), [this, number](absl::StatusOr<int64_t> count) {
      Say(number,
          count.ok() ? absl::StrCat(*count) : absl::StrCat("error: ", count.status().message()));
    });
  }
  void OnLongLine() override { Say(++lines_, "error: the line is too long"); }

 private:
  void Say(int64_t number, const std::string& text) {
    WriteOrAbort(absl::StrCat(number, ": ", text, "\n"));
  }
  const sluice::Ref<Queue> queue_;
  int64_t lines_ = 0;
};

int main(int argc, char** argv) {
  sluice::Options options = sluice::Options::FromFlags(argc, argv);
  options.blocking_threads_max = kWorkers;
  sluice::Runtime runtime(options);
  runtime.Listen<Client>("127.0.0.1:7010", runtime.Spawn<Queue>());
  return runtime.RunUntilSignal();
}
