#include "sluice/core/base/log.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/base/tsan.h"

namespace sluice::testing::log_test {
namespace {

using namespace std::string_view_literals;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

// Replaces stderr by a pipe.
class StderrPipe {
 public:
  StderrPipe() {
    LogShutdown();
    saved_ = dup(STDERR_FILENO);
    EXPECT_EQ(pipe2(ends_, O_CLOEXEC), 0);
    dup2(ends_[1], STDERR_FILENO);
  }
  ~StderrPipe() {
    if (ends_[0] >= 0) close(ends_[0]);  // Releases a thread that still waits to write.
    LogShutdown();
    SetLogLevel(LogLevel::kInfo);
    dup2(saved_, STDERR_FILENO);
    close(saved_);
    close(ends_[1]);
  }

  void CloseReader() {
    close(ends_[0]);
    ends_[0] = -1;
  }

  // All lines written so far.
  std::vector<std::string> Lines() {
    fcntl(ends_[0], F_SETFL, O_NONBLOCK);
    char block[65536];
    for (ssize_t size; (size = read(ends_[0], block, sizeof(block))) > 0;)
      text_.append(block, size);
    fcntl(ends_[0], F_SETFL, 0);
    std::vector<std::string> lines;
    for (size_t end; (end = text_.find('\n')) != text_.npos; text_.erase(0, end + 1)) {
      lines.push_back(text_.substr(0, end));
    }
    return lines;
  }

 private:
  int saved_ = -1;
  int ends_[2] = {-1, -1};
  std::string text_;
};

struct CountsItsFormatting {
  int* times;
  friend absl::FormatConvertResult<absl::FormatConversionCharSet::kString> AbslFormatConvert(
      const CountsItsFormatting& value, const absl::FormatConversionSpec&, absl::FormatSink* sink) {
    ++*value.times;
    sink->Append("formatted");
    return {true};
  }
};

TEST(Log, LineHasTimeLevelAndText) {
  StderrPipe pipe;
  LogInfo("draining 100%");
  LogError(std::string("bad"));
  LogWarn("%s: %d bytes", "127.0.0.1:80", 7);
  ASSERT_TRUE(LogFlush());
  const auto lines = pipe.Lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_THAT(lines[0], MatchesRegex("20[0-9-]+T[0-9:]+\\.[0-9][0-9][0-9]Z info    draining 100%"));
  EXPECT_THAT(lines[1], EndsWith("Z error   bad"));
  EXPECT_THAT(lines[2], EndsWith("Z warning 127.0.0.1:80: 7 bytes"));
}

TEST(Log, LevelThatIsOffBuildsNothing) {
  StderrPipe pipe;
  int times = 0;
  const CountsItsFormatting value{&times};
  EXPECT_FALSE(LogEnabled(LogLevel::kDebug));
  LogDebug("%s", value);
  LogTrace("%s", value);
  EXPECT_EQ(times, 0);
  SetLogLevel(LogLevel::kDebug);
  LogDebug("%s", value);
  LogTrace("%s", value);
  EXPECT_EQ(times, 1);
  SetLogLevel(LogLevel::kOff);
  LogError("%s", value);
  LogError("no");
  EXPECT_EQ(times, 1);
  ASSERT_TRUE(LogFlush());
  EXPECT_THAT(pipe.Lines(), ::testing::ElementsAre(EndsWith("debug   formatted")));
  EXPECT_EQ(LogLinesLost(), 0);
}

TEST(Log, EveryLevelHasItsNameAndParsesBack) {
  for (LogLevel level : {LogLevel::kTrace, LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning,
                         LogLevel::kError, LogLevel::kOff}) {
    const auto parsed = ParseLogLevel(LogLevelName(level));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, level);
  }
  for (std::string_view name : {"", "Info", "warn", "verbose", "info ", "critical"}) {
    const auto parsed = ParseLogLevel(name);
    ASSERT_FALSE(parsed.ok()) << name;
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(parsed.status().message()),
                AllOf(HasSubstr("\"" + std::string(name) + "\""),
                      HasSubstr("trace, debug, info, warning, error, off")));
  }
}

TEST(Log, OneMessageIsOneLine) {
  StderrPipe pipe;
  LogInfo("a\nb\r\x1b[2J\0\x7f\tc \xc3\xa9"sv);
  ASSERT_TRUE(LogFlush());
  EXPECT_THAT(pipe.Lines(), ::testing::ElementsAre(EndsWith("info    a?b??[2J??\tc \xc3\xa9")));
}

TEST(Log, LongLineIsCutBetweenCharacters) {
  StderrPipe pipe;
  const std::string fits(kLogLineBytesMax, 'x');
  LogInfo(fits);
  LogInfo(fits + "y");
  LogInfo(std::string(kLogLineBytesMax - 4, 'x') + "\xc3\xa9zzz");
  ASSERT_TRUE(LogFlush());
  const auto lines = pipe.Lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_THAT(lines[0], EndsWith(" " + fits));
  EXPECT_THAT(lines[1], EndsWith(" " + fits.substr(3) + "..."));
  EXPECT_THAT(lines[2], EndsWith(" " + fits.substr(4) + "..."));
}

TEST(Log, ThreadStartsAgainAfterShutdown) {
  StderrPipe pipe;
  EXPECT_TRUE(LogShutdown());
  EXPECT_TRUE(LogFlush());
  for (int i = 0; i < 3; ++i) {
    LogInfo("again");
    EXPECT_TRUE(LogShutdown());
    EXPECT_EQ(pipe.Lines().size(), 1u);
  }
}

TEST(Log, LinesOfManyThreadsStayWholeInOrder) {
  StderrPipe pipe;
  constexpr int kThreads = 4;
  constexpr int kLines = 200;  // All together less than a pipe holds.
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < kLines; ++i) {
        LogInfo("thread %d line %d", t, i);
        if (i % 50 == 0) LogFlush();
        if (i % 70 == 0) LogShutdown();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(LogFlush(absl::Seconds(30)));
  std::vector<int> next(kThreads, 0);
  for (const std::string& line : pipe.Lines()) {
    int t = -1;
    int i = -1;
    ASSERT_EQ(sscanf(line.c_str(), "%*s info thread %d line %d", &t, &i), 2) << line;
    EXPECT_EQ(i, next[t]++);
  }
  EXPECT_THAT(next, ::testing::Each(kLines));
}

// Law L6, for the log.
TEST(L6NoBlocking, FullPipeCostsOldLinesAndNobodyWaits) {
  StderrPipe pipe;
  const int64_t lost_before = LogLinesLost();
  const std::string text(1000, 'x');
  constexpr int kLines = 3 * kLogLinesMax;
  for (int i = 0; i < kLines; ++i) LogInfo("%d %s", i, text);  // A log that blocks would hang here.
  const int64_t lost = LogLinesLost() - lost_before;
  EXPECT_GE(lost, kLines - kLogLinesMax - 200);  // A pipe of 64 KiB takes some 60 lines.
  EXPECT_LT(lost, kLines - kLogLinesMax + 1);
  EXPECT_FALSE(LogFlush(absl::Milliseconds(20)));
  EXPECT_FALSE(LogShutdown(absl::Milliseconds(20)));

  // The reader comes back: the waiting lines are written, and the gap is shown at its place.
  std::vector<std::string> lines;
  while (!LogFlush(absl::Milliseconds(1))) {
    for (std::string& line : pipe.Lines()) lines.push_back(std::move(line));
  }
  for (std::string& line : pipe.Lines()) lines.push_back(std::move(line));
  EXPECT_EQ(LogLinesLost() - lost_before, lost);
  int64_t next = 0;
  int64_t told_lost = 0;
  for (const std::string& line : lines) {
    long long number = -1;
    if (sscanf(line.c_str(), "%*s warning log: %lld lines lost here", &number) == 1) {
      told_lost += number;
      next += number;
    } else {
      ASSERT_EQ(sscanf(line.c_str(), "%*s info %lld x", &number), 1) << line;
      ASSERT_EQ(number, next);
      ++next;
    }
  }
  EXPECT_EQ(next, kLines);  // Every line is written or reported as lost.
  EXPECT_EQ(told_lost, lost);
}

TEST(Log, LinesLostWithoutAReaderAreReportedLater) {
  const int64_t lost_before = LogLinesLost();
  {
    StderrPipe pipe;
    pipe.CloseReader();
    LogInfo("nobody reads");
    LogInfo("SIGPIPE would end us");
    ASSERT_TRUE(LogFlush());
    EXPECT_EQ(LogLinesLost() - lost_before, 2);
    EXPECT_TRUE(LogShutdown());
    EXPECT_EQ(LogLinesLost() - lost_before, 2);
  }
  StderrPipe pipe;
  LogInfo("somebody reads");
  ASSERT_TRUE(LogFlush());
  EXPECT_THAT(pipe.Lines(), ::testing::ElementsAre(HasSubstr("log: 2 lines lost here"),
                                                   EndsWith("somebody reads")));
  EXPECT_EQ(LogLinesLost() - lost_before, 2);
}

TEST(Log, NonBlockingStderrLosesNothing) {
  StderrPipe pipe;
  const int64_t lost_before = LogLinesLost();
  fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK);
  constexpr int kLines = 1000;
  for (int i = 0; i < kLines; ++i) LogInfo(std::string(1000, 'x'));
  size_t lines = 0;
  while (!LogFlush(absl::Milliseconds(1))) lines += pipe.Lines().size();
  lines += pipe.Lines().size();
  EXPECT_EQ(lines, size_t{kLines});
  EXPECT_EQ(LogLinesLost(), lost_before);
}

TEST(Log, ThreadTakesNoSignals) {
  StderrPipe pipe;
  LogInfo("the thread runs");
  ASSERT_TRUE(LogFlush());
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &usr1, &before);
  // The default action would end the process if any thread took the signal.
  kill(getpid(), SIGUSR1);
  int signal = 0;
  sigwait(&usr1, &signal);
  EXPECT_EQ(signal, SIGUSR1);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// The system call that a thread waits in, as the kernel reports it: "NUMBER ARGUMENT...",
// "running", or "" when it may not be read.
std::string WaitsIn(std::string_view thread_name) {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (name != thread_name) continue;
    std::string call;
    std::getline(std::ifstream(task.path() / "syscall"), call);
    return call;
  }
  return "no such thread";
}

// A wait with a timeout would wake an idle process again and again.
TEST(Log, ThreadWaitsForLinesWithoutATimeOut) {
  StderrPipe pipe;
  LogInfo("and then nothing");
  ASSERT_TRUE(LogFlush());
  std::string call;
  unsigned long long number = 0;
  unsigned long long timeout = 1;
  do {
    call = WaitsIn("sluice-log");
    // Just after its line the thread may still hold the lock, or wait for it.
  } while (call == "running" ||
           (sscanf(call.c_str(), "%llu %*s %*s %*s %llx", &number, &timeout) == 2 &&
            number != SYS_futex));
  EXPECT_EQ(number, SYS_futex) << call;
  EXPECT_EQ(timeout, 0u) << call;
}

#if !SLUICE_TSAN  // ThreadSanitizer allows no threads after a fork with threads.
TEST(Log, ForkedChildLogsByItselfAndExits) {
  StderrPipe pipe;
  LogInfo("parent");
  ASSERT_TRUE(LogFlush());
  const pid_t child = fork();
  if (child == 0) {
    LogInfo("child");
    std::exit(0);  // exit() writes the waiting lines.
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  const auto lines = pipe.Lines();  // LeakSanitizer adds a line about the parent's thread.
  EXPECT_THAT(lines, ::testing::Contains(EndsWith("info    parent")).Times(1));
  EXPECT_THAT(lines, ::testing::Contains(EndsWith("info    child")).Times(1));
}
#endif

TEST(LogDeathTest, ExitWritesWhatWaits) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        for (int i = 0; i < 100; ++i) LogInfo("line %d", i);
        std::exit(0);
      },
      ::testing::ExitedWithCode(0), "line 99\n");
}

TEST(LogDeathTest, ExitWaitsASecondForAnUnreadPipe) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EXIT(
      {
        int ends[2];
        if (pipe(ends) != 0 || dup2(ends[1], STDERR_FILENO) < 0) std::_Exit(2);
        for (int i = 0; i < 1000; ++i) LogInfo(std::string(1000, 'x'));
        std::exit(0);
      },
      ::testing::ExitedWithCode(0), "");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

}  // namespace
}  // namespace sluice::testing::log_test
