#ifndef SLUICE_BENCH_LISTEN_H_
#define SLUICE_BENCH_LISTEN_H_

#include <cstdint>
#include <string>

namespace sluice::bench {

// A non-blocking listener on 127.0.0.1, the port picked by the kernel. `address`: where. -1, and a
// line on stderr, when there is none to be had.
int ListenOnLoopback(std::string* address);

// A yardstick's own listener, announced on stdout as the examples do. Ends the program without one.
int ListenAndAnnounce();

// epoll_ctl, level-triggered.
void Watch(int epoll, int operation, int fd, uint32_t events);

// The next connection, non-blocking and without delay; -1 when there is none now.
int AcceptNext(int listener);

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LISTEN_H_
