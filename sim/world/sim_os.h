// SimOs is one machine of a simulation: the system as a program on it sees it. It answers as Linux
// does, surprises included; docs/testing.md lists what it covers, and what it does not.
//
// Owner:  the Simulation.
// Thread: the simulation's threads, of which one runs at a time.
// Bound:  descriptors_max.
// Errors: -errno, as Os has it. A call on a descriptor that is not open breaks law L10 (handles).
#ifndef SLUICE_SIM_WORLD_SIM_OS_H_
#define SLUICE_SIM_WORLD_SIM_OS_H_

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/time/time.h"
#include "sluice/core/os/address.h"
#include "sluice/core/os/os.h"
#include "sluice/sim/world/file.h"
#include "sluice/sim/world/link.h"

namespace sluice::sim {

class Simulation;

class SimOs : public Os {
 public:
  SimOs(Simulation& simulation, std::string name, int number);
  ~SimOs() override;

  Simulation& simulation() { return simulation_; }
  const std::string& name() const { return name_; }
  // IPv4 and IPv6 address of the machine, with port 0: 10.0.0.N and fd00::N.
  const std::vector<std::shared_ptr<const Address>>& addresses() const { return addresses_; }

  // --- A test may change these while programs run.
  int64_t descriptors_max = 20'000;       // RLIMIT_NOFILE's soft limit.
  int64_t descriptors_hard_max = 20'000;  // The hard limit, if higher.
  bool old_kernel = false;  // Before Linux 6.15: retransmissions get up to two minutes apart.
  int64_t memory_bytes = int64_t{8} << 30;
  int processors = 2;
  void Signal(int signal);  // Sends it to the machine's program.
  // As SIGSTOP, and SIGCONT after `time`: each thread of the program stops at its next call at
  // which another thread may run, or at its start. The kernel goes on.
  void Stop(absl::Duration time);
  int64_t StoppedUntilNs() const { return stopped_until_ns_; }
  // False: no byte is sent or received, and every connection of this machine vanishes.
  void SetPlugged(bool plugged);
  bool plugged() const { return plugged_; }
  // While true, bytes of its connections do not arrive; they do once the links are whole again.
  void SetCut(bool cut);
  // The program forks: the child holds all descriptors open now, and does nothing until EndChild().
  // One child at a time.
  void Fork();
  void EndChild();
  // The next `count` calls that make a descriptor return -error.
  void RefuseDescriptors(int error, int count);
  int64_t OpenDescriptors() const { return open_; }
  // From now on at most `count` more descriptors than now can be open.
  void LimitDescriptorsToOpenAnd(int64_t count) {
    descriptors_max = open_ + kFirstDescriptor + count;
  }
  // The kernel's counts for connections of workers (not of scripts on the same machine):
  // connections that got a descriptor, and bytes that went through one.
  struct Traffic {
    int64_t opened = 0;
    int64_t closed = 0;
    int64_t bytes_sent = 0;
    int64_t bytes_received = 0;
  };
  const Traffic& traffic() const { return traffic_; }
  // Whether a thread is in PollerWait, and how it waits.
  struct WaitView {
    bool inside = false;
    bool sleeps = false;  // And nothing has woken the thread.
    int timeout_ms = 0;
  };
  WaitView WaitAt(int poller) const;

  // For the network.
  std::shared_ptr<Listener> ListenerAt(const std::string& address);
  bool HasFile(const std::string& address) const { return paths_.contains(address); }
  void RemoveFile(const std::string& address) { paths_.erase(address); }  // As rm does.

  int64_t NowNs() override;
  int64_t ThreadProcessorNs() override;
  ThreadSwitches ThreadSwitchCounts() override { return {}; }  // All time counts as work here.
  int64_t MemoryBytes() override { return memory_bytes; }
  int64_t DescriptorsMax() override { return descriptors_max; }
  void DescriptorsMaxRaise() override {
    descriptors_max = std::max(descriptors_max, descriptors_hard_max);
  }
  int ProcessorCount() override { return processors; }
  int64_t SocketMemoryBytes(int64_t sockets) override;
  int PollerCreate() override;
  int PollerAdd(int poller, int fd, uint32_t events, uint64_t data) override;
  int PollerRemove(int poller, int fd) override;
  int PollerWait(int poller, epoll_event* events, int events_max, int timeout_ms) override;
  int PollerWaitNs(int poller, epoll_event* events, int events_max, int64_t timeout_ns) override;
  int WakeCreate() override;
  int WakeSignal(int fd) override;
  int WakeClear(int fd) override;
  int SocketOpen(int family, int type) override;
  int Bind(int fd, const sockaddr* address, socklen_t size) override;
  int Listen(int fd, int backlog) override;
  int Accept(int fd, sockaddr_storage* peer, socklen_t* peer_size) override;
  int Connect(int fd, const sockaddr* address, socklen_t size) override;
  int64_t Receive(int fd, void* data, size_t size) override;
  int64_t Send(int fd, const iovec* parts, int count) override;
  int64_t SendFile(int fd, int file, int64_t offset, int64_t bytes) override;
  int64_t FileFetch(int file, int64_t offset, int64_t bytes) override;
  int FileInMemory(int file, int64_t offset, int64_t bytes) override;
  int ShutdownWrite(int fd) override;
  int ShutdownBoth(int fd) override;
  int Reset(int fd) override;
  int Close(int fd) override;
  int OptionSet(int fd, int level, int name, const void* value, socklen_t size) override;
  int OptionGet(int fd, int level, int name, void* value, socklen_t* size) override;
  int LocalAddress(int fd, sockaddr_storage* address, socklen_t* size) override;
  int PeerAddress(int fd, sockaddr_storage* address, socklen_t* size) override;
  int Resolve(const std::string& host, std::vector<sockaddr_storage>* addresses) override;
  int64_t UnacknowledgedBytes(int fd) override;
  int SpareOpen() override;
  void DescriptorsReserve(int64_t) override {}
  void StandardDescriptorsOpen() override {}  // Descriptors begin at 3 here.
  int SocketFile(const std::string& path, FileId* file) override;
  int Unlink(const std::string& path, const FileId& file) override;
  int SetFileMode(const std::string& path, int mode) override;
  std::string AbsolutePath(const std::string& path) override { return path; }
  int LockFolderOf(const std::string& path) override;
  int UnlockFolder(int fd) override;
  int ThreadStart(std::function<void()> main, ThreadId* thread) override;
  void ThreadJoin(ThreadId thread) override;
  void ThreadDetach(ThreadId thread) override;
  void Wait(std::condition_variable& condition, std::unique_lock<std::mutex>& lock) override;
  void WaitFor(std::condition_variable& condition, std::unique_lock<std::mutex>& lock,
               int64_t timeout_ns) override;
  void NotifyOne(std::condition_variable& condition) override;
  void NotifyAll(std::condition_variable& condition) override;
  int SignalOpen(const std::vector<int>& signals) override;
  int SignalRead(int fd) override;
  int SignalClose(int fd) override;
  [[noreturn]] void ExitNow(int code) override;

 private:
  // Traces a call that has ended with `result`.
  int64_t Done(std::string_view call, int fd, int64_t result, std::string_view data = {});
  void WaitUntil(std::condition_variable& condition, std::unique_lock<std::mutex>& lock,
                 int64_t deadline_ns);
  File* FileAt(int fd);
  template <class F>
  F* Find(int fd) {
    return dynamic_cast<F*>(FileAt(fd));
  }
  void LastClosed(File& file);                 // No descriptor refers to it any more.
  int Open(std::shared_ptr<File> file);        // Returns the descriptor, or -errno.
  int OpenOrFail(std::shared_ptr<File> file);  // The same, but may fail by chance.
  void Replace(int fd, std::shared_ptr<File> file);
  SocketOptions* OptionsOf(int fd);
  SocketName NameOf(int fd, int side);
  // True: all blocks of those bytes are in this machine's memory.
  bool BlocksInMemory(int file, int64_t offset, int64_t bytes);
  bool IsLocal(const Address& address) const;
  bool Taken(const Address& address) const;
  SocketName SourceFor(const Address& to);

  Simulation& simulation_;
  const std::string name_;
  std::vector<std::shared_ptr<const Address>> addresses_;
  std::vector<std::shared_ptr<File>> files_;  // By descriptor.
  std::vector<int> free_;                     // A heap: the least first, as the kernel gives them.
  static constexpr int kFirstDescriptor = 3;  // 0 to 2 are the standard ones.
  int64_t open_ = 0;
  Traffic traffic_;
  bool plugged_ = true;
  int64_t stopped_until_ns_ = 0;
  int refuse_count_ = 0;
  int refuse_error_ = 0;
  uint16_t next_port_ = 32'768;
  std::map<std::string, std::weak_ptr<File>> bound_;  // By address.
  std::map<const File*, SocketName> names_;  // Names of bound sockets; looked up by key only.
  // Files of UNIX sockets, by address; each stays until it is removed.
  struct PathFile {
    uint64_t inode;
    std::weak_ptr<File> socket;
  };
  std::map<std::string, PathFile> paths_;
  uint64_t next_inode_ = 1;
  // Blocks of files: in memory or not. By device, inode and number; looked up by key only.
  std::map<std::tuple<uint64_t, uint64_t, int64_t>, bool> blocks_;
  bool folder_locked_ = false;                 // A single folder is enough here.
  std::vector<std::shared_ptr<File>> childs_;  // Files that a forked child holds.
  // Looked up by key only.
  std::map<std::condition_variable*, std::vector<SimThread*>> conditions_;
  std::vector<std::weak_ptr<SignalFile>> signal_files_;
  int threads_started_ = 0;
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_WORLD_SIM_OS_H_
