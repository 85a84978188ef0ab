// A listener on a port that the kernel picks, announced as the examples do.
#ifndef SLUICE_BENCH_PEERS_LIBUV_LISTEN_H_
#define SLUICE_BENCH_PEERS_LIBUV_LISTEN_H_

#include <arpa/inet.h>
#include <uv.h>

#include <cstdio>

inline int Serve(uv_connection_cb on_connection) {
  static uv_tcp_t listener;
  sockaddr_in name;
  int size = sizeof name;
  auto* const address = reinterpret_cast<sockaddr*>(&name);
  uv_ip4_addr("127.0.0.1", 0, &name);
  uv_tcp_init(uv_default_loop(), &listener);
  uv_tcp_bind(&listener, address, 0);
  const int error = uv_listen(reinterpret_cast<uv_stream_t*>(&listener), 4096, on_connection);
  if (error != 0) {
    std::fprintf(stderr, "listen: %s\n", uv_strerror(error));
    return 1;
  }
  uv_tcp_getsockname(&listener, address, &size);
  std::printf("listening on 127.0.0.1:%d\n", ntohs(name.sin_port));
  std::fflush(stdout);
  return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

#endif  // SLUICE_BENCH_PEERS_LIBUV_LISTEN_H_
