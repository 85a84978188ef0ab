// Sockets as the framework sets them up: those that listen, and what every TCP socket has.
//
// Owner:  who opened it.
// Thread: any.
// Bound:  none of its own.
// Errors: what the system said of the address, in words.
#ifndef SLUICE_ACTORS_CONNECTION_SOCKETS_H_
#define SLUICE_ACTORS_CONNECTION_SOCKETS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "sluice/actors/connection/unix_file.h"
#include "sluice/core/os/address.h"
#include "sluice/core/os/fd.h"
#include "sluice/core/os/options.h"
#include "sluice/core/os/os.h"
#include "sluice/core/runtime/runtime.h"

namespace sluice {

// A socket that listens already, and where.
struct ListeningSocket {
  OwnedFd fd;
  Address address;
  std::optional<UnixFile> file;  // A UNIX socket's, that it has made.
  int64_t next_accept_ns = 0;    // When the next one is due, at the rate that is allowed.
  ListedAddress listed;          // Where a runtime says that it listens there.
};

// Binds and listens on one address; the stale file of a UNIX socket that nobody serves is replaced.
absl::StatusOr<ListeningSocket> OpenListening(Os& os, const Address& address,
                                              const Options& options);

bool IsTcp(const Address& address);

// Ends a listener, and removes its file: nobody can connect any more, even where a forked child
// holds its descriptor. Nor is it listed any more.
void EndListening(Os& os, ListeningSocket& socket);

// Sockets on their way to the acceptor that is to serve them. Where it is never made (actors_max,
// the end of the runtime) they end with this, and no file stays behind.
class ListeningSockets {
 public:
  explicit ListeningSockets(Os& os) : os_(os) {}  // `os` outlives this.
  ListeningSockets(ListeningSockets&& other) noexcept
      : os_(other.os_), sockets_(std::exchange(other.sockets_, {})) {}
  ~ListeningSockets() {
    for (ListeningSocket& socket : sockets_) EndListening(os_, socket);
  }
  void Add(ListeningSocket socket) { sockets_.push_back(std::move(socket)); }
  std::vector<ListeningSocket> Take() && { return std::exchange(sockets_, {}); }

 private:
  Os& os_;
  std::vector<ListeningSocket> sockets_;
};

// A TCP socket that connects to a port of this machine on which nobody listens may be given that
// very port for its own, and then the kernel connects it to itself: it would read what it writes,
// and hold the port against the real server. For a connected socket of any kind.
bool IsConnectedToItself(Os& os, int fd);

// Would a connection to `target` come to a listener of this machine at `listening`? (A relay whose
// upstream it is itself would fill up with its own connections.)
bool LeadsTo(Os& os, const Address& listening, const Address& target);

// What every TCP socket of the framework has. Set on the listener, Linux hands it down to what it
// accepts.
void SetTcpOptions(Os& os, int fd, const Options& options);
// For one that is connected or listens: what a peer does not acknowledge is sent again at least
// five times in unacknowledged_timeout, so that a link that was cut goes on soon when it is whole
// again. Only Linux from 6.15 on can do that; others double the time up to two minutes. (Not while
// it connects: the kernel would give up sooner.)
void SetRetransmissions(Os& os, int fd, const Options& options);

std::string ErrnoText(int error);  // "Connection refused".

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_SOCKETS_H_
