#include <cstdio>
#include <fstream>
#include <latch>
#include <stdexcept>
#include <string>

#include "sluice/sluice.h"

struct Look {};

class Reader : public sluice::Actor {
 public:
  Reader(std::string path, std::latch* done) : path_(std::move(path)), done_(*done) {}
  void On(Look) {
    // The function runs on a thread of the pool. It uses copies, and touches nothing of the actor,
    // which goes on meanwhile.
    const sluice::Answer asked = RunBlocking(
        [path = path_] {
          std::ifstream file(path);
          std::string line;
          if (!std::getline(file, line)) throw std::runtime_error("cannot read " + path);
          return line;
        },
        // The callback is a handler, on the actor's own worker. An exception has become a status.
        [this](absl::StatusOr<std::string> line) {
          std::printf("%s\n", line.ok() ? "one line was read" : "there is none");
          done_.count_down();
        });
    if (asked != sluice::Answer::kAccepted) return done_.count_down();  // Too much is under way.
    std::printf("asked; the worker is free\n");
  }

 private:
  const std::string path_;
  std::latch& done_;
};

int main() {
  std::latch done(1);
  sluice::Options options;
  options.blocking_threads_max = 2;  // Started when first needed; the default is 4 threads.
  options.blocking_calls_max = 16;   // Past so many waiting calls the callers are parked.
  sluice::Runtime runtime(options);
  const sluice::Ref<Reader> reader = runtime.Spawn<Reader>("/proc/self/stat", &done);
  if (reader.TrySend(Look{}) != sluice::Answer::kAccepted) return 1;
  if (!runtime.Start().ok()) return 1;
  done.wait();
  runtime.Drain(absl::Seconds(5));
  const sluice::BlockingLedger calls = runtime.blocking().Counts();
  std::printf("submitted %d, finished %d\n", static_cast<int>(calls.submitted),
              static_cast<int>(calls.finished));
}
