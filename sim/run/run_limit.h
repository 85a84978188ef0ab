// RunLimit ends the process when a run takes too much processor time: a run that never ends could
// not report its seed, and waits for nothing that could be looked at.
//
//   const RunLimit limit(60, "seed 17: ...");
//
// Owner:  the code that starts the run; one at a time in a process, as SIGPROF is the process's.
// Thread: the run's; the signal may come on any.
// Bound:  `seconds`; 0: none.
// Errors: none: it writes its text to stdout and ends the process with 1.
#ifndef SLUICE_SIM_RUN_RUN_LIMIT_H_
#define SLUICE_SIM_RUN_RUN_LIMIT_H_

#include <sys/time.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

#include "sluice/core/base/language.h"

namespace sluice::sim {

class RunLimit {
 public:
  RunLimit(int64_t seconds, std::string text) {
    if (seconds <= 0) return;
    text_ = std::move(text);
    std::fflush(stdout);
    std::signal(SIGPROF, [](int) {
      (void)!write(STDOUT_FILENO, text_.data(), text_.size());
      _exit(1);
    });
    Set(seconds);
  }
  ~RunLimit() { Set(0); }
  RunLimit(const RunLimit&) = delete;
  RunLimit& operator=(const RunLimit&) = delete;

 private:
  static void Set(int64_t seconds) {
    const itimerval timer{.it_interval = {}, .it_value = {.tv_sec = seconds, .tv_usec = 0}};
    setitimer(ITIMER_PROF, &timer, nullptr);
  }
  static inline std::string text_;  // Built in advance: a signal handler may not.
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_RUN_RUN_LIMIT_H_
