#include "sluice/core/os/open_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace sluice {

absl::StatusOr<SharedFile> OpenFile::ForReading(const std::string& path) {
  // The kernel would open the file that the part before it names.
  if (path.find('\0') != path.npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot open ", path.c_str(), "...: the path has a zero byte"));
  }
  // O_NONBLOCK: a pipe without a writer would hold the thread.
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd >= 0 && fd <= STDERR_FILENO) {
    // The program writes to 0, 1 and 2.
    const int above = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    const int error = errno;
    close(fd);
    errno = error;
    fd = above;
  }
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  struct stat found;
  const int error = fstat(fd, &found) < 0 ? errno : 0;
  if (error == 0 && S_ISREG(found.st_mode)) {
    return std::make_shared<const OpenFile>(fd, static_cast<int64_t>(found.st_size));
  }
  close(fd);
  if (error != 0) return absl::ErrnoToStatus(error, absl::StrCat("cannot look at ", path));
  return absl::FailedPreconditionError(absl::StrCat("cannot send ", path, ": it is no file"));
}

OpenFile::~OpenFile() { close(fd_); }

}  // namespace sluice
