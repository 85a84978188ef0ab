#include "sluice/core/os/signal_readers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cstdint>
#include <mutex>

#include "sluice/core/os/os.h"

namespace sluice::internal {
namespace {

constexpr int kSignalMax = 64;  // A mask has a bit for each.

struct Reader {
  // Written under g_lock before `wanted` names a signal. Partner: OnSignal(), which reads it after
  // `wanted`. Relaxed: `wanted` keeps that order.
  std::atomic<int> fd{-1};
  // Written under g_lock, release; partner: OnSignal(), acquire.
  std::atomic<uint64_t> wanted{0};
  // OnSignal() adds bits (release), then wakes; ReadSignal() takes them (acquire). The wake-up is a
  // system call after the bit, so a reader that cleared the wake-up sees the bit.
  std::atomic<uint64_t> pending{0};
  // Signals that this reader unblocked in the thread that opened it. Under g_lock.
  uint64_t unblocked = 0;
};
static_assert(std::atomic<uint64_t>::is_always_lock_free, "a handler may take no lock");

// The disposition of one signal. Under g_lock; `before` is written before the handler can run.
struct Disposition {
  int readers = 0;
  bool replaced = false;
  struct sigaction before = {};
};

constinit Reader g_readers[kSignalReadersMax];
constinit std::mutex g_lock;
Disposition g_dispositions[kSignalMax + 1];
// The process that the handler takes signals for. Relaxed: only tells one process from another.
std::atomic<pid_t> g_process{0};

uint64_t BitOf(int signal) { return uint64_t{1} << (signal - 1); }

// Async-signal-safe: atomics without locks, getpid, sigaction, kill and write.
void OnSignal(int signal) {
  const int error_before = errno;
  if (getpid() != g_process.load(std::memory_order_relaxed)) {
    // A child, before it has executed its program or come out of fork(). The child has no reader,
    // and a write would wake the parent's.
    sigaction(signal, &g_dispositions[signal].before, nullptr);
    kill(getpid(), signal);
    errno = error_before;
    return;
  }
  for (Reader& reader : g_readers) {
    if ((reader.wanted.load(std::memory_order_acquire) & BitOf(signal)) == 0) continue;
    reader.pending.fetch_or(BitOf(signal), std::memory_order_release);
    const uint64_t one = 1;
    // A full counter is readable already.
    [[maybe_unused]] const ssize_t written =
        write(reader.fd.load(std::memory_order_relaxed), &one, sizeof one);
  }
  errno = error_before;
}

void Clear(const Reader& reader) {
  uint64_t count;
  while (read(reader.fd.load(std::memory_order_relaxed), &count, sizeof count) < 0 &&
         errno == EINTR) {
  }
}

// A reader asks for SIGPIPE and SIGXFSZ so that they end nothing. A program that ignores them
// already goes on doing so, and so do the programs that it starts.
bool StaysIgnored(int signal, const struct sigaction& found) {
  return (signal == SIGPIPE || signal == SIGXFSZ) && found.sa_handler == SIG_IGN;
}

int Acquire(int signal) {
  Disposition& disposition = g_dispositions[signal];
  if (disposition.readers == 0) {
    if (sigaction(signal, nullptr, &disposition.before) < 0) return -errno;
    disposition.replaced = !StaysIgnored(signal, disposition.before);
    if (disposition.replaced) {
      struct sigaction action = {};
      action.sa_handler = OnSignal;
      // SA_RESTART: the program's calls on other threads go on. SA_ONSTACK: its own signal stacks
      // are used.
      action.sa_flags = SA_RESTART | SA_ONSTACK;
      sigemptyset(&action.sa_mask);
      if (sigaction(signal, &action, nullptr) < 0) return -errno;
    }
  }
  ++disposition.readers;
  return 0;
}

void PutBack(int signal) {
  Disposition& disposition = g_dispositions[signal];
  if (!disposition.replaced) return;
  struct sigaction now = {};
  if (sigaction(signal, nullptr, &now) == 0 && now.sa_handler == OnSignal) {
    sigaction(signal, &disposition.before, nullptr);
  }
}

void ReleaseAll(uint64_t signals) {
  for (; signals != 0; signals &= signals - 1) {
    const int signal = std::countr_zero(signals) + 1;
    if (--g_dispositions[signal].readers == 0) PutBack(signal);
  }
}

// Requires: in a child; its only thread holds g_lock.
void ForgetReaders() {
  for (int signal = 1; signal <= kSignalMax; ++signal) {
    if (g_dispositions[signal].readers == 0) continue;
    PutBack(signal);
    g_dispositions[signal].readers = 0;
  }
  for (Reader& reader : g_readers) {
    reader.wanted.store(0, std::memory_order_relaxed);
    reader.pending.store(0, std::memory_order_relaxed);
    // Shared with the parent: a read or write by the child would act on the parent's eventfd.
    const int fd = reader.fd.exchange(-1, std::memory_order_relaxed);
    if (fd >= 0) close(fd);
  }
  g_process.store(getpid(), std::memory_order_relaxed);
}

// Requires: g_lock is held.
void SurviveFork() {
  static const int once = pthread_atfork([] { g_lock.lock(); }, [] { g_lock.unlock(); },
                                         [] {
                                           ForgetReaders();
                                           g_lock.unlock();
                                         });
  static_cast<void>(once);
}

Reader* ReaderOf(int fd) {
  for (Reader& reader : g_readers) {
    if (fd >= 0 && reader.fd.load(std::memory_order_relaxed) == fd) return &reader;
  }
  return nullptr;
}

// An unused reader; nullptr and -errno: none.
Reader* FreeReader(int* error) {
  *error = -EMFILE;
  for (Reader& reader : g_readers) {
    if (reader.wanted.load(std::memory_order_relaxed) != 0) continue;
    if (reader.fd.load(std::memory_order_relaxed) < 0) {
      const int fd = LinuxOs().WakeCreate();
      if (fd < 0) {
        *error = fd;
        return nullptr;
      }
      reader.fd.store(fd, std::memory_order_relaxed);
    }
    return &reader;
  }
  return nullptr;
}

// SIGHUP with a handler, ignored (nohup) or blocked, perhaps for a sigwait(), is the program's own.
// Requires: g_lock is held.
bool HangUpWouldEnd() {
  if (g_dispositions[SIGHUP].readers > 0) return true;
  struct sigaction found = {};
  sigset_t blocked;
  return sigaction(SIGHUP, nullptr, &found) == 0 && found.sa_handler == SIG_DFL &&
         pthread_sigmask(SIG_BLOCK, nullptr, &blocked) == 0 && sigismember(&blocked, SIGHUP) == 0;
}

// Changes the calling thread's mask by `signals`; answers those that were blocked before.
uint64_t ChangeMask(int how, uint64_t signals) {
  sigset_t set;
  sigset_t before;
  sigemptyset(&set);
  for (uint64_t rest = signals; rest != 0; rest &= rest - 1) {
    sigaddset(&set, std::countr_zero(rest) + 1);
  }
  if (pthread_sigmask(how, &set, &before) != 0) return 0;
  uint64_t blocked = 0;
  for (uint64_t rest = signals; rest != 0; rest &= rest - 1) {
    const int signal = std::countr_zero(rest) + 1;
    if (sigismember(&before, signal) == 1) blocked |= BitOf(signal);
  }
  return blocked;
}

}  // namespace

int OpenSignalReader(const std::vector<int>& signals) {
  uint64_t wanted = 0;
  for (const int signal : signals) {
    if (signal < 1 || signal > kSignalMax) return -EINVAL;
    wanted |= BitOf(signal);
  }
  if (wanted == 0) return -EINVAL;
  const std::lock_guard<std::mutex> lock(g_lock);
  if ((wanted & BitOf(SIGHUP)) != 0 && !HangUpWouldEnd()) wanted &= ~BitOf(SIGHUP);
  SurviveFork();
  int error = 0;
  Reader* const reader = FreeReader(&error);
  if (reader == nullptr) return error;
  reader->pending.store(0, std::memory_order_relaxed);
  Clear(*reader);
  g_process.store(getpid(), std::memory_order_relaxed);
  // Before the handler is set: otherwise a signal in between would reach no reader.
  reader->wanted.store(wanted, std::memory_order_release);
  uint64_t acquired = 0;
  for (uint64_t rest = wanted; rest != 0; rest &= rest - 1) {
    const int signal = std::countr_zero(rest) + 1;
    if (const int result = Acquire(signal); result < 0) {
      ReleaseAll(acquired);
      reader->wanted.store(0, std::memory_order_release);
      return result;
    }
    acquired |= BitOf(signal);
  }
  reader->unblocked = ChangeMask(SIG_UNBLOCK, wanted);
  return reader->fd.load(std::memory_order_relaxed);
}

int ReadSignal(int fd) {
  Reader* const reader = ReaderOf(fd);
  if (reader == nullptr) return -EBADF;
  if (reader->pending.load(std::memory_order_relaxed) == 0) Clear(*reader);
  // Check again after the clear: a signal before the clear has lost its wake-up.
  const uint64_t pending = reader->pending.load(std::memory_order_acquire);
  if (pending == 0) return -EAGAIN;
  const int signal = std::countr_zero(pending) + 1;
  reader->pending.fetch_and(~BitOf(signal), std::memory_order_relaxed);
  return signal;
}

int CloseSignalReader(int fd) {
  const std::lock_guard<std::mutex> lock(g_lock);
  Reader* const reader = ReaderOf(fd);
  if (reader == nullptr) return -EBADF;
  const uint64_t wanted = reader->wanted.load(std::memory_order_relaxed);
  // Blocked again before the disposition is restored: a signal in between waits, as it did before.
  ChangeMask(SIG_BLOCK, reader->unblocked);
  ReleaseAll(wanted);
  reader->wanted.store(0, std::memory_order_release);
  return 0;
}

}  // namespace sluice::internal
