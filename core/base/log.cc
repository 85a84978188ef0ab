#include "sluice/core/base/log.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/base/strings.h"
#include "spdlog/pattern_formatter.h"

namespace sluice {
namespace {

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

struct Line {
  spdlog::log_clock::time_point time;
  LogLevel level;
  std::string text;
};
static_assert(sizeof(Line) <= 64, "kLogBytesMax counts 64 a line");

// Waiting lines, and the thread that writes them. Not spdlog's thread pool: its thread looks for
// lines every 10 s, but a process at rest must not wake. Guarded by g_mutex, except the formatter.
struct Queue {
  std::condition_variable came;  // A line, or the order to end: wakes the thread.
  std::condition_variable left;  // A line was written or lost.
  std::deque<Line> lines;        // The latest of those logged.
  std::thread thread;            // Joinable while it runs; each new one is another `round`.
  int64_t round = 0;
  int64_t logged = 0;   // Lines so far, numbered from 1 on.
  int64_t writing = 0;  // The number of the line that is being written; 0: none.
  int64_t lost = 0;
  int64_t lost_told = 0;
  spdlog::pattern_formatter formatter{"%Y-%m-%dT%H:%M:%S.%eZ %-7l %v",  // The thread's.
                                      spdlog::pattern_time_type::utc};
  Queue* older = nullptr;  // Next of g_parents_queue.

  // Are the line of that number and all lines before it written or lost?
  bool Left(int64_t number) const {
    return number <= logged - static_cast<int64_t>(lines.size()) &&
           (writing == 0 || writing > number);
  }
};

// Pointers without destructors: a static destructor may still log a line safely.
std::mutex g_mutex;                // Held to append, take or count; never while stderr is written.
Queue* g_queue = nullptr;          // Guarded by g_mutex; made by the first line, never freed.
Queue* g_parents_queue = nullptr;  // Never used; reachable, so no leak to report.
int64_t g_lost_without_queue = 0;  // Guarded by g_mutex: no memory for a queue.

// Writes a whole line to stderr, with one call if stderr takes it at once. Not through stdio: a
// stuck write would hold stdio's lock against every other user of stderr, SLUICE_CHECK included.
bool WriteLine(spdlog::pattern_formatter& formatter, const Line& line) {
  try {
    spdlog::memory_buf_t text;
    formatter.format({line.time,
                      {},
                      {},
                      kLevels[static_cast<int>(line.level)].spdlog_level,
                      {line.text.data(), line.text.size()}},
                     text);
    const char* data = text.data();
    for (size_t rest = text.size(); rest > 0;) {
      const ssize_t written = ::write(STDERR_FILENO, data, rest);
      if (written >= 0) {
        data += written;
        rest -= static_cast<size_t>(written);
      } else if (errno == EAGAIN) {
        // Another process on the same terminal or pipe made it non-blocking.
        pollfd writable = {STDERR_FILENO, POLLOUT, 0};
        ::poll(&writable, 1, -1);
      } else if (errno != EINTR) {
        // Closed, or its reader is gone (SIGPIPE is blocked here): nobody can see the line.
        return false;
      }
    }
    return true;
  } catch (const std::exception&) {
    return false;  // No memory to format it.
  }
}

// The log's thread. Waits without a time-out, so that a process at rest stays at rest.
void WriteLines(Queue& queue, int64_t round) {
  pthread_setname_np(pthread_self(), "sluice-log");
  std::unique_lock<std::mutex> lock(g_mutex);
  while (true) {
    queue.came.wait(lock, [&] { return queue.round != round || !queue.lines.empty(); });
    if (queue.round != round) return;
    const Line line = std::move(queue.lines.front());
    queue.lines.pop_front();
    queue.writing = queue.logged - static_cast<int64_t>(queue.lines.size());
    const int64_t lost = queue.lost - queue.lost_told;
    lock.unlock();
    bool told = false;
    if (lost > 0) {  // The gap is between the previous line and this one.
      told = WriteLine(queue.formatter,
                       {line.time, LogLevel::kWarning,
                        absl::StrCat("log: ", lost, " lines lost here: stderr took no more")});
    }
    const bool written = WriteLine(queue.formatter, line);
    lock.lock();
    if (told) queue.lost_told += lost;
    if (!written) ++queue.lost;
    queue.writing = 0;
    queue.left.notify_all();
  }
}

// A forked child has a copy of the queue but no thread, and would wait for ever for that thread.
// The child leaves the queued lines to its parent and starts with a new queue.
void SurviveFork() {
  pthread_atfork([] { g_mutex.lock(); }, [] { g_mutex.unlock(); },
                 [] {
                   if (g_queue != nullptr) {
                     g_queue->older = g_parents_queue;
                     g_parents_queue = std::exchange(g_queue, nullptr);
                   }
                   g_lost_without_queue = 0;
                   g_mutex.unlock();
                 });
}

// Throws if there is no memory or no thread: this line is lost, the next line tries again.
// Requires: g_mutex is held.
Queue& RunningQueue() {
  static const bool once = [] {
    SurviveFork();
    std::atexit([] { LogShutdown(); });
    return true;
  }();
  static_cast<void>(once);
  if (g_queue == nullptr) g_queue = new Queue;
  if (g_queue->thread.joinable()) return *g_queue;
  // The new thread inherits the mask. It takes no signals, as other threads wait for them. (Faults
  // stay.)
  sigset_t blocked;
  sigset_t before;
  sigfillset(&blocked);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) {
    sigdelset(&blocked, fault);
  }
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  try {
    g_queue->thread = std::thread(WriteLines, std::ref(*g_queue), g_queue->round);
  } catch (const std::exception&) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return *g_queue;
}

std::chrono::steady_clock::time_point DeadlineOf(absl::Duration timeout) {
  return std::chrono::steady_clock::now() +
         absl::ToChronoNanoseconds(std::clamp(timeout, absl::ZeroDuration(), absl::Hours(1)));
}

// Waits until the lines logged so far are written or lost. False: the deadline came first.
bool FlushUntil(std::unique_lock<std::mutex>& lock,
                std::chrono::steady_clock::time_point deadline) {
  if (g_queue == nullptr) return true;
  Queue& queue = *g_queue;
  return queue.left.wait_until(lock, deadline,
                               [&, last = queue.logged] { return queue.Left(last); });
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
  try {
    Line line{spdlog::log_clock::now(), level, OneLine(text)};
    const std::lock_guard<std::mutex> lock(g_mutex);
    Queue& queue = RunningQueue();
    queue.lines.push_back(std::move(line));
    ++queue.logged;
    if (queue.lines.size() > size_t{kLogLinesMax}) {
      queue.lines.pop_front();
      ++queue.lost;
      queue.left.notify_all();
    }
    queue.came.notify_one();
  } catch (const std::exception&) {
    const std::lock_guard<std::mutex> lock(g_mutex);
    ++(g_queue == nullptr ? g_lost_without_queue : g_queue->lost);
  }
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
  return g_lost_without_queue + (g_queue == nullptr ? 0 : g_queue->lost);
}

bool LogFlush(absl::Duration timeout) {
  std::unique_lock<std::mutex> lock(g_mutex);
  return FlushUntil(lock, DeadlineOf(timeout));
}

bool LogShutdown(absl::Duration timeout) {
  const auto deadline = DeadlineOf(timeout);
  std::thread ended;
  {
    std::unique_lock<std::mutex> lock(g_mutex);
    do {
      if (!FlushUntil(lock, deadline)) return false;
      if (g_queue == nullptr) return true;
    } while (!g_queue->Left(g_queue->logged));  // Other threads logged meanwhile.
    ++g_queue->round;
    g_queue->came.notify_all();
    ended = std::move(g_queue->thread);
  }
  if (ended.joinable()) ended.join();  // The thread has nothing to write: no wait.
  return true;
}

}  // namespace sluice
