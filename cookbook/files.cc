// A file server: a line names a file below --folder; the answer is a line with its size, and then
// its bytes.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sluice/sluice.h"

ABSL_FLAG(std::string, folder, ".", "The folder with the files.");

constexpr int64_t kPieceBytes = 128 * 1024;
constexpr size_t kNameBytesMax = 4'096;

class OpenFile {
 public:
  OpenFile(int fd, int64_t bytes) : fd_(fd), bytes_(bytes) {}
  ~OpenFile() { close(fd_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int Descriptor() const { return fd_; }
  int64_t Bytes() const { return bytes_; }  // When it was opened.

 private:
  const int fd_;
  const int64_t bytes_;
};
// Shared: the session may end while a thread of the pool still reads.
using SharedFile = std::shared_ptr<const OpenFile>;

// Waits for the disk. The kernel sees to it that the file is below the folder, whatever the name
// and the links say; a pipe is not waited for.
absl::StatusOr<SharedFile> OpenBelow(int folder, const std::string& name) {
  open_how how = {};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  how.resolve = RESOLVE_BENEATH;
  const int fd = static_cast<int>(syscall(SYS_openat2, folder, name.c_str(), &how, sizeof(how)));
  if (fd < 0) return absl::ErrnoToStatus(errno, "open");
  struct stat status = {};
  const bool known = fstat(fd, &status) == 0;
  const auto file = std::make_shared<const OpenFile>(fd, status.st_size);
  if (!known || !S_ISREG(status.st_mode)) return absl::InvalidArgumentError("not a file");
  return file;
}

class Server : public sluice::TaskSession {
 public:
  explicit Server(int folder) : folder_(folder) { SetInputMax(kNameBytesMax); }

 private:
  sluice::Task<> Serve() override {
    while (const auto line = co_await Line()) {
      const std::string name(*line);
      auto opening = RunBlocking([folder = folder_, name] { return OpenBelow(folder, name); });
      const absl::StatusOr<SharedFile> file = co_await opening;
      if (!file.ok()) {
        co_await Write("error: no such file\n");
        continue;
      }
      co_await Write(std::to_string((*file)->Bytes()) + "\n");
      co_await SendAll(*file);
    }
  }

  // A piece at a time: Write waits while the client reads slowly, and then nothing is read from the
  // disk either.
  sluice::Task<> SendAll(SharedFile file) {
    for (int64_t at = 0; at < file->Bytes();) {
      const auto size = static_cast<size_t>(std::min(kPieceBytes, file->Bytes() - at));
      auto reading = RunBlocking([file, at, size] {
        std::string piece(size, '\0');
        piece.resize(std::max<ssize_t>(0, pread(file->Descriptor(), piece.data(), size, at)));
        return piece;
      });
      const absl::StatusOr<std::string> piece = co_await reading;
      // The client was told of more bytes: it must not take what follows for them.
      if (!piece.ok() || piece->empty()) co_return Abort();
      if (!co_await Write(*piece)) co_return;
      at += static_cast<int64_t>(piece->size());
    }
  }

  const int folder_;
};

int main(int argc, char** argv) {
  sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
  const int folder = open(absl::GetFlag(FLAGS_folder).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) runtime.KeepError(absl::ErrnoToStatus(errno, "--folder"));
  runtime.Listen<Server>("127.0.0.1:7007", folder);
  return runtime.RunUntilSignal();
}
