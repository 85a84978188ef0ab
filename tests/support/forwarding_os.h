// ForwardingOs forwards every call to LinuxOs(). A test double overrides the few calls that it
// needs.
#ifndef SLUICE_TESTS_SUPPORT_FORWARDING_OS_H_
#define SLUICE_TESTS_SUPPORT_FORWARDING_OS_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "sluice/core/os/os.h"

namespace sluice::testing {

class ForwardingOs : public Os {
 public:
  int64_t NowNs() override { return to_.NowNs(); }
  int64_t ThreadProcessorNs() override { return to_.ThreadProcessorNs(); }
  ThreadSwitches ThreadSwitchCounts() override { return to_.ThreadSwitchCounts(); }
  int64_t MemoryBytes() override { return to_.MemoryBytes(); }
  int64_t DescriptorsMax() override { return to_.DescriptorsMax(); }
  void DescriptorsMaxRaise() override { to_.DescriptorsMaxRaise(); }
  int ProcessorCount() override { return to_.ProcessorCount(); }
  int64_t SocketMemoryBytes(int64_t sockets) override { return to_.SocketMemoryBytes(sockets); }
  int PollerCreate() override { return to_.PollerCreate(); }
  int PollerAdd(int poller, int fd, uint32_t events, uint64_t data) override {
    return to_.PollerAdd(poller, fd, events, data);
  }
  int PollerRemove(int poller, int fd) override { return to_.PollerRemove(poller, fd); }
  int PollerWait(int poller, epoll_event* events, int events_max, int timeout_ms) override {
    return to_.PollerWait(poller, events, events_max, timeout_ms);
  }
  int WakeCreate() override { return to_.WakeCreate(); }
  int WakeSignal(int fd) override { return to_.WakeSignal(fd); }
  int WakeClear(int fd) override { return to_.WakeClear(fd); }
  int SocketOpen(int family, int type) override { return to_.SocketOpen(family, type); }
  int Bind(int fd, const sockaddr* address, socklen_t size) override {
    return to_.Bind(fd, address, size);
  }
  int Listen(int fd, int backlog) override { return to_.Listen(fd, backlog); }
  int Accept(int fd, sockaddr_storage* peer, socklen_t* peer_size) override {
    return to_.Accept(fd, peer, peer_size);
  }
  int Connect(int fd, const sockaddr* address, socklen_t size) override {
    return to_.Connect(fd, address, size);
  }
  int64_t Receive(int fd, void* data, size_t size) override { return to_.Receive(fd, data, size); }
  int64_t Send(int fd, const iovec* parts, int count) override {
    return to_.Send(fd, parts, count);
  }
  int64_t SendFile(int fd, int file, int64_t offset, int64_t bytes) override {
    return to_.SendFile(fd, file, offset, bytes);
  }
  int FileInMemory(int file, int64_t offset, int64_t bytes) override {
    return to_.FileInMemory(file, offset, bytes);
  }
  int64_t FileFetch(int file, int64_t offset, int64_t bytes) override {
    return to_.FileFetch(file, offset, bytes);
  }
  int ShutdownWrite(int fd) override { return to_.ShutdownWrite(fd); }
  int ShutdownBoth(int fd) override { return to_.ShutdownBoth(fd); }
  int Reset(int fd) override { return to_.Reset(fd); }
  int Close(int fd) override { return to_.Close(fd); }
  int OptionSet(int fd, int level, int name, const void* value, socklen_t size) override {
    return to_.OptionSet(fd, level, name, value, size);
  }
  int OptionGet(int fd, int level, int name, void* value, socklen_t* size) override {
    return to_.OptionGet(fd, level, name, value, size);
  }
  int LocalAddress(int fd, sockaddr_storage* address, socklen_t* size) override {
    return to_.LocalAddress(fd, address, size);
  }
  int PeerAddress(int fd, sockaddr_storage* address, socklen_t* size) override {
    return to_.PeerAddress(fd, address, size);
  }
  int Resolve(const std::string& host, std::vector<sockaddr_storage>* addresses) override {
    return to_.Resolve(host, addresses);
  }
  int64_t UnacknowledgedBytes(int fd) override { return to_.UnacknowledgedBytes(fd); }
  int SpareOpen() override { return to_.SpareOpen(); }
  void DescriptorsReserve(int64_t count) override { to_.DescriptorsReserve(count); }
  void StandardDescriptorsOpen() override { to_.StandardDescriptorsOpen(); }
  int SocketFile(const std::string& path, FileId* file) override {
    return to_.SocketFile(path, file);
  }
  int Unlink(const std::string& path, const FileId& file) override {
    return to_.Unlink(path, file);
  }
  int SetFileMode(const std::string& path, int mode) override {
    return to_.SetFileMode(path, mode);
  }
  std::string AbsolutePath(const std::string& path) override { return to_.AbsolutePath(path); }
  int LockFolderOf(const std::string& path) override { return to_.LockFolderOf(path); }
  int UnlockFolder(int fd) override { return to_.UnlockFolder(fd); }
  int ThreadStart(std::function<void()> main, ThreadId* thread) override {
    return to_.ThreadStart(std::move(main), thread);
  }
  void ThreadJoin(ThreadId thread) override { to_.ThreadJoin(thread); }
  void ThreadDetach(ThreadId thread) override { to_.ThreadDetach(thread); }
  void Wait(std::condition_variable& condition, std::unique_lock<std::mutex>& lock) override {
    to_.Wait(condition, lock);
  }
  void WaitFor(std::condition_variable& condition, std::unique_lock<std::mutex>& lock,
               int64_t timeout_ns) override {
    to_.WaitFor(condition, lock, timeout_ns);
  }
  void NotifyOne(std::condition_variable& condition) override { to_.NotifyOne(condition); }
  void NotifyAll(std::condition_variable& condition) override { to_.NotifyAll(condition); }
  int SignalOpen(const std::vector<int>& signals) override { return to_.SignalOpen(signals); }
  int SignalRead(int fd) override { return to_.SignalRead(fd); }
  int SignalClose(int fd) override { return to_.SignalClose(fd); }
  [[noreturn]] void ExitNow(int code) override {
    to_.ExitNow(code);
    __builtin_unreachable();
  }

 private:
  Os& to_ = LinuxOs();
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_FORWARDING_OS_H_
