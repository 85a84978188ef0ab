// UnixFile is the file that a listening UNIX socket has made, known by device and inode: when the
// file is to be removed, its name may belong to another server's file.
//
// Owner:  the ListeningSocket.
// Thread: its owner's.
// Bound:  a path.
// Errors: the address and the system's error, in words. A file that cannot be removed stays: the
//         next server replaces it.
#ifndef SLUICE_ACTORS_CONNECTION_UNIX_FILE_H_
#define SLUICE_ACTORS_CONNECTION_UNIX_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "sluice/core/os/address.h"
#include "sluice/core/os/options.h"
#include "sluice/core/os/os.h"

namespace sluice {

class UnixFile {
 public:
  // Binds `fd` to `address`, and listens. A stale file that no process listens behind is replaced.
  // The folder is locked from the look at the file until this socket listens: if several servers
  // find the file, one replaces it, and the others find that server. Requires:
  // address.IsUnixPath().
  static absl::StatusOr<UnixFile> Listen(Os& os, int fd, const Address& address,
                                         const Options& options);

  // Removes the file, if its path still names it. Requires: its socket is open and listens. While
  // the socket is open, no other file is given its inode; while it listens, no other server takes
  // the name.
  void Remove(Os& os) const;

 private:
  std::string path_;  // Absolute: the process may change its folder.
  FileId id_;
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_UNIX_FILE_H_
