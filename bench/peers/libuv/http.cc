// HTTP hello with libuv: all connections read into one buffer, and the answers to what one read
// brought leave by one uv_try_write(). A request is a head that begins with "GET ".
#include <uv.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "listen.h"

namespace {

constexpr std::string_view kAnswer =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n";

struct Client {
  uv_tcp_t handle;
  std::string in;   // The beginning of a head.
  std::string out;  // Bytes that the kernel has not taken.
  uv_write_t write;
};

char buffer[64 * 1024];
std::string answers;

Client* ClientOf(uv_stream_t* stream) { return static_cast<Client*>(stream->data); }

void GiveBuffer(uv_handle_t*, size_t, uv_buf_t* piece) {
  *piece = uv_buf_init(buffer, sizeof buffer);
}

void Close(uv_stream_t* stream) {
  uv_close(reinterpret_cast<uv_handle_t*>(stream),
           [](uv_handle_t* handle) { delete static_cast<Client*>(handle->data); });
}

void OnData(uv_stream_t* stream, ssize_t bytes, const uv_buf_t* piece);

void OnWritten(uv_write_t* request, int status) {
  if (status == UV_ECANCELED) return;  // Closed already.
  if (status < 0) return Close(request->handle);
  uv_read_start(request->handle, GiveBuffer, OnData);
}

void Send(uv_stream_t* stream, const std::string& bytes) {
  const uv_buf_t all =
      uv_buf_init(const_cast<char*>(bytes.data()), static_cast<unsigned>(bytes.size()));
  int sent = uv_try_write(stream, &all, 1);
  if (sent == UV_EAGAIN) sent = 0;
  if (sent < 0) return Close(stream);
  if (static_cast<size_t>(sent) == bytes.size()) return;
  Client* const client = ClientOf(stream);
  uv_read_stop(stream);
  client->out = bytes.substr(static_cast<size_t>(sent));
  const uv_buf_t rest = uv_buf_init(client->out.data(), static_cast<unsigned>(client->out.size()));
  uv_write(&client->write, stream, &rest, 1, OnWritten);
}

void OnData(uv_stream_t* stream, ssize_t bytes, const uv_buf_t* piece) {
  if (bytes < 0) return Close(stream);
  std::string& kept = ClientOf(stream)->in;
  std::string_view in(piece->base, static_cast<size_t>(bytes));
  if (!kept.empty()) in = kept.append(in);
  answers.clear();
  for (size_t end; (end = in.find("\r\n\r\n")) != in.npos; in.remove_prefix(end + 4)) {
    if (!in.starts_with("GET ")) return Close(stream);
    answers += kAnswer;
  }
  kept = std::string(in);
  if (!answers.empty()) Send(stream, answers);
}

void OnConnection(uv_stream_t* listener, int) {
  auto* const client = new Client;
  client->handle.data = client;
  uv_tcp_init(listener->loop, &client->handle);
  auto* const stream = reinterpret_cast<uv_stream_t*>(&client->handle);
  if (uv_accept(listener, stream) != 0) return Close(stream);
  uv_tcp_nodelay(&client->handle, 1);
  uv_read_start(stream, GiveBuffer, OnData);
}

}  // namespace

int main() { return Serve(OnConnection); }
