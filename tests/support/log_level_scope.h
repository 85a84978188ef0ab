// LogLevelScope: the log has a level while it stands, and its earlier level afterwards.
#ifndef SLUICE_TESTS_SUPPORT_LOG_LEVEL_SCOPE_H_
#define SLUICE_TESTS_SUPPORT_LOG_LEVEL_SCOPE_H_

#include "sluice/core/base/log.h"

namespace sluice::testing {

class LogLevelScope {
 public:
  explicit LogLevelScope(LogLevel level) : before_(sluice::internal::log_level.load()) {
    SetLogLevel(level);
  }
  ~LogLevelScope() { SetLogLevel(before_); }
  LogLevelScope(const LogLevelScope&) = delete;
  LogLevelScope& operator=(const LogLevelScope&) = delete;

 private:
  const LogLevel before_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_LOG_LEVEL_SCOPE_H_
