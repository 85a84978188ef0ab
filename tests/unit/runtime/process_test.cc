// Tests of process-wide state: signals, the standard descriptors, exit(). Each test runs in a
// process of its own, as it changes this state.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/os/os.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::process_test {
namespace {

class ProcessState : public ::testing::Test {
 protected:
  ProcessState() { ::testing::GTEST_FLAG(death_test_style) = "threadsafe"; }
};

// --- Signals.

// Sends the process a signal once `runtimes` runtimes run: then all of them listen for it.
std::atomic<int> running_count{0};

class SendsSignal : public Actor {
 public:
  explicit SendsSignal(int runtimes, int signal = SIGTERM) : runtimes_(runtimes), signal_(signal) {}
  void OnStart() override {
    ++running_count;
    Look();
  }

 private:
  void Look() {
    // A runtime that was started before it waits for signals runs, but is not notified of them yet.
    struct sigaction now;
    sigaction(signal_, nullptr, &now);
    if (running_count < runtimes_ || now.sa_handler == SIG_DFL) {
      After(absl::Milliseconds(1), [this] { Look(); });
      return;
    }
    kill(getpid(), signal_);
  }
  const int runtimes_;
  const int signal_;
};

class Counts : public Actor {
 public:
  void OnStart() override { ++running_count; }
};

int RunAndSignal(int signal = SIGTERM) {
  running_count = 0;
  Runtime runtime(SmallOptions(2));
  runtime.Spawn<SendsSignal>(1, signal);
  return runtime.RunUntilSignal();
}

// The dump is printed although the drain begins before the workers have answered.
class AsksForADump : public Actor {
 public:
  void OnStart() override {
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGTERM);
  }
};

TEST_F(ProcessState, RequestedDumpIsPrintedDespiteADrain) {
  EXPECT_EXIT(
      {
        Runtime runtime(SmallOptions(2));
        runtime.Spawn<AsksForADump>();
        std::_Exit(runtime.RunUntilSignal());
      },
      ::testing::ExitedWithCode(0), "sluice: up(.|\n)*worker 1: (.|\n)*rates");
}

// A thread of the program that started before the runtime and takes any signal.
class Bystander {
 public:
  Bystander() : thread_([this] { ended_.wait(false); }) {}
  ~Bystander() {
    ended_ = true;
    ended_.notify_all();
    thread_.join();
  }

 private:
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

TEST_F(ProcessState, ASignalDrainsThoughAnotherThreadMayTakeIt) {
  EXPECT_EXIT(
      {
        Bystander bystander;
        std::_Exit(RunAndSignal());
      },
      ::testing::ExitedWithCode(0), "draining(.|\n)*ledger");
}

TEST_F(ProcessState, ASignalDrainsARuntimeThatWasStartedBefore) {
  EXPECT_EXIT(
      {
        Runtime runtime(SmallOptions(2));
        if (!runtime.Start().ok()) std::_Exit(3);
        runtime.Spawn<SendsSignal>(1);
        std::_Exit(runtime.RunUntilSignal());
      },
      ::testing::ExitedWithCode(0), "draining(.|\n)*ledger");
}

TEST_F(ProcessState, SignalDrainsARuntimeInAThread) {
  EXPECT_EXIT(
      {
        int code = -1;
        std::thread([&] { code = RunAndSignal(); }).join();
        std::_Exit(code);
      },
      ::testing::ExitedWithCode(0), "draining(.|\n)*ledger");
}

TEST_F(ProcessState, OneSignalEndsEveryRuntime) {
  EXPECT_EXIT(
      {
        const auto run = [](int* code) {
          Runtime runtime(SmallOptions(1));
          runtime.Spawn<SendsSignal>(2);
          *code = runtime.RunUntilSignal();
        };
        const auto only_counts = [](int* code) {
          Runtime runtime(SmallOptions(1));
          runtime.Spawn<Counts>();
          *code = runtime.RunUntilSignal();
        };
        alarm(30);
        int first = -1;
        int second = -1;
        std::thread one(run, &first);
        std::thread other(only_counts, &second);
        one.join();
        other.join();
        std::_Exit(first + second);
      },
      ::testing::ExitedWithCode(0), "ledger(.|\n)*ledger");
}

TEST_F(ProcessState, AfterTheRunASignalEndsTheProcessAgain) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGPIPE, SIGXFSZ}) {
    EXPECT_EXIT(
        {
          ::signal(signal, SIG_DFL);  // The parent of this test may have it ignored.
          if (RunAndSignal() != 0) std::_Exit(3);
          kill(getpid(), signal);
          std::_Exit(4);
        },
        ::testing::KilledBySignal(signal), "ledger")
        << signal;
  }
}

std::atomic<int> own_signals{0};

TEST_F(ProcessState, TheProgramsOwnHandlerIsBackAfterEachRun) {
  EXPECT_EXIT(
      {
        signal(SIGTERM, [](int) { ++own_signals; });
        for (int run = 1; run <= 3; ++run) {
          if (RunAndSignal() != 0) std::_Exit(3);
          kill(getpid(), SIGTERM);
          if (own_signals != run) std::_Exit(4);
        }
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), "");
}

bool MainThreadSleeps() {
  std::string number, name, state;
  std::ifstream("/proc/self/task/" + std::to_string(getpid()) + "/stat") >> number >> name >> state;
  return state == "S";
}

// The program may reload its configuration on SIGHUP.
TEST_F(ProcessState, HangUpHandlerOfTheProgramStays) {
  EXPECT_EXIT(
      {
        own_signals = 0;
        signal(SIGHUP, [](int) {
          if (++own_signals == 1) kill(getpid(), SIGTERM);
        });
        if (RunAndSignal(SIGHUP) != 0) std::_Exit(3);
        std::_Exit(own_signals == 1 ? 0 : 4);
      },
      ::testing::ExitedWithCode(0), "ledger");
}

TEST_F(ProcessState, HangUpReachesTheThreadThatAwaitsIt) {
  EXPECT_EXIT(
      {
        alarm(30);
        sigset_t hang_up;
        sigemptyset(&hang_up);
        sigaddset(&hang_up, SIGHUP);
        pthread_sigmask(SIG_BLOCK, &hang_up, nullptr);
        std::thread reloads([&] {
          while (running_count == 0) std::this_thread::yield();
          int signal = 0;
          kill(getpid(), SIGHUP);
          sigwait(&hang_up, &signal);
          own_signals = signal;
          // TSan puts a handler off until its thread makes a blocking call, and drops it when the
          // thread ends. So the main thread takes the signal, and waits already.
          while (!MainThreadSleeps()) std::this_thread::yield();
          syscall(SYS_tgkill, getpid(), getpid(), SIGTERM);
        });
        Runtime runtime(SmallOptions(1));
        runtime.Spawn<Counts>();
        const int code = runtime.RunUntilSignal();
        reloads.join();
        std::_Exit(code == 0 && own_signals == SIGHUP ? 0 : 4);
      },
      ::testing::ExitedWithCode(0), "ledger");
}

TEST_F(ProcessState, ASignalDrainsThoughTheParentHadBlockedIt) {
  EXPECT_EXIT(
      {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, nullptr);
        alarm(30);
        Bystander bystander;
        const int code = RunAndSignal();
        sigset_t now;
        pthread_sigmask(SIG_BLOCK, nullptr, &now);
        std::_Exit(code + (sigismember(&now, SIGTERM) == 1 ? 0 : 5));
      },
      ::testing::ExitedWithCode(0), "ledger");
}

// Waits for a child and returns its wait status.
int StatusOf(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

// Starts children in a handler: an executed program and a forked child take signals as if there
// were no runtime.
class StartsChildren : public Actor {
 public:
  explicit StartsChildren(int* wrong) : wrong_(*wrong) {}
  void OnStart() override {
    for (const char* command :
         {"kill -TERM $$; exit 7", "kill -INT $$; exit 7", "kill -PIPE $$; exit 7",
          "kill -USR1 $$; exit 7", "kill -HUP $$; exit 7"}) {
      const pid_t child = fork();
      if (child == 0) {
        execl("/bin/sh", "sh", "-c", command, nullptr);
        _exit(8);
      }
      wrong_ += !WIFSIGNALED(StatusOf(child));
    }
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGPIPE}) {
      const pid_t child = fork();
      if (child == 0) {
        kill(getpid(), signal);
        _exit(7);
      }
      const int status = StatusOf(child);
      wrong_ += 100 * (!WIFSIGNALED(status) || WTERMSIG(status) != signal);
    }
    kill(getpid(), SIGTERM);
  }

 private:
  int& wrong_;
};

TEST_F(ProcessState, StartedProgramsAndForkedChildrenTakeSignalsAsBefore) {
  EXPECT_EXIT(
      {
        int wrong = 0;
        Runtime runtime(SmallOptions(1));
        runtime.Spawn<StartsChildren>(&wrong);
        runtime.RunUntilSignal();
        std::_Exit(wrong);
      },
      ::testing::ExitedWithCode(0), "");
}

// A closed pipe and a file at its limit are errors of a call, not the end of the process. The
// handler runs on a worker.
class WritesInVain : public Actor {
 public:
  void OnStart() override {
    int ends[2];
    if (pipe(ends) < 0) std::_Exit(3);
    close(ends[0]);
    if (write(ends[1], "x", 1) >= 0 || errno != EPIPE) std::_Exit(4);
    kill(getpid(), SIGTERM);
  }
};

TEST_F(ProcessState, AClosedPipeEndsNoProcessThatRuns) {
  EXPECT_EXIT(
      {
        Bystander bystander;
        Runtime runtime(SmallOptions(1));
        runtime.Spawn<WritesInVain>();
        std::_Exit(runtime.RunUntilSignal());
      },
      ::testing::ExitedWithCode(0), "");
}

// --- Descriptors 0 to 2.

bool IsNoFileOfOurs(int fd) {
  struct stat file;
  struct stat null;
  return fstat(fd, &file) == 0 && stat("/dev/null", &null) == 0 && file.st_rdev == null.st_rdev &&
         S_ISCHR(file.st_mode) && (fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0;
}

TEST_F(ProcessState, ClosedStandardDescriptorsBecomeNoSocket) {
  EXPECT_EXIT(
      {
        for (const int fd : {0, 1, 2}) close(fd);
        Runtime runtime(SmallOptions(2));
        for (const int fd : {0, 1, 2}) {
          if (!IsNoFileOfOurs(fd)) std::_Exit(10 + fd);
        }
        // A write fails, as it did before.
        if (write(1, "x", 1) >= 0) std::_Exit(4);
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST_F(ProcessState, StandardDescriptorsThatAreOpenStayAsTheyAre) {
  EXPECT_EXIT(
      {
        close(1);
        struct stat before;
        struct stat after;
        fstat(2, &before);
        Runtime runtime(SmallOptions(1));
        fstat(2, &after);
        std::_Exit(IsNoFileOfOurs(1) && before.st_ino == after.st_ino ? 0 : 3);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST_F(ProcessState, DescriptorsClosedDuringTheRunBecomeNoSocket) {
  EXPECT_EXIT(
      {
        for (const int fd : {0, 1, 2}) close(fd);
        for (int i = 0; i < 4; ++i) {
          const int fd = i == 0   ? LinuxOs().SocketOpen(AF_INET, SOCK_STREAM)
                         : i == 1 ? LinuxOs().PollerCreate()
                         : i == 2 ? LinuxOs().WakeCreate()
                                  : LinuxOs().SpareOpen();
          if (fd <= 2 || (fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0) std::_Exit(10 + i);
        }
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), "");
}

// --- The table of descriptors.

int64_t DescriptorTableSize() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t size = 0;
    if (word == "FDSize:" && status >> size) return size;
  }
  return -1;
}

// Otherwise the kernel grows the table while threads wait, some 10 to 50 ms each time.
TEST_F(ProcessState, DescriptorTableHoldsAllConnectionsFromTheStart) {
  EXPECT_EXIT(
      {
        if (DescriptorTableSize() >= 1500) std::_Exit(2);
        Options options = SmallOptions(2);
        options.max_connections = 1500;
        Runtime runtime(options);
        std::_Exit(DescriptorTableSize() >= 1500 ? 0 : 3);
      },
      ::testing::ExitedWithCode(0), "");
}

// --- The end of the process from inside a handler.

struct Order {};

class Exits : public Actor {
 public:
  void On(Order) { std::exit(3); }
};

// A static object that other workers may use: its destructor must not run.
struct EndsTheTest {
  ~EndsTheTest() { std::_Exit(9); }
};

TEST_F(ProcessState, ExitInHandlerKeepsCodeAndNamesHandler) {
  EXPECT_EXIT(
      {
        static EndsTheTest used_by_others;
        static Runtime runtime(SmallOptions(2));
        const Ref<Exits> exits = runtime.Spawn<Exits>();
        (void)exits.TrySend(Order{});
        runtime.RunUntilSignal();
      },
      ::testing::ExitedWithCode(3), "exit\\(3\\) in On\\(.*Order\\) of .*Exits#[0-9]+");
}

// A blocking function that waits for a line holds the lock of stdin.
class ReadsALine : public Actor {
 public:
  void OnStart() override {
    const Answer asked = RunBlocking(
        [] {
          kill(getpid(), SIGTERM);
          (void)std::fgetc(stdin);
        },
        [](absl::Status) {});
    if (asked != Answer::kAccepted) std::_Exit(5);
  }
};

TEST_F(ProcessState, BlockingReadOfALineDelaysNoEnd) {
  EXPECT_EXIT(
      {
        int ends[2];
        if (pipe(ends) < 0 || dup2(ends[0], 0) < 0) std::_Exit(3);
        alarm(30);
        Options options = SmallOptions(1);
        options.drain_timeout = absl::Milliseconds(10);
        Runtime runtime(options);
        runtime.Spawn<ReadsALine>();
        runtime.RunUntilSignal();
      },
      ::testing::ExitedWithCode(0), "has not returned");
}

class DrainsItself : public Actor {
 public:
  void On(Order) { runtime().Drain(absl::Milliseconds(10)); }
};

TEST_F(ProcessState, DrainInAHandlerDiesAndNamesIt) {
  EXPECT_DEATH(
      {
        Runtime runtime(SmallOptions(2));
        const Ref<DrainsItself> drains = runtime.Spawn<DrainsItself>();
        (void)drains.TrySend(Order{});
        runtime.RunUntilSignal();
      },
      "Drain\\(\\) in On\\(.*Order\\) of .*DrainsItself#[0-9]+");
}

class DestroysIt : public Actor {
 public:
  explicit DestroysIt(std::unique_ptr<Runtime>* its) : its_(*its) {}
  void On(Order) { its_.reset(); }

 private:
  std::unique_ptr<Runtime>& its_;
};

TEST_F(ProcessState, RuntimeDestroyedInHandlerDiesAndNamesIt) {
  EXPECT_DEATH(
      {
        auto runtime = std::make_unique<Runtime>(SmallOptions(1));
        const Ref<DestroysIt> destroys = runtime->Spawn<DestroysIt>(&runtime);
        (void)destroys.TrySend(Order{});
        runtime->RunUntilSignal();
      },
      "~Runtime\\(\\) in On\\(.*Order\\) of .*DestroysIt#[0-9]+");
}

}  // namespace
}  // namespace sluice::testing::process_test
