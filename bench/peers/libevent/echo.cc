// Echo with libevent: the input's chunks are moved to the output, not copied.
#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "listen.h"

namespace {

constexpr size_t kOutputBytesMax = 64 * 1024;

void OnWritten(bufferevent* connection, void*) { bufferevent_enable(connection, EV_READ); }

void OnData(bufferevent* connection, void*) {
  evbuffer* const output = bufferevent_get_output(connection);
  evbuffer_add_buffer(output, bufferevent_get_input(connection));
  // A reader that stops makes us stop: OnWritten() reads on.
  if (evbuffer_get_length(output) > kOutputBytesMax) bufferevent_disable(connection, EV_READ);
}

void OnEvent(bufferevent* connection, short, void*) { bufferevent_free(connection); }

void OnConnection(evconnlistener* listener, evutil_socket_t fd, sockaddr*, int, void*) {
  bufferevent* const connection = Connection(listener, fd);
  bufferevent_setcb(connection, OnData, OnWritten, OnEvent, nullptr);
  bufferevent_enable(connection, EV_READ);
}

}  // namespace

int main() { return Serve(OnConnection, nullptr); }
