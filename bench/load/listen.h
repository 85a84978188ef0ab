#ifndef SLUICE_BENCH_LOAD_LISTEN_H_
#define SLUICE_BENCH_LOAD_LISTEN_H_

#include <cstdint>
#include <string>

namespace sluice::bench {

// A non-blocking listener on 127.0.0.1, on a port that the kernel picks; `address` is set to the
// result. On failure: -1, and a line on stderr.
int ListenOnLoopback(std::string* address);

// A yardstick's listener, announced on stdout as the examples do. Ends the program on failure.
int ListenAndAnnounce();

// epoll_ctl, level-triggered.
void Watch(int epoll, int operation, int fd, uint32_t events);

// The next connection, non-blocking, with TCP_NODELAY; -1 when none waits.
int AcceptNext(int listener);

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_LISTEN_H_
