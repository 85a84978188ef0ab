// UnixFile is the file that a listening UNIX socket has made. It is known by device and inode: by
// the time it is to go, its name may stand for another server's file.
//
// Owner:  the ListeningSocket.
// Thread: its owner's.
// Bound:  a path.
// Errors: what the system said of the address, in words. A file that cannot be removed stays: the
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
  // Binds `fd` to `address`, and listens. A stale file that nobody listens behind is replaced: its
  // folder is locked from the look at it until this socket listens, so that of several servers that
  // find it one replaces it, and the others find that one. Requires: address.IsUnixPath().
  static absl::StatusOr<UnixFile> Listen(Os& os, int fd, const Address& address,
                                         const Options& options);

  // Removes the file, if it is this one. Requires: its socket is open and listens. Until it is
  // closed no other file is given its inode, and until it listens no more no other server takes
  // the name.
  void Remove(Os& os) const;

 private:
  std::string path_;  // Absolute: the process may change its folder.
  FileId id_;
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_UNIX_FILE_H_
