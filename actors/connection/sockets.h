// Set-up of sockets: those that listen, and the options of every TCP socket.
//
// Owner:  the caller that opens the socket.
// Thread: any.
// Bound:  none of its own.
// Errors: the address and the system's error, in words.
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

// A listening socket, and its address.
struct ListeningSocket {
  OwnedFd fd;
  Address address;
  std::optional<UnixFile> file;  // UNIX sockets: the file that the socket has made.
  int64_t next_accept_ns = 0;    // When the next accept is due, at the allowed rate.
  ListedAddress listed;          // Entry in the runtime's list of listening addresses.
};

// Binds and listens on one address. A stale file of a UNIX socket that no process serves is
// replaced.
absl::StatusOr<ListeningSocket> OpenListening(Os& os, const Address& address,
                                              const Options& options);

bool IsTcp(const Address& address);

// Ends a listener, removes its file, and takes it off the runtime's list. No peer can connect any
// more, even if a forked child holds the descriptor.
void EndListening(Os& os, ListeningSocket& socket);

// Sockets on their way to the acceptor that will serve them. If the acceptor is never constructed
// (actors_max, the end of the runtime), the sockets end with this, and no file stays behind.
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

// True: the connected socket, of any kind, is connected to itself. If a TCP socket connects to a
// port of this machine on which no process listens, the kernel may give it that very port as its
// own, and connect it to itself. Then it would read what it writes, and keep the port from the real
// server.
bool IsConnectedToItself(Os& os, int fd);

// True: a connection to `target` would come to a listener of this machine at `listening`. (A relay
// that is its own upstream would fill up with its own connections.)
bool LeadsTo(Os& os, const Address& listening, const Address& target);

// Sets the options of every TCP socket of the framework. On Linux, accepted sockets inherit them
// from the listener.
void SetTcpOptions(Os& os, int fd, const Options& options);
// For a socket that is connected or listens: unacknowledged bytes are sent again at least five
// times in unacknowledged_timeout, so that a connection goes on soon after its link is repaired.
// Only Linux from 6.15 on can do that; older kernels double the interval, up to two minutes. (Not
// for a socket that is connecting: the kernel would give up sooner.)
void SetRetransmissions(Os& os, int fd, const Options& options);

std::string ErrnoText(int error);  // "Connection refused".
// "connect to 127.0.0.1:80: Connection refused"
std::string ConnectErrorText(const Address& to, int error);

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_SOCKETS_H_
