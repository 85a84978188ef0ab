#include "sluice/core/log.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/strings.h"
#include "spdlog/async_logger.h"
#include "spdlog/details/null_mutex.h"
#include "spdlog/details/thread_pool.h"
#include "spdlog/pattern_formatter.h"
#include "spdlog/sinks/base_sink.h"

namespace sluice {
namespace {

using ThreadPool = spdlog::details::thread_pool;

static_assert(sizeof(spdlog::details::async_msg) <= 512, "kLogBytesMax counts 512 a line");

struct LevelNames {
  LogLevel level;
  std::string_view name;
  spdlog::level::level_enum spdlog_level;
};
constexpr LevelNames kLevels[] = {
    {LogLevel::kTrace, "trace", spdlog::level::trace},
    {LogLevel::kDebug, "debug", spdlog::level::debug},
    {LogLevel::kInfo, "info", spdlog::level::info},
    {LogLevel::kWarning, "warning", spdlog::level::warn},
    {LogLevel::kError, "error", spdlog::level::err},
    {LogLevel::kOff, "off", spdlog::level::off},
};

// Writes whole lines to stderr, each with one call, and counts them. Not spdlog's own stderr sink:
// that one goes through stdio, whose lock a stuck write would hold against every other user of
// stderr, SLUICE_CHECK included.
//
// Thread: log() the log's own; the rest any.
class StderrSink : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  StderrSink() {
    set_formatter(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %-7l %v",
                                                              spdlog::pattern_time_type::utc));
  }

  // Set once, before the first line. `pool` outlives the lines.
  void CountOverrunsOf(ThreadPool* pool) { pool_ = pool; }

  // A line that spdlog itself could not handle.
  void CountBroken() { Left(/*lost=*/true); }

  int64_t LinesLost() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return lost_ + Overrun();
  }

  // Waits until `lines` lines have been written or lost, the oldest first.
  bool WaitUntilLeft(int64_t lines, std::chrono::steady_clock::time_point deadline) {
    std::unique_lock<std::mutex> lock(mutex_);
    return left_.wait_until(lock, deadline, [&] { return LeftCount() >= lines; });
  }

  bool HaveLeft(int64_t lines) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return LeftCount() >= lines;
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& msg) override {
    // Lines were lost while the one before waited to be written, so the gap is here.
    if (const int64_t lost = LinesLost(); lost > reported_lost_) {
      const std::string text =
          absl::StrCat("log: ", lost - reported_lost_, " lines lost here: stderr took no more");
      if (Write({msg.time, {}, {}, spdlog::level::warn, {text.data(), text.size()}})) {
        reported_lost_ = lost;
      }
    }
    Left(!Write(msg));
  }

  void flush_() override {}

 private:
  bool Write(const spdlog::details::log_msg& msg) {
    line_.clear();
    formatter_->format(msg, line_);
    const char* data = line_.data();
    size_t left = line_.size();
    while (left > 0) {
      const ssize_t written = ::write(STDERR_FILENO, data, left);
      if (written >= 0) {
        data += written;
        left -= static_cast<size_t>(written);
      } else if (errno == EAGAIN) {
        // Somebody who shares the terminal or pipe made it non-blocking.
        pollfd writable = {STDERR_FILENO, POLLOUT, 0};
        ::poll(&writable, 1, -1);
      } else if (errno != EINTR) {
        return false;  // Closed, or its reader is gone (SIGPIPE is blocked here): nobody sees it.
      }
    }
    return true;
  }

  void Left(bool lost) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ++(lost ? lost_ : written_);
    }
    left_.notify_all();
  }

  int64_t LeftCount() const { return written_ + lost_ + Overrun(); }  // Requires: mutex_ is held.
  int64_t Overrun() const { return pool_ ? static_cast<int64_t>(pool_->overrun_counter()) : 0; }

  spdlog::memory_buf_t line_;  // The log thread's.
  int64_t reported_lost_ = 0;  // The log thread's.
  ThreadPool* pool_ = nullptr;

  std::mutex mutex_;              // Guards what is below.
  std::condition_variable left_;  // A line was written or lost.
  int64_t written_ = 0;
  int64_t lost_ = 0;  // Without those that were overrun in the queue.
};

// What exists while the log's thread runs. Freed only when every line has left it: the thread is
// then idle, and joining it waits for nothing.
struct Backend {
  Backend()
      : sink(std::make_shared<StderrSink>()),
        pool(std::make_shared<ThreadPool>(size_t{kLogLinesMax}, 1)),
        logger(std::make_shared<spdlog::async_logger>(
            "sluice", sink, pool, spdlog::async_overflow_policy::overrun_oldest)) {
    sink->CountOverrunsOf(pool.get());
    logger->set_level(spdlog::level::trace);  // LogEnabled has decided.
    logger->flush_on(spdlog::level::off);
    // spdlog's own handler prints to stderr, in the thread that logs: it could wait.
    logger->set_error_handler([sink = sink.get()](const std::string&) { sink->CountBroken(); });
  }
  ~Backend() { pool.reset(); }  // Joins.

  std::shared_ptr<StderrSink> sink;
  std::shared_ptr<ThreadPool> pool;
  std::shared_ptr<spdlog::async_logger> logger;
  int64_t lines_sent = 0;    // Guarded by g_mutex.
  Backend* older = nullptr;  // Next of g_parents_backend.
};

// Trivially destructible, so that a line logged by some static destructor still is safe.
std::mutex g_mutex;            // Held to append to the queue, to start and to end the thread.
Backend* g_backend = nullptr;  // Guarded by g_mutex; null while no thread runs.
Backend* g_parents_backend = nullptr;  // Never used or freed; reachable, so no leak to report.
int64_t g_lines_lost_before = 0;       // Guarded by g_mutex. Of former backends, or without any.

// A forked child has a copy of the queue and no thread. It leaves those lines to its parent and
// starts anew: it would wait for ever for a thread that is not there.
void SurviveFork() {
  pthread_atfork([] { g_mutex.lock(); }, [] { g_mutex.unlock(); },
                 [] {
                   if (g_backend != nullptr) {
                     g_backend->older = g_parents_backend;
                     g_parents_backend = std::exchange(g_backend, nullptr);
                   }
                   g_lines_lost_before = 0;
                   g_mutex.unlock();
                 });
}

// Requires: g_mutex is held, g_backend is null.
void Start() {
  static const bool once = [] {
    SurviveFork();
    std::atexit([] { LogShutdown(); });
    return true;
  }();
  static_cast<void>(once);
  // The new thread inherits the mask: signals are for those who wait for them. (Faults stay.)
  sigset_t blocked;
  sigset_t before;
  sigfillset(&blocked);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) {
    sigdelset(&blocked, fault);
  }
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  try {
    g_backend = new Backend;
  } catch (const std::exception&) {
    // No memory or no thread to be had: this line is lost, the next one tries again.
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

std::chrono::steady_clock::time_point DeadlineOf(absl::Duration timeout) {
  return std::chrono::steady_clock::now() +
         absl::ToChronoNanoseconds(std::clamp(timeout, absl::ZeroDuration(), absl::Hours(1)));
}

// Waits until the lines sent so far are written or lost.
bool FlushUntil(std::chrono::steady_clock::time_point deadline) {
  std::shared_ptr<StderrSink> sink;
  std::shared_ptr<ThreadPool> pool;  // The sink asks it, and LogShutdown may end the backend.
  int64_t lines = 0;
  {
    const std::lock_guard<std::mutex> lock(g_mutex);
    if (g_backend == nullptr) return true;
    sink = g_backend->sink;
    pool = g_backend->pool;
    lines = g_backend->lines_sent;
  }
  return sink->WaitUntilLeft(lines, deadline);
}

// `text` as one line within the bound.
std::string OneLine(std::string_view text) {
  constexpr std::string_view kCut = "...";
  std::string line;
  if (text.size() <= kLogLineBytesMax) {
    line = text;
  } else {
    size_t end = kLogLineBytesMax - kCut.size();
    while (end > 0 && (text[end] & 0xc0) == 0x80) --end;  // Not in the midst of a character.
    line.reserve(kLogLineBytesMax);
    line.append(text.substr(0, end)).append(kCut);
  }
  for (char& c : line) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t') || byte == 0x7f) c = '?';
  }
  return line;
}

}  // namespace

namespace internal {

void LogWrite(LogLevel level, std::string_view text) {
  const std::string line = OneLine(text);
  const std::lock_guard<std::mutex> lock(g_mutex);
  if (g_backend == nullptr) Start();
  if (g_backend == nullptr) {
    ++g_lines_lost_before;
    return;
  }
  ++g_backend->lines_sent;
  g_backend->logger->log(kLevels[static_cast<int>(level)].spdlog_level,
                         spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace internal

absl::StatusOr<LogLevel> ParseLogLevel(std::string_view name) {
  for (const LevelNames& level : kLevels) {
    if (level.name == name) return level.level;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("log level \"", absl::Utf8SafeCHexEscape(ToAbsl(name.substr(0, 40))),
                   "\" is not one of: trace, debug, info, warning, error, off"));
}

std::string_view LogLevelName(LogLevel level) { return kLevels[static_cast<int>(level)].name; }

int64_t LogLinesLost() {
  const std::lock_guard<std::mutex> lock(g_mutex);
  return g_lines_lost_before + (g_backend == nullptr ? 0 : g_backend->sink->LinesLost());
}

bool LogFlush(absl::Duration timeout) { return FlushUntil(DeadlineOf(timeout)); }

bool LogShutdown(absl::Duration timeout) {
  const auto deadline = DeadlineOf(timeout);
  while (FlushUntil(deadline)) {
    std::unique_ptr<Backend> ended;  // Joins its thread after the lock is free again.
    const std::lock_guard<std::mutex> lock(g_mutex);
    if (g_backend == nullptr) return true;
    if (g_backend->sink->HaveLeft(g_backend->lines_sent)) {
      g_lines_lost_before += g_backend->sink->LinesLost();
      ended.reset(std::exchange(g_backend, nullptr));
      return true;
    }
    // Other threads logged meanwhile.
  }
  return false;
}

}  // namespace sluice
