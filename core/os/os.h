// Os is every system call the framework makes, and the clock: the seam behind which Linux and the
// simulation are interchangeable. Nothing outside an implementation of Os calls the kernel.
//
// Owner:  the program; outlives the Runtime that uses it.
// Thread: every method may be called from any thread; a descriptor belongs to one thread at a time.
// Bound:  none of its own; no call blocks but PollerWait, Wait, WaitFor, ThreadJoin and Resolve.
// Errors: a negative result is -errno, a value like any other: expected, handled, counted by the
//         caller. EINTR is retried inside wherever a retry means the same.
//
// A simulation runs all threads on one, each as a fiber, and goes from one to another only inside
// PollerWait, NowNs, Receive, Send, Accept, Connect, Resolve, Unlink, Wait, WaitFor and ThreadJoin.
// So the framework calls none of these while it holds a mutex (Wait and WaitFor release the one
// that they are given): another fiber that asked for it would stop them all. What a thread has for
// itself, a fiber must be given back when it goes on: Worker::Current(),
// internal::ConstructionScope::current, internal::FunctionScope::current, and the exceptions that
// the C++ runtime counts as caught.
#ifndef SLUICE_CORE_OS_OS_H_
#define SLUICE_CORE_OS_OS_H_

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "sluice/core/base/language.h"

namespace sluice {

// Which file a path stands for, and not only how it is called.
struct FileId {
  uint64_t device = 0;
  uint64_t inode = 0;
  friend bool operator==(const FileId&, const FileId&) = default;
};

// A thread that ThreadStart started: opaque, and its Os's own.
using ThreadId = uint64_t;

// How often a thread has given its processor away.
struct ThreadSwitches {
  int64_t voluntary = 0;    // It waited for something: in a system call, for a lock or a page.
  int64_t involuntary = 0;  // Another thread was given its processor.
};

class Os {
 public:
  virtual ~Os() = default;

  // Monotonic time, in nanoseconds, of an arbitrary epoch. The only clock of the framework.
  virtual int64_t NowNs() = 0;
  // Processor time that the calling thread has used. A system call: some 0.5 us.
  virtual int64_t ThreadProcessorNs() = 0;

  // Of the calling thread. A system call: some 0.5 us.
  virtual ThreadSwitches ThreadSwitchCounts() = 0;

  // What the machine has: bytes of memory this process may use (the least of the machine's, its
  // control group's, RLIMIT_AS and RLIMIT_DATA), RLIMIT_NOFILE's soft limit, processors this
  // process may run on.
  virtual int64_t MemoryBytes() = 0;
  virtual int64_t DescriptorsMax() = 0;
  virtual int ProcessorCount() = 0;
  // Raises RLIMIT_NOFILE's soft limit to the hard one, as any process may.
  virtual void DescriptorsMaxRaise() = 0;
  // The most that the kernel takes for the buffers of so many TCP sockets, never more than the
  // memory of the machine or of the control group.
  virtual int64_t SocketMemoryBytes(int64_t sockets) = 0;

  // Readiness. Edge-triggered where `events` holds EPOLLET. `timeout_ms` < 0 waits for ever, 0
  // polls. PollerWait answers the number of events, 0 at the time-out or after a signal.
  virtual int PollerCreate() = 0;
  virtual int PollerAdd(int poller, int fd, uint32_t events, uint64_t data) = 0;
  virtual int PollerRemove(int poller, int fd) = 0;
  virtual int PollerWait(int poller, epoll_event* events, int events_max, int timeout_ms) = 0;
  // The same, to the nanosecond where the system can; else rounded up, as no wait ends early.
  virtual int PollerWaitNs(int poller, epoll_event* events, int events_max, int64_t timeout_ns) {
    const int64_t ms = timeout_ns / 1'000'000 + (timeout_ns % 1'000'000 > 0);
    return PollerWait(poller, events, events_max,
                      timeout_ns < 0 ? -1 : static_cast<int>(std::min<int64_t>(ms, 1 << 30)));
  }

  // A wake-up that one thread sends to another's poller (an eventfd).
  virtual int WakeCreate() = 0;
  virtual int WakeSignal(int fd) = 0;  // Never blocks: a counter that is full is awake already.
  virtual int WakeClear(int fd) = 0;

  // Sockets: all non-blocking and CLOEXEC. `type` is SOCK_STREAM for all that the framework opens.
  virtual int SocketOpen(int family, int type) = 0;
  virtual int Bind(int fd, const sockaddr* address, socklen_t size) = 0;
  virtual int Listen(int fd, int backlog) = 0;
  virtual int Accept(int fd, sockaddr_storage* peer, socklen_t* peer_size) = 0;
  virtual int Connect(int fd, const sockaddr* address, socklen_t size) = 0;
  virtual int64_t Receive(int fd, void* data, size_t size) = 0;
  virtual int64_t Send(int fd, const iovec* parts, int count) = 0;  // Never raises SIGPIPE.
  virtual int ShutdownWrite(int fd) = 0;
  // Close ends a connection, or a listener, only with the last descriptor of it, and a forked child
  // may hold one. These two end it for everybody: in order (a listener accepts no more), and a TCP
  // connection at once, with RST.
  virtual int ShutdownBoth(int fd) = 0;
  virtual int Reset(int fd) = 0;
  virtual int Close(int fd) = 0;
  virtual int OptionSet(int fd, int level, int name, const void* value, socklen_t size) = 0;
  virtual int OptionGet(int fd, int level, int name, void* value, socklen_t* size) = 0;
  virtual int LocalAddress(int fd, sockaddr_storage* address, socklen_t* size) = 0;
  virtual int PeerAddress(int fd, sockaddr_storage* address, socklen_t* size) = 0;

  // The IPv4 and IPv6 addresses of a host, by its name as of now, the best first; their ports are
  // 0. Waits for whoever knows. -ENOENT: there is no such name. -EAGAIN: nobody answered.
  virtual int Resolve(const std::string& host, std::vector<sockaddr_storage>* addresses) = 0;

  // Bytes that the peer has not acknowledged yet; for a UNIX socket, that it has not read.
  virtual int64_t UnacknowledgedBytes(int fd) = 0;

  // Makes the process's table of descriptors hold `count`, at most DescriptorsMax(). While a
  // process has threads, each doubling of that table holds the thread that opens a descriptor for
  // some 10 to 50 ms (the kernel waits for the table's readers, expand_fdtable).
  virtual void DescriptorsReserve(int64_t count) = 0;
  // A descriptor that stands for nothing, kept so that one can be freed when there are no more.
  virtual int SpareOpen() = 0;
  // Opens what is closed of descriptors 0 to 2, so that they become no file of the program's: what
  // is written to stderr would go there. Reading 0 and writing 1 and 2 fail as before.
  virtual void StandardDescriptorsOpen() = 0;

  // Files of UNIX sockets. SocketFile answers which one `path` is; -ENOTSOCK when it is anything
  // else. Unlink removes it if it still is that one; else -ESTALE, and it stays.
  virtual int SocketFile(const std::string& path, FileId* file) = 0;
  virtual int Unlink(const std::string& path, const FileId& file) = 0;
  virtual int SetFileMode(const std::string& path, int mode) = 0;
  // As seen from the root, so that it stays the same file's name when the process changes folder.
  virtual std::string AbsolutePath(const std::string& path) = 0;
  // Locks the folder of `path`, and answers a descriptor for UnlockFolder, which unlocks it even
  // where a forked child holds that descriptor, too. -EWOULDBLOCK: another one has the lock.
  virtual int LockFolderOf(const std::string& path) = 0;
  virtual int UnlockFolder(int fd) = 0;

  // Starts a thread that runs `main`; 0, or -EAGAIN and the like: the system has none to give.
  // Each is joined or detached once.
  virtual int ThreadStart(std::function<void()> main, ThreadId* thread) = 0;
  virtual void ThreadJoin(ThreadId thread) = 0;  // Waits until `main` has returned.
  virtual void ThreadDetach(ThreadId thread) = 0;

  // Waits until it is notified, with the lock released meanwhile. Now and then it returns though
  // nobody did, as std::condition_variable may: the caller looks again at what it waits for.
  virtual void Wait(std::condition_variable& condition, std::unique_lock<std::mutex>& lock) = 0;
  // As Wait, but for at most `timeout_ns`. A wait that needs no descriptor.
  virtual void WaitFor(std::condition_variable& condition, std::unique_lock<std::mutex>& lock,
                       int64_t timeout_ns) = 0;
  virtual void NotifyOne(std::condition_variable& condition) = 0;
  virtual void NotifyAll(std::condition_variable& condition) = 0;

  // Signals as values: from SignalOpen to SignalClose they end nothing, on whichever thread they
  // come, and each of the process's readers is told of each. SIGHUP is taken only where it would
  // end the process: one that is ignored (nohup), handled or blocked stays the program's own.
  // SignalOpen answers a descriptor;
  // SignalRead answers the next pending signal's number, or -EAGAIN. SignalClose, on the thread
  // that opened it and instead of Close, puts back what was there before.
  virtual int SignalOpen(const std::vector<int>& signals) = 0;
  virtual int SignalRead(int fd) = 0;
  virtual int SignalClose(int fd) = 0;
  // Ends the process at once, without destructors: the second signal's answer.
  [[noreturn]] virtual void ExitNow(int code) = 0;
};

// The kernel of this machine. One object for the process, never destroyed.
Os& LinuxOs();

}  // namespace sluice

#endif  // SLUICE_CORE_OS_OS_H_
