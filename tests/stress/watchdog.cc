#include "sluice/tests/stress/watchdog.h"

#include <unistd.h>

#include <cstdio>
#include <future>
#include <memory>
#include <utility>

namespace sluice::stress {

namespace {

constexpr std::chrono::seconds kDumpMax(3);

}  // namespace

Watchdog::Watchdog(std::function<void()> dump)
    : dump_(std::move(dump)), thread_([this] { Run(); }) {}

Watchdog::~Watchdog() {
  {
    std::lock_guard<std::mutex> lock(lock_);
    over_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Watchdog::Restart(std::chrono::milliseconds time, std::string phase) {
  std::lock_guard<std::mutex> lock(lock_);
  deadline_ = std::chrono::steady_clock::now() + time;
  phase_ = std::move(phase);
  changed_.notify_one();
}

void Watchdog::Run() {
  std::unique_lock<std::mutex> lock(lock_);
  while (!over_) {
    if (std::chrono::steady_clock::now() >= deadline_) Bite();
    // Polled each 100 ms: wait_until would overflow with time_point::max().
    changed_.wait_for(lock, std::chrono::milliseconds(100));
  }
}

void Watchdog::Bite() {
  std::fprintf(stderr, "stress: it hangs: %s\n", phase_.c_str());
  auto done = std::make_shared<std::promise<void>>();
  std::future<void> told = done->get_future();
  std::thread([dump = dump_, done] {
    dump();
    done->set_value();
  }).detach();
  told.wait_for(kDumpMax);
  std::fflush(stderr);
  std::printf("broken: L5: it hangs: %s\nstress FAILED\n", phase_.c_str());
  std::fflush(stdout);
  _exit(1);
}

}  // namespace sluice::stress
