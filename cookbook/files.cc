// A file server: a line names a file below --folder; the answer is a line with its size, and then
// its bytes.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <string>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sluice/sluice.h"

ABSL_FLAG(std::string, folder, ".", "The folder with the files.");

constexpr size_t kNameBytesMax = 4'096;

// Waits for the disk. The kernel sees to it that the file is below the folder, whatever the name
// and the links say; a pipe is not waited for.
absl::StatusOr<sluice::SharedFile> OpenBelow(int folder, const std::string& name) {
  open_how how = {};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  how.resolve = RESOLVE_BENEATH;
  const int fd = static_cast<int>(syscall(SYS_openat2, folder, name.c_str(), &how, sizeof(how)));
  if (fd < 0) return absl::ErrnoToStatus(errno, "open");
  struct stat status = {};
  const bool known = fstat(fd, &status) == 0;
  const auto file = std::make_shared<const sluice::OpenFile>(fd, status.st_size);
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
      const absl::StatusOr<sluice::SharedFile> file = co_await opening;
      if (!file.ok()) {
        co_await Write("error: no such file\n");
        continue;
      }
      co_await Write(std::to_string((*file)->Bytes()) + "\n");
      // By the kernel, in no memory of ours; the pool reads first what is not in memory.
      co_await SendFile(*file, 0, (*file)->Bytes());
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
