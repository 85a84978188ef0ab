// Os is every system call that the framework makes, and the clock. Behind it Linux and the
// simulation are interchangeable. Nothing outside an implementation of Os calls the kernel.
//
// Owner:  the program; outlives the Runtime that uses it.
// Thread: every method may be called from any thread; a descriptor belongs to one thread at a time.
// Bound:  none of its own; no call blocks except PollerWait, Wait, WaitFor, ThreadJoin, Resolve and
//         FileFetch, and SendFile for bytes that are not in memory.
// Errors: a negative result is -errno, a value like any other: expected, handled, counted by the
//         caller. EINTR is retried inside wherever a retry means the same.
//
// A simulation runs all threads on one, each as a fiber, and switches fibers only inside
// PollerWait, NowNs, Receive, Send, SendFile, FileFetch, Accept, Connect, Resolve, Unlink, Wait,
// WaitFor and ThreadJoin. So the framework calls none of these while it holds a mutex: another
// fiber that tried to lock it would stop them all (Wait and WaitFor release the mutex that they are
// given). A fiber that goes on must get its thread-local state back: Worker::Current(),
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

// Identifies the file behind a path, not only its name.
struct FileId {
  uint64_t device = 0;
  uint64_t inode = 0;
  friend bool operator==(const FileId&, const FileId&) = default;
};

// A thread that ThreadStart started: opaque, private to its Os.
using ThreadId = uint64_t;

// How often a thread has given up its processor.
struct ThreadSwitches {
  int64_t voluntary = 0;    // To wait: in a system call, for a lock or a page.
  int64_t involuntary = 0;  // Another thread was given the processor.
};

class Os {
 public:
  virtual ~Os() = default;

  // Monotonic time, in nanoseconds, of an arbitrary epoch. The only clock of the framework.
  virtual int64_t NowNs() = 0;
  // Processor time that the calling thread has used. A system call: some 0.5 us.
  virtual int64_t ThreadProcessorNs() = 0;

  // Switches of the calling thread. A system call: some 0.5 us.
  virtual ThreadSwitches ThreadSwitchCounts() = 0;
  // The processor that runs the calling thread, a moment old; -1: unknown.
  virtual int Processor() { return -1; }

  // The machine's resources: bytes of memory that this process may use (the least of the machine's,
  // its control group's, RLIMIT_AS and RLIMIT_DATA), RLIMIT_NOFILE's soft limit, processors that
  // this process may run on.
  virtual int64_t MemoryBytes() = 0;
  virtual int64_t DescriptorsMax() = 0;
  virtual int ProcessorCount() = 0;
  // Raises RLIMIT_NOFILE's soft limit to the hard one, as any process may.
  virtual void DescriptorsMaxRaise() = 0;
  // The most memory that the kernel takes for the buffers of `sockets` TCP sockets, never more than
  // the memory of the machine or of the control group.
  virtual int64_t SocketMemoryBytes(int64_t sockets) = 0;

  // Readiness. Edge-triggered where `events` holds EPOLLET. `timeout_ms` < 0 waits for ever, 0
  // polls. PollerWait answers the number of events, 0 at the time-out or after a signal.
  virtual int PollerCreate() = 0;
  virtual int PollerAdd(int poller, int fd, uint32_t events, uint64_t data) = 0;
  virtual int PollerRemove(int poller, int fd) = 0;
  virtual int PollerWait(int poller, epoll_event* events, int events_max, int timeout_ms) = 0;
  // The same, to the nanosecond if the system can; otherwise rounded up, as no wait ends early.
  virtual int PollerWaitNs(int poller, epoll_event* events, int events_max, int64_t timeout_ns) {
    const int64_t ms = timeout_ns / 1'000'000 + (timeout_ns % 1'000'000 > 0);
    return PollerWait(poller, events, events_max,
                      timeout_ns < 0 ? -1 : static_cast<int>(std::min<int64_t>(ms, 1 << 30)));
  }

  // A wake-up that one thread sends to another's poller (an eventfd).
  virtual int WakeCreate() = 0;
  virtual int WakeSignal(int fd) = 0;  // Never blocks: a full counter means awake already.
  virtual int WakeClear(int fd) = 0;

  // Sockets: all non-blocking and CLOEXEC. `type` is SOCK_STREAM for all that the framework opens.
  virtual int SocketOpen(int family, int type) = 0;
  virtual int Bind(int fd, const sockaddr* address, socklen_t size) = 0;
  virtual int Listen(int fd, int backlog) = 0;
  virtual int Accept(int fd, sockaddr_storage* peer, socklen_t* peer_size) = 0;
  virtual int Connect(int fd, const sockaddr* address, socklen_t size) = 0;
  virtual int64_t Receive(int fd, void* data, size_t size) = 0;
  virtual int64_t Send(int fd, const iovec* parts, int count) = 0;  // Never raises SIGPIPE.
  // Sends bytes of a file, from `offset` on, without a copy in this process; the position of the
  // file is neither used nor changed. Answers how many were taken; 0: the file ends at `offset`.
  // Waits for the disk where they are not in memory. Never raises SIGPIPE.
  virtual int64_t SendFile(int fd, int file, int64_t offset, int64_t bytes) = 0;
  virtual int ShutdownWrite(int fd) = 0;
  // Close ends a connection or a listener only with its last descriptor, and a forked child may
  // hold another. These two end it for all holders: ShutdownBoth in order (a listener accepts no
  // more), Reset a TCP connection at once, with RST.
  virtual int ShutdownBoth(int fd) = 0;
  virtual int Reset(int fd) = 0;
  virtual int Close(int fd) = 0;
  virtual int OptionSet(int fd, int level, int name, const void* value, socklen_t size) = 0;
  virtual int OptionGet(int fd, int level, int name, void* value, socklen_t* size) = 0;
  virtual int LocalAddress(int fd, sockaddr_storage* address, socklen_t* size) = 0;
  virtual int PeerAddress(int fd, sockaddr_storage* address, socklen_t* size) = 0;

  // The IPv4 and IPv6 addresses of a host, looked up by name now, the best first; their ports are
  // 0. Waits for the name servers. -ENOENT: there is no such name. -EAGAIN: no server answered.
  virtual int Resolve(const std::string& host, std::vector<sockaddr_storage>* addresses) = 0;

  // Bytes that the peer has not acknowledged yet; for a UNIX socket, that it has not read yet.
  virtual int64_t UnacknowledgedBytes(int fd) = 0;

  // Makes the process's table of descriptors hold `count`, at most DescriptorsMax(). While a
  // process has threads, each doubling of that table stops the thread that opens a descriptor for
  // some 10 to 50 ms (the kernel waits for the table's readers, expand_fdtable).
  virtual void DescriptorsReserve(int64_t count) = 0;
  // A spare descriptor without a use, to be closed when there are no more descriptors.
  virtual int SpareOpen() = 0;
  // Opens those of descriptors 0 to 2 that are closed. Otherwise a file of the program would get
  // such a number, and receive what is written to stderr. Reading 0 and writing 1 and 2 fail as
  // before.
  virtual void StandardDescriptorsOpen() = 0;

  // Regular files, for SendFile. FileInMemory answers 1 if the `bytes` bytes from `offset` on are
  // in memory, by a look at a few pages that does not wait; 0 if some are not, or the file system
  // does not say; -ENODATA if the file ends at `offset`. Requires: bytes > 0.
  virtual int FileInMemory(int file, int64_t offset, int64_t bytes) = 0;
  // Reads the bytes from the disk into memory, and waits for that. Answers how many there are; 0:
  // the file ends at `offset`. A single call: its thread may return when this Os is gone.
  virtual int64_t FileFetch(int file, int64_t offset, int64_t bytes) = 0;

  // Files of UNIX sockets. SocketFile answers which file `path` is; -ENOTSOCK: it is no socket.
  // Unlink removes the file if it is still that one; otherwise -ESTALE, and the file stays.
  virtual int SocketFile(const std::string& path, FileId* file) = 0;
  virtual int Unlink(const std::string& path, const FileId& file) = 0;
  virtual int SetFileMode(const std::string& path, int mode) = 0;
  // The path from the root: still names the same file when the process changes its folder.
  virtual std::string AbsolutePath(const std::string& path) = 0;
  // Locks the folder of `path`, and answers a descriptor for UnlockFolder, which unlocks the folder
  // even if a forked child holds that descriptor, too. -EWOULDBLOCK: another holder has the lock.
  virtual int LockFolderOf(const std::string& path) = 0;
  virtual int UnlockFolder(int fd) = 0;

  // Starts a thread that runs `main`. 0, or -EAGAIN and the like: the system has no thread to give.
  // Each thread is joined or detached once.
  virtual int ThreadStart(std::function<void()> main, ThreadId* thread) = 0;
  virtual void ThreadJoin(ThreadId thread) = 0;  // Waits until `main` has returned.
  virtual void ThreadDetach(ThreadId thread) = 0;

  // Waits for a notification, with the lock released meanwhile. May return without one, as
  // std::condition_variable may: the caller checks its condition again.
  virtual void Wait(std::condition_variable& condition, std::unique_lock<std::mutex>& lock) = 0;
  // As Wait, but for at most `timeout_ns`. Needs no descriptor.
  virtual void WaitFor(std::condition_variable& condition, std::unique_lock<std::mutex>& lock,
                       int64_t timeout_ns) = 0;
  virtual void NotifyOne(std::condition_variable& condition) = 0;
  virtual void NotifyAll(std::condition_variable& condition) = 0;

  // Signals as values. From SignalOpen to SignalClose they end nothing, on whichever thread they
  // come, and each of the process's readers receives each signal. SIGHUP is taken only if it would
  // end the process: a SIGHUP that is ignored (nohup), handled or blocked stays the program's own.
  // SignalOpen answers a descriptor; SignalRead answers the next pending signal's number, or
  // -EAGAIN. SignalClose, on the thread that opened the descriptor and instead of Close, restores
  // the state from before.
  virtual int SignalOpen(const std::vector<int>& signals) = 0;
  virtual int SignalRead(int fd) = 0;
  virtual int SignalClose(int fd) = 0;
  // Ends the process at once, without destructors: for a second signal.
  [[noreturn]] virtual void ExitNow(int code) = 0;
};

// The kernel of this machine. One object for the process, never destroyed.
Os& LinuxOs();

}  // namespace sluice

#endif  // SLUICE_CORE_OS_OS_H_
