// OpenFile is a file that is open for reading, to be sent to connections (Session::SendFile). Many
// sessions, on any workers, may send the same one: nobody uses its position.
//
//   RunBlocking([path] { return OpenFile::ForReading(path); },
//               [this](absl::StatusOr<SharedFile> file) {
//                 if (file.ok()) (void)SendFile(*file, 0, (*file)->Bytes());
//               });
//
// Owner:  the holders of a SharedFile: those who opened it, and each range that is on its way. The
//         last one closes it, on whatever thread.
// Thread: any; it never changes.
// Bound:  a descriptor, which does not count towards max_connections.
// Errors: ForReading answers the path and the errno. A file that is cut short later ends the
//         connections that send its missing bytes.
#ifndef SLUICE_CORE_OS_OPEN_FILE_H_
#define SLUICE_CORE_OS_OPEN_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "sluice/core/base/language.h"

namespace sluice {

class OpenFile {
 public:
  // Opens a regular file. (A file of /proc says that it is empty, and is sent so.) May wait for a
  // disk: call it in a blocking function (RunBlocking). The file is the machine's own, in a
  // simulation, too.
  static absl::StatusOr<std::shared_ptr<const OpenFile>> ForReading(const std::string& path);
  // Takes over `fd`, a regular file that may be read, of `bytes` bytes.
  OpenFile(int fd, int64_t bytes) : fd_(fd), bytes_(bytes) {}
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int Descriptor() const { return fd_; }
  int64_t Bytes() const { return bytes_; }  // When it was opened.
  static int64_t HeldBytes() { return 0; }  // Beside the object itself.

 private:
  const int fd_;
  const int64_t bytes_;
};

using SharedFile = std::shared_ptr<const OpenFile>;

}  // namespace sluice

#endif  // SLUICE_CORE_OS_OPEN_FILE_H_
