// Files that a simulated machine sends. They are files of the real machine, open as long as the
// simulation lasts: another file with the same inode would inherit their blocks. Whether a block is
// in memory is drawn when it is first looked for; a block that was read stays in memory.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/core/worker/worker.h"
#include "sluice/sim/world/sim_os.h"
#include "sluice/sim/world/simulation.h"

namespace sluice::sim {

namespace {

constexpr int64_t kBlockBytes = 64 * 1024;
// A socket's buffer is smaller.
constexpr int64_t kSendBytesMax = 256 * 1024;

}  // namespace

bool SimOs::BlocksInMemory(int file, int64_t offset, int64_t bytes) {
  struct stat found {};
  if (fstat(file, &found) < 0) return true;  // The call itself answers that error.
  bool all = true;
  for (int64_t block = offset / kBlockBytes; block * kBlockBytes < offset + bytes; ++block) {
    const auto [at, first] = blocks_.try_emplace({found.st_dev, found.st_ino, block}, true);
    if (first) at->second = !simulation_.random().Chance(simulation_.faults.cold_file);
    all &= at->second;
  }
  return all;
}

int SimOs::FileInMemory(int file, int64_t offset, int64_t bytes) {
  simulation_.Called(false);
  char byte;
  const ssize_t first = pread(file, &byte, 1, offset);
  const int result = first < 0    ? 0
                     : first == 0 ? -ENODATA
                                  : static_cast<int>(BlocksInMemory(file, offset, bytes));
  return static_cast<int>(Done("file_in_memory", -1, result));
}

int64_t SimOs::FileFetch(int file, int64_t offset, int64_t bytes) {
  if (Worker::Current() != nullptr) {
    simulation_.Broken("L6 no blocking", "a worker waits for a disk");
  }
  simulation_.Sleep(absl::Microseconds(simulation_.random().Between(20, 20'000)));
  if (simulation_.random().Chance(simulation_.faults.unreadable_file)) {
    return Done("file_fetch", -1, -EIO);
  }
  (void)BlocksInMemory(file, offset, bytes);  // Draws as the look does, if there was none.
  struct stat found {};
  if (fstat(file, &found) < 0) return Done("file_fetch", -1, -errno);
  for (int64_t block = offset / kBlockBytes; block * kBlockBytes < offset + bytes; ++block) {
    blocks_[{found.st_dev, found.st_ino, block}] = true;
  }
  const int64_t there = std::max<int64_t>(0, static_cast<int64_t>(found.st_size) - offset);
  return Done("file_fetch", -1, std::min(bytes, there));
}

int64_t SimOs::SendFile(int fd, int file, int64_t offset, int64_t bytes) {
  simulation_.Called(/*may_switch=*/true);
  auto* const stream = Find<Stream>(fd);
  if (stream == nullptr) return -ENOTCONN;
  if (!BlocksInMemory(file, offset, bytes)) {
    simulation_.Broken("L6 no blocking", absl::StrCat("a worker sends bytes of a file from ",
                                                      offset, " on that are not in memory"));
  }
  std::string data(static_cast<size_t>(std::min(bytes, kSendBytesMax)), '\0');
  const ssize_t read = pread(file, data.data(), data.size(), offset);
  if (read <= 0) return Done("sendfile", fd, read < 0 ? -errno : 0);
  const iovec part{data.data(), static_cast<size_t>(read)};
  const int64_t sent = stream->link().Send(stream->side(), &part, 1);
  if (Worker::Current() != nullptr) traffic_.bytes_sent += std::max<int64_t>(sent, 0);
  return Done("sendfile", fd, sent,
              std::string_view(data).substr(0, static_cast<size_t>(std::max<int64_t>(sent, 0))));
}

}  // namespace sluice::sim
