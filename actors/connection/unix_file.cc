#include "sluice/actors/connection/unix_file.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/base/plant.h"

namespace sluice {

namespace {

// A process that has the lock needs it for a few system calls.
constexpr int kLockLooksMax = 1'000;
constexpr int kLockLookMs = 1;

class FolderLock {
 public:
  FolderLock(Os& os, const std::string& path) : os_(os), fd_(os.LockFolderOf(path)) {
    if (fd_ != -EWOULDBLOCK) return;
    // Wait without a descriptor: there may be none left.
    std::mutex lock;
    std::condition_variable never;
    for (int look = 0; look < kLockLooksMax && fd_ == -EWOULDBLOCK; ++look) {
      {
        std::unique_lock<std::mutex> held(lock);
        os.WaitFor(never, held, kLockLookMs * int64_t{1'000'000});
      }
      fd_ = os.LockFolderOf(path);
    }
  }
  ~FolderLock() { Unlock(); }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  int error() const { return std::min(fd_, 0); }  // -errno; 0: it is locked.
  void Unlock() {
    if (fd_ >= 0) os_.UnlockFolder(std::exchange(fd_, -1));
  }

 private:
  Os& os_;
  int fd_;
};

// A file that an old server removes is gone at the second look. Servers that come and go all the
// time are not waited for.
constexpr int kLooksMax = 3;

// Returns -errno if there is no descriptor to look with. Otherwise returns 0, and `connected` is
// the result of a connect: -ECONNREFUSED if no process listens behind the file, -ENOENT if the file
// has gone.
int LookBehind(Os& os, const Address& address, int* connected) {
  const int probe = os.SocketOpen(AF_UNIX, SOCK_STREAM);
  if (probe < 0) return probe;
  *connected = os.Connect(probe, address.sockaddr(), address.size());
  os.Close(probe);
  return 0;
}

}  // namespace

absl::StatusOr<UnixFile> UnixFile::Listen(Os& os, int fd, const Address& address,
                                          const Options& options) {
  const auto error = [&](int result, std::string_view call, std::string_view why = {}) {
    return absl::ErrnoToStatus(
        -result, absl::StrCat("cannot listen on ", address.ToString(), ": ",
                              absl::string_view(why.data(), why.size()), why.empty() ? "" : ": ",
                              absl::string_view(call.data(), call.size())));
  };
  UnixFile file;
  file.path_ = os.AbsolutePath(std::string(address.path()));
  // A free name is taken even without the lock: not every folder may be read, nor can every file
  // system lock.
  FolderLock lock(os, file.path_);
  const int unlocked = lock.error();
  SLUICE_PLANT(stale_file_unlocked, lock.Unlock());
  int bound = os.Bind(fd, address.sockaddr(), address.size());
  for (int look = 0; bound == -EADDRINUSE && look < kLooksMax; ++look) {
    FileId stale;
    const int known = os.SocketFile(file.path_, &stale);
    if (known == -ENOTSOCK) return error(bound, "bind", "its file is no socket, and stays");
    int connected = known;
    if (const int looked = known < 0 ? 0 : LookBehind(os, address, &connected); looked < 0) {
      return error(looked, "socket", "cannot check whether a process listens there");
    }
    if (connected == -ENOENT) {  // An old server has removed the file meanwhile.
      bound = os.Bind(fd, address.sockaddr(), address.size());
      continue;
    }
    // A listener with a full backlog answers -EAGAIN: the file is served.
    if (connected != -ECONNREFUSED) return error(bound, "bind", "another socket is bound there");
    if (unlocked < 0) {
      return error(unlocked, "flock",
                   "an ended server has left its file, and the folder cannot be locked to replace "
                   "it; remove the file");
    }
    os.Unlink(file.path_, stale);
    bound = os.Bind(fd, address.sockaddr(), address.size());
    break;  // A server that was faster without the lock may not listen yet: its file stays.
  }
  if (bound < 0) return error(bound, "bind");
  if (const int known = os.SocketFile(file.path_, &file.id_); known < 0) {
    return error(known, "lstat");
  }
  // Set the mode before listening. No process can connect before that, so none that the mode keeps
  // out gets in.
  if (options.unix_file_mode != 0) {
    if (const int set = os.SetFileMode(file.path_, options.unix_file_mode); set < 0) {
      os.Unlink(file.path_, file.id_);
      return error(set, "chmod");
    }
  }
  if (const int listening = os.Listen(fd, options.backlog); listening < 0) {
    os.Unlink(file.path_, file.id_);
    return error(listening, "listen");
  }
  return file;
}

void UnixFile::Remove(Os& os) const {
  FileId id = id_;
  SLUICE_PLANT(file_by_name, os.SocketFile(path_, &id));
  os.Unlink(path_, id);
}

}  // namespace sluice
