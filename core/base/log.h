// The log of the process: lines to stderr, formatted by spdlog with time (UTC), level and text. A
// thread of the log writes them, and sleeps while there is nothing to write. A worker that logs
// never waits for stderr: a full pipe without a reader costs lines, the oldest first, and they are
// counted.
//
//   LogInfo("draining");                                  // Taken as is: '%' means nothing here.
//   LogDebug("%s: read %d bytes", peer, bytes);           // Formatted only if kDebug is on.
//   if (LogEnabled(LogLevel::kDebug)) LogDebug(Walk());   // If the arguments are costly.
//
// Owner:  the process. The thread starts with the first line; LogShutdown ends it, and a later line
//         starts it again. LogShutdown also runs at exit. The thread takes no signals.
// Thread: any. Logging holds a lock only to append to the queue, never while stderr is written.
// Bound:  kLogLinesMax lines of kLogLineBytesMax wait (longer ones are cut): kLogBytesMax in all.
// Errors: none leaves here: a line that cannot be kept or written is counted. The next line that
//         gets through says how many are missing before it.
#ifndef SLUICE_CORE_BASE_LOG_H_
#define SLUICE_CORE_BASE_LOG_H_

#include <atomic>
#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "sluice/core/base/language.h"

namespace sluice {

enum class LogLevel { kTrace, kDebug, kInfo, kWarning, kError, kOff };

// trace, debug, info, warning, error or off.
absl::StatusOr<LogLevel> ParseLogLevel(std::string_view name);
std::string_view LogLevelName(LogLevel level);

inline constexpr int kLogLinesMax = 1024;
inline constexpr int kLogLineBytesMax = 1024;  // Text of one line; a cut one ends with "...".
// Bytes that the allocator takes for the queue and the line that is being written.
inline constexpr int64_t kLogBytesMax = int64_t{kLogLinesMax + 2} * (64 + kLogLineBytesMax + 32);

namespace internal {
// Relaxed: no other data hangs on it, and a line more or less around a change does no harm.
inline std::atomic<LogLevel> log_level = LogLevel::kInfo;
void LogWrite(LogLevel level, std::string_view text);
}  // namespace internal

// Lines below `level` are neither built nor counted. kInfo unless set.
inline void SetLogLevel(LogLevel level) {
  internal::log_level.store(level, std::memory_order_relaxed);
}
// Requires: level is not kOff.
inline bool LogEnabled(LogLevel level) {
  return level >= internal::log_level.load(std::memory_order_relaxed);
}

// `text` is one line: control bytes in it, which a peer may have sent, become '?'.
inline void Log(LogLevel level, std::string_view text) {
  if (LogEnabled(level)) [[unlikely]]
    internal::LogWrite(level, text);
}
// Logs at any level: for output that the user asked for (a dump). Call it line by line, as each
// line is cut at kLogLineBytesMax.
inline void LogAnyway(std::string_view text) { internal::LogWrite(LogLevel::kInfo, text); }
inline void LogTrace(std::string_view text) { Log(LogLevel::kTrace, text); }
inline void LogDebug(std::string_view text) { Log(LogLevel::kDebug, text); }
inline void LogInfo(std::string_view text) { Log(LogLevel::kInfo, text); }
inline void LogWarn(std::string_view text) { Log(LogLevel::kWarning, text); }
inline void LogError(std::string_view text) { Log(LogLevel::kError, text); }

// The same with absl::StrFormat, which is called only if the level is on.
template <typename First, typename... Rest>
void Log(LogLevel level, const absl::FormatSpec<First, Rest...>& format, const First& first,
         const Rest&... rest) {
  if (LogEnabled(level)) [[unlikely]] {
    internal::LogWrite(level, absl::StrFormat(format, first, rest...));
  }
}
template <typename First, typename... Rest>
void LogTrace(const absl::FormatSpec<First, Rest...>& format, const First& first,
              const Rest&... rest) {
  Log(LogLevel::kTrace, format, first, rest...);
}
template <typename First, typename... Rest>
void LogDebug(const absl::FormatSpec<First, Rest...>& format, const First& first,
              const Rest&... rest) {
  Log(LogLevel::kDebug, format, first, rest...);
}
template <typename First, typename... Rest>
void LogInfo(const absl::FormatSpec<First, Rest...>& format, const First& first,
             const Rest&... rest) {
  Log(LogLevel::kInfo, format, first, rest...);
}
template <typename First, typename... Rest>
void LogWarn(const absl::FormatSpec<First, Rest...>& format, const First& first,
             const Rest&... rest) {
  Log(LogLevel::kWarning, format, first, rest...);
}
template <typename First, typename... Rest>
void LogError(const absl::FormatSpec<First, Rest...>& format, const First& first,
              const Rest&... rest) {
  Log(LogLevel::kError, format, first, rest...);
}

// Lines that were logged but lost, since the process began.
int64_t LogLinesLost();

// The two functions below wait, so no handler calls them. False: `timeout` was too short.
//
// Waits until every line that this thread logged before is written or lost.
bool LogFlush(absl::Duration timeout = absl::Seconds(1));
// Flushes and ends the thread. If stderr takes nothing, the lines and the thread stay as they are
// until the process ends.
bool LogShutdown(absl::Duration timeout = absl::Seconds(1));

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_LOG_H_
