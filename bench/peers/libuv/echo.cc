// Echo with libuv: all connections read into one buffer. uv_try_write() sends at once; only what
// the kernel does not take is copied for uv_write(), and meanwhile the connection is not read.
#include <uv.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "listen.h"

namespace {

char buffer[64 * 1024];

void GiveBuffer(uv_handle_t*, size_t, uv_buf_t* piece) {
  *piece = uv_buf_init(buffer, sizeof buffer);
}

void Close(uv_stream_t* stream) {
  uv_close(reinterpret_cast<uv_handle_t*>(stream),
           [](uv_handle_t* handle) { delete reinterpret_cast<uv_tcp_t*>(handle); });
}

void OnData(uv_stream_t* stream, ssize_t bytes, const uv_buf_t* piece);

void OnWritten(uv_write_t* request, int status) {
  uv_stream_t* const stream = request->handle;
  std::free(request);
  if (status < 0) {
    if (status != UV_ECANCELED) Close(stream);  // Closed already.
    return;
  }
  uv_read_start(stream, GiveBuffer, OnData);
}

void WriteLater(uv_stream_t* stream, const char* bytes, size_t length) {
  uv_read_stop(stream);
  auto* const request = static_cast<uv_write_t*>(std::malloc(sizeof(uv_write_t) + length));
  char* const copy = reinterpret_cast<char*>(request + 1);
  std::memcpy(copy, bytes, length);
  const uv_buf_t rest = uv_buf_init(copy, static_cast<unsigned>(length));
  uv_write(request, stream, &rest, 1, OnWritten);
}

void OnData(uv_stream_t* stream, ssize_t bytes, const uv_buf_t* piece) {
  if (bytes < 0) return Close(stream);
  const uv_buf_t all = uv_buf_init(piece->base, static_cast<unsigned>(bytes));
  int sent = uv_try_write(stream, &all, 1);
  if (sent == UV_EAGAIN) sent = 0;
  if (sent < 0) return Close(stream);
  if (sent < bytes) WriteLater(stream, piece->base + sent, static_cast<size_t>(bytes - sent));
}

void OnConnection(uv_stream_t* listener, int) {
  auto* const client = new uv_tcp_t;
  uv_tcp_init(listener->loop, client);
  auto* const stream = reinterpret_cast<uv_stream_t*>(client);
  if (uv_accept(listener, stream) != 0) return Close(stream);
  uv_tcp_nodelay(client, 1);
  uv_read_start(stream, GiveBuffer, OnData);
}

}  // namespace

int main() { return Serve(OnConnection); }
