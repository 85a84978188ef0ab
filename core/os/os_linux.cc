#include "sluice/core/os/os_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "sluice/core/os/os.h"
#include "sluice/core/os/signal_readers.h"

namespace sluice {
namespace {

// -errno for the kernel's -1.
template <typename Result>
Result ErrnoAsValue(Result result) {
  return result < 0 ? static_cast<Result>(-errno) : result;
}

// For calls that a signal interrupts before they have done anything.
template <typename Call>
auto RetryOnSignal(Call call) {
  auto result = ErrnoAsValue(call());
  while (result == -EINTR) result = ErrnoAsValue(call());
  return result;
}

// A new descriptor, but none of 0 to 2: a program that has closed those still writes there, and its
// lines would go into a connection.
int AboveStandard(int fd) {
  if (fd < 0) return -errno;
  if (fd > STDERR_FILENO) [[likely]]
    return fd;
  const int above = ErrnoAsValue(fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  close(fd);
  return above;
}

// The number in a limit's file; INT64_MAX for "max" (v2), or if there is no such file.
int64_t LimitInFile(const std::string& path) {
  std::ifstream file(path);
  int64_t bytes = 0;
  // v1 writes "no limit" as a number near INT64_MAX, which is as good.
  return file >> bytes && bytes >= 0 ? bytes : INT64_MAX;
}

// The least limit on the way from `group` up to the mount. In a container the group may have the
// host's name and not exist here; then the limit is at the mount itself.
int64_t LeastLimitUpwards(const std::string& mount, std::string group, const char* file) {
  int64_t least = INT64_MAX;
  while (true) {
    least = std::min(least, LimitInFile(mount + group + "/" + file));
    const size_t slash = group.rfind('/');
    if (slash == std::string::npos) return least;
    group.resize(slash);
  }
}

// The last of the three numbers in net.ipv4's tcp_*mem: minimum, default, maximum.
int64_t ThirdNumberInFile(const std::string& path, int64_t otherwise) {
  std::ifstream file(path);
  int64_t minimum, usual, maximum;
  return file >> minimum >> usual >> maximum && maximum > 0 ? maximum : otherwise;
}

// The most memory that the kernel itself can use for this process: a socket's buffers are no part
// of the process's address space.
int64_t KernelMemoryBytes() {
  const int64_t machine = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  return std::min(machine, CgroupMemoryBytes("/proc/self/cgroup", "/sys/fs/cgroup"));
}

// INT64_MAX: none.
int64_t SoftLimit(int resource) {
  rlimit limit;
  if (getrlimit(resource, &limit) < 0) return INT64_MAX;  // POSIX and Linux: never.
  return static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, INT64_MAX));
}

int64_t SaturatingProduct(int64_t a, int64_t b) {
  int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

// recv and send are cancellation points: in a program with threads, glibc changes the thread's
// state by a locked instruction before and after each. For that reason alone Receive and Send use
// syscall().
class LinuxOsImpl final : public Os {
 public:
  int64_t NowNs() override {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
  }

  int64_t ThreadProcessorNs() override {
    timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return used.tv_sec * int64_t{1'000'000'000} + used.tv_nsec;
  }

  int Processor() override { return sched_getcpu(); }

  ThreadSwitches ThreadSwitchCounts() override {
    rusage used;
    if (getrusage(RUSAGE_THREAD, &used) < 0) return {};  // Linux: never.
    return {used.ru_nvcsw, used.ru_nivcsw};
  }

  int64_t MemoryBytes() override {
    return std::min({KernelMemoryBytes(), SoftLimit(RLIMIT_AS), SoftLimit(RLIMIT_DATA)});
  }

  int64_t DescriptorsMax() override { return SoftLimit(RLIMIT_NOFILE); }

  void DescriptorsMaxRaise() override {
    rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    limit.rlim_cur = limit.rlim_max;
    // If a filter forbids it, the limit stays, and DescriptorsMax() answers that limit.
    setrlimit(RLIMIT_NOFILE, &limit);
  }

  int ProcessorCount() override {
    // The set must be as large as the kernel's own; EINVAL: too small.
    for (int processors_max = 1024; processors_max <= 1 << 20; processors_max *= 2) {
      cpu_set_t* set = CPU_ALLOC(processors_max);
      if (set == nullptr) break;
      const size_t size = CPU_ALLOC_SIZE(processors_max);
      const int result = ErrnoAsValue(sched_getaffinity(0, size, set));
      const int count = result < 0 ? 0 : CPU_COUNT_S(size, set);
      CPU_FREE(set);
      if (count > 0) return count;
      if (result != -EINVAL) break;
    }
    return std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
  }

  int64_t SocketMemoryBytes(int64_t sockets) override {
    return std::min(TcpMemoryBytes("/proc/sys/net/ipv4", sockets), KernelMemoryBytes());
  }

  int PollerCreate() override { return AboveStandard(epoll_create1(EPOLL_CLOEXEC)); }

  int PollerAdd(int poller, int fd, uint32_t events, uint64_t data) override {
    epoll_event event{};
    event.events = events;
    event.data.u64 = data;
    return ErrnoAsValue(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event));
  }

  int PollerRemove(int poller, int fd) override {
    epoll_event unused{};
    return ErrnoAsValue(epoll_ctl(poller, EPOLL_CTL_DEL, fd, &unused));
  }

  int PollerWait(int poller, epoll_event* events, int events_max, int timeout_ms) override {
    // Not glibc's function: as a point of thread cancellation that costs more than it does.
    const auto count = ErrnoAsValue(static_cast<int>(syscall(
        SYS_epoll_pwait, poller, events, events_max, timeout_ms, nullptr, sizeof(sigset_t))));
    // Not retried: the time-out would start again, and the caller reads the clock anyway.
    return count == -EINTR ? 0 : count;
  }

  int PollerWaitNs(int poller, epoll_event* events, int events_max, int64_t timeout_ns) override {
    if (timeout_ns > 0 && !no_exact_wait_.load(std::memory_order_relaxed)) {
      const timespec timeout{static_cast<time_t>(timeout_ns / 1'000'000'000),
                             static_cast<long>(timeout_ns % 1'000'000'000)};
      const int count = ErrnoAsValue(static_cast<int>(
          syscall(SYS_epoll_pwait2, poller, events, events_max, &timeout, nullptr, size_t{0})));
      if (count != -ENOSYS && count != -EPERM) return count == -EINTR ? 0 : count;
      no_exact_wait_.store(true, std::memory_order_relaxed);
    }
    return Os::PollerWaitNs(poller, events, events_max, timeout_ns);
  }

  int WakeCreate() override { return AboveStandard(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }

  int WakeSignal(int fd) override {
    const uint64_t one = 1;
    const ssize_t result = RetryOnSignal([&] { return write(fd, &one, sizeof one); });
    return result < 0 && result != -EAGAIN ? static_cast<int>(result) : 0;
  }

  int WakeClear(int fd) override {
    uint64_t count = 0;
    const ssize_t result = RetryOnSignal([&] { return read(fd, &count, sizeof count); });
    return result < 0 && result != -EAGAIN ? static_cast<int>(result) : 0;
  }

  int SocketOpen(int family, int type) override {
    return AboveStandard(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  }

  int Bind(int fd, const sockaddr* address, socklen_t size) override {
    return ErrnoAsValue(bind(fd, address, size));
  }

  int Listen(int fd, int backlog) override { return ErrnoAsValue(listen(fd, backlog)); }

  int Accept(int fd, sockaddr_storage* peer, socklen_t* peer_size) override {
    const int accepted = RetryOnSignal([&] {
      *peer_size = sizeof *peer;
      return accept4(fd, reinterpret_cast<sockaddr*>(peer), peer_size,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    });
    return accepted < 0 ? accepted : AboveStandard(accepted);
  }

  int Connect(int fd, const sockaddr* address, socklen_t size) override {
    const int result = ErrnoAsValue(connect(fd, address, size));
    // An interrupted connect goes on by itself; a second call would answer EALREADY.
    return result == -EINTR ? -EINPROGRESS : result;
  }

  int64_t Receive(int fd, void* data, size_t size) override {
    return RetryOnSignal(
        [&] { return syscall(SYS_recvfrom, fd, data, size, 0, nullptr, nullptr); });
  }

  int64_t Send(int fd, const iovec* parts, int count) override {
    if (count == 1) {  // Cheaper than sendmsg: no header and parts to copy in.
      return RetryOnSignal([&] {
        return syscall(SYS_sendto, fd, parts[0].iov_base, parts[0].iov_len, MSG_NOSIGNAL, nullptr,
                       0);
      });
    }
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts);  // The kernel only reads it.
    // More parts would be EMSGSIZE; a partial send is normal here.
    message.msg_iovlen = std::min(count, IOV_MAX);
    return RetryOnSignal([&] { return sendmsg(fd, &message, MSG_NOSIGNAL); });
  }

  // sendfile() has no MSG_NOSIGNAL: the signal is blocked, and one that the call has raised is
  // taken back.
  int64_t SendFile(int fd, int file, int64_t offset, int64_t bytes) override {
    sigset_t pipe, before;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    const int64_t sent = RetryOnSignal([&] {
      off_t at = offset;
      return sendfile(fd, file, &at, static_cast<size_t>(bytes));
    });
    // Not at -EPIPE alone: a call that has sent a part before the error answers that part.
    if (sent != bytes && sigismember(&before, SIGPIPE) == 0) {
      const timespec now{};
      sigtimedwait(&pipe, nullptr, &now);
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return sent;
  }

  // Looks at a byte of every kLookBytes, and at the last one. The kernel reads a file, and drops
  // it, in larger pieces than pages, so what lies between is nearly always there, too.
  int FileInMemory(int file, int64_t offset, int64_t bytes) override {
    constexpr int64_t kLookBytes = 128 * 1024;
    for (int64_t look = 0;; look = std::min(look + kLookBytes, bytes - 1)) {
      char byte;
      const iovec part{&byte, 1};
      const int64_t result =
          RetryOnSignal([&] { return preadv2(file, &part, 1, offset + look, RWF_NOWAIT); });
      if (result == 1 && look == bytes - 1) return 1;
      if (result == 1) continue;
      // -EAGAIN: not in memory. Another error: a file system or a filter without such looks; if the
      // file is at fault, FileFetch answers the same.
      return result == 0 && look == 0 ? -ENODATA : 0;
    }
  }

  int64_t FileFetch(int file, int64_t offset, int64_t bytes) override {
    // All of it is asked for at once: the kernel's own read-ahead follows the reads of one reader,
    // and sessions that share a file are many.
    (void)posix_fadvise(file, offset, bytes, POSIX_FADV_WILLNEED);
    char page[16 * 1024];
    int64_t fetched = 0;
    while (fetched < bytes) {
      const size_t piece = static_cast<size_t>(std::min<int64_t>(bytes - fetched, sizeof page));
      const int64_t result =
          RetryOnSignal([&] { return pread(file, page, piece, offset + fetched); });
      if (result < 0) return fetched > 0 ? fetched : result;
      if (result == 0) break;
      fetched += result;
    }
    return fetched;
  }

  int ShutdownWrite(int fd) override { return ErrnoAsValue(shutdown(fd, SHUT_WR)); }

  int ShutdownBoth(int fd) override { return ErrnoAsValue(shutdown(fd, SHUT_RDWR)); }

  // connect(2): AF_UNSPEC dissolves the association. TCP does so as close() with SO_LINGER at 0,
  // even if another process holds a descriptor.
  int Reset(int fd) override {
    sockaddr nobody{};
    nobody.sa_family = AF_UNSPEC;
    const int result = ErrnoAsValue(connect(fd, &nobody, sizeof nobody));
    if (result == 0) return 0;
    const linger at_once{1, 0};  // If a filter forbids the connect: reset at the last close().
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    return result;
  }

  int Close(int fd) override {
    const int result = ErrnoAsValue(close(fd));
    // Never retried: Linux has freed the number already, and another thread may hold it by now.
    return result == -EINTR ? 0 : result;
  }

  int OptionSet(int fd, int level, int name, const void* value, socklen_t size) override {
    return ErrnoAsValue(setsockopt(fd, level, name, value, size));
  }

  int OptionGet(int fd, int level, int name, void* value, socklen_t* size) override {
    return ErrnoAsValue(getsockopt(fd, level, name, value, size));
  }

  int LocalAddress(int fd, sockaddr_storage* address, socklen_t* size) override {
    *size = sizeof *address;
    return ErrnoAsValue(getsockname(fd, reinterpret_cast<sockaddr*>(address), size));
  }

  int PeerAddress(int fd, sockaddr_storage* address, socklen_t* size) override {
    *size = sizeof *address;
    const int got = ErrnoAsValue(getpeername(fd, reinterpret_cast<sockaddr*>(address), size));
    if (got != -ENOTCONN) return got;
    // The socket was reset, or was never connected. SO_PEERNAME still knows the peer; it wants the
    // exact size.
    for (const socklen_t exact : {sizeof(sockaddr_in6), sizeof(sockaddr_in)}) {
      *size = exact;
      if (getsockopt(fd, SOL_SOCKET, SO_PEERNAME, address, size) == 0) return 0;
    }
    return got;
  }

  // Asks the machine's own sources, in its own order: hosts, DNS (RFC 6724).
  int Resolve(const std::string& host, std::vector<sockaddr_storage>* addresses) override {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;  // Otherwise each address comes once per socket type.
    addrinfo* first = nullptr;
    const int error = getaddrinfo(host.c_str(), nullptr, &hints, &first);
    if (error == EAI_SYSTEM) return -errno;
    if (error == EAI_AGAIN) return -EAGAIN;
    if (error == EAI_MEMORY) return -ENOMEM;
    if (error != 0) return error == EAI_FAIL ? -EIO : -ENOENT;
    for (const addrinfo* one = first; one != nullptr; one = one->ai_next) {
      if (one->ai_family != AF_INET && one->ai_family != AF_INET6) continue;
      std::memcpy(&addresses->emplace_back(), one->ai_addr, one->ai_addrlen);
    }
    freeaddrinfo(first);
    return 0;
  }

  // Not /dev/null: a chroot may have none.
  int SpareOpen() override { return AboveStandard(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }

  void DescriptorsReserve(int64_t count) override {
    const int any = SpareOpen();
    if (any < 0) return;
    const int highest = static_cast<int>(std::min(count, DescriptorsMax())) - 1;
    // If memory is short, the table grows later, step by step.
    if (const int fd = fcntl(any, F_DUPFD_CLOEXEC, highest); fd >= 0) close(fd);
    close(any);
  }

  void StandardDescriptorsOpen() override {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
      // Opened in the opposite direction, so that a read of 0 or a write to 1 or 2 fails. No
      // O_CLOEXEC: programs that this one starts inherit the descriptors.
      int opened = open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
      if (opened < 0) opened = open("/", O_PATH);  // A chroot may have no /dev.
      if (opened > STDERR_FILENO) close(opened);   // Another thread was faster.
    }
  }

  int64_t UnacknowledgedBytes(int fd) override {
    int bytes = 0;
    const int result = ErrnoAsValue(ioctl(fd, SIOCOUTQ, &bytes));
    return result < 0 ? result : bytes;
  }

  int SocketFile(const std::string& path, FileId* file) override {
    struct stat found;
    if (const int result = ErrnoAsValue(lstat(path.c_str(), &found)); result < 0) return result;
    if (!S_ISSOCK(found.st_mode)) return -ENOTSOCK;
    *file = {found.st_dev, found.st_ino};
    return 0;
  }

  int Unlink(const std::string& path, const FileId& file) override {
    FileId found;
    if (const int result = SocketFile(path, &found); result < 0) return result;
    return found == file ? ErrnoAsValue(unlink(path.c_str())) : -ESTALE;
  }

  int SetFileMode(const std::string& path, int mode) override {
    return ErrnoAsValue(chmod(path.c_str(), static_cast<mode_t>(mode)));
  }

  std::string AbsolutePath(const std::string& path) override {
    if (path.empty() || path[0] == '/') return path;
    const std::unique_ptr<char, decltype(&free)> folder(getcwd(nullptr, 0), &free);
    // If the folder has no name any more, no other path is better.
    return folder == nullptr ? path : std::string(folder.get()) + "/" + path;
  }

  int LockFolderOf(const std::string& path) override {
    const size_t slash = path.rfind('/');
    const std::string folder = slash == std::string::npos ? "."
                               : slash == 0               ? "/"
                                                          : path.substr(0, slash);
    const int fd = AboveStandard(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0) return fd;
    const int locked = RetryOnSignal([&] { return flock(fd, LOCK_EX | LOCK_NB); });
    if (locked == 0) return fd;
    close(fd);
    return locked;
  }

  int UnlockFolder(int fd) override {
    flock(fd, LOCK_UN);
    return Close(fd);
  }

  int SignalOpen(const std::vector<int>& signals) override {
    return internal::OpenSignalReader(signals);
  }

  int SignalRead(int fd) override { return internal::ReadSignal(fd); }

  int SignalClose(int fd) override { return internal::CloseSignalReader(fd); }

  int ThreadStart(std::function<void()> main, ThreadId* thread) override {
    try {
      auto started = std::make_unique<std::thread>(std::move(main));
      *thread = reinterpret_cast<ThreadId>(started.release());
      return 0;
    } catch (const std::system_error& error) {
      return error.code().value() > 0 ? -error.code().value() : -EAGAIN;
    } catch (const std::bad_alloc&) {
      return -ENOMEM;
    }
  }

  void ThreadJoin(ThreadId thread) override { Take(thread)->join(); }

  void ThreadDetach(ThreadId thread) override { Take(thread)->detach(); }

  void Wait(std::condition_variable& condition, std::unique_lock<std::mutex>& lock) override {
    condition.wait(lock);
  }

  void WaitFor(std::condition_variable& condition, std::unique_lock<std::mutex>& lock,
               int64_t timeout_ns) override {
    condition.wait_for(lock, std::chrono::nanoseconds(timeout_ns));
  }

  void NotifyOne(std::condition_variable& condition) override { condition.notify_one(); }

  void NotifyAll(std::condition_variable& condition) override { condition.notify_all(); }

  [[noreturn]] void ExitNow(int code) override { _exit(code); }

 private:
  // Set by the first thread that finds no epoll_pwait2. Relaxed: no other data hangs on it, and it
  // does no harm if several threads find out.
  std::atomic<bool> no_exact_wait_{false};
  static std::unique_ptr<std::thread> Take(ThreadId thread) {
    return std::unique_ptr<std::thread>(reinterpret_cast<std::thread*>(thread));
  }
};

}  // namespace

int64_t CgroupMemoryBytes(const std::string& self_cgroup, const std::string& mount) {
  int64_t least = INT64_MAX;
  std::ifstream file(self_cgroup);
  // A line is HIERARCHY:CONTROLLERS:GROUP. v2 has hierarchy 0 and names no controllers.
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    std::string group = line.substr(second + 1);
    if (group == "/") group.clear();
    if (controllers == ",,") {
      least = std::min(least, LeastLimitUpwards(mount, group, "memory.max"));
      // If systemd runs v1 and v2 side by side, v2 is mounted one folder deeper.
      least = std::min(least, LeastLimitUpwards(mount + "/unified", group, "memory.max"));
    } else if (controllers.find(",memory,") != std::string::npos) {
      least = std::min(least, LeastLimitUpwards(mount + "/memory", group, "memory.limit_in_bytes"));
    }
  }
  return least;
}

int64_t TcpMemoryBytes(const std::string& sysctl, int64_t sockets) {
  // The defaults if a file cannot be read: Linux's values for a machine with enough memory.
  const int64_t receive = ThirdNumberInFile(sysctl + "/tcp_rmem", 6 * 1024 * 1024);
  const int64_t send = ThirdNumberInFile(sysctl + "/tcp_wmem", 4 * 1024 * 1024);
  // Pages, for the whole machine: a container's own network namespace does not show the file.
  const int64_t pages = ThirdNumberInFile(sysctl + "/tcp_mem", INT64_MAX);
  // Each socket's own limits, and the kernel's limit for all sockets together (tcp(7)).
  return std::min(SaturatingProduct(receive + send, sockets),
                  SaturatingProduct(pages, sysconf(_SC_PAGESIZE)));
}

Os& LinuxOs() {
  static LinuxOsImpl& os =
      *new LinuxOsImpl;  // Never destroyed: descriptors of statics may outlive main.
  return os;
}

}  // namespace sluice
