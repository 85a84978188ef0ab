// A listener on a port that the kernel picks, announced as the examples do.
#ifndef SLUICE_BENCH_PEERS_LIBEVENT_LISTEN_H_
#define SLUICE_BENCH_PEERS_LIBEVENT_LISTEN_H_

#include <arpa/inet.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cstdio>

inline bufferevent* Connection(evconnlistener* listener, evutil_socket_t fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
}

inline int Serve(evconnlistener_cb on_connection, void* context) {
  event_base* const base = event_base_new();
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const address = reinterpret_cast<sockaddr*>(&name);
  socklen_t size = sizeof name;
  evconnlistener* const listener = evconnlistener_new_bind(
      base, on_connection, context, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 4096, address,
      static_cast<int>(size));
  if (listener == nullptr) {
    std::perror("listen");
    return 1;
  }
  getsockname(evconnlistener_get_fd(listener), address, &size);
  std::printf("listening on 127.0.0.1:%d\n", ntohs(name.sin_port));
  std::fflush(stdout);
  return event_base_dispatch(base);
}

#endif  // SLUICE_BENCH_PEERS_LIBEVENT_LISTEN_H_
