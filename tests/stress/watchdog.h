// Watchdog ends a process that hangs: it prints the dump and the phase, and exits with failure.
//
// Owner:  the run.
// Thread: Restart() and the destructor the run's; it has a thread of its own.
#ifndef SLUICE_TESTS_STRESS_WATCHDOG_H_
#define SLUICE_TESTS_STRESS_WATCHDOG_H_

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace sluice::stress {

class Watchdog {
 public:
  // `dump` is called on a thread of its own, and waited for at most kDumpSeconds.
  explicit Watchdog(std::function<void()> dump);
  ~Watchdog();
  void Restart(std::chrono::milliseconds time, std::string phase);

 private:
  void Run();
  [[noreturn]] void Bite();

  const std::function<void()> dump_;
  std::mutex lock_;
  std::condition_variable changed_;
  std::chrono::steady_clock::time_point deadline_ = std::chrono::steady_clock::time_point::max();
  std::string phase_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_WATCHDOG_H_
