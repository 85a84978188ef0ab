// A relay with Asio's callbacks: one thread, two sockets and a buffer for each direction. A
// direction reads again when all that it read is written. A half-close is passed on.
#define ASIO_STANDALONE
#include <array>
#include <asio.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

namespace {

using asio::ip::tcp;

class Pair : public std::enable_shared_from_this<Pair> {
 public:
  Pair(tcp::socket client, tcp::socket upstream)
      : ends_{{{std::move(client), {}}, {std::move(upstream), {}}}} {}
  void Connect(const tcp::endpoint& to) {
    ends_[1].socket.async_connect(to, [self = shared_from_this()](asio::error_code error) {
      if (error) return;
      for (Side& end : self->ends_) end.socket.set_option(tcp::no_delay(true));
      self->Read(0);
      self->Read(1);
    });
  }

 private:
  struct Side {
    tcp::socket socket;
    std::array<char, 64 * 1024> buffer;  // Bytes that were read from the socket.
  };

  void Read(size_t from) {
    ends_[from].socket.async_read_some(
        asio::buffer(ends_[from].buffer),
        [self = shared_from_this(), from](asio::error_code error, size_t bytes) {
          error ? self->End(from, error) : self->Write(from, bytes);
        });
  }
  void Write(size_t from, size_t bytes) {
    asio::async_write(ends_[1 - from].socket, asio::buffer(ends_[from].buffer, bytes),
                      [self = shared_from_this(), from](asio::error_code error, size_t) {
                        error ? self->End(from, error) : self->Read(from);
                      });
  }
  void End(size_t from, asio::error_code error) {
    asio::error_code ignored;
    if (error == asio::error::eof) {
      ends_[1 - from].socket.shutdown(tcp::socket::shutdown_send, ignored);
      return;
    }
    for (auto& end : ends_) end.socket.close(ignored);
  }

  std::array<Side, 2> ends_;
};

void Accept(tcp::acceptor& acceptor, const tcp::endpoint& upstream) {
  acceptor.async_accept([&](asio::error_code error, tcp::socket socket) {
    if (!error) {
      tcp::socket out(acceptor.get_executor());
      std::make_shared<Pair>(std::move(socket), std::move(out))->Connect(upstream);
    }
    Accept(acceptor, upstream);
  });
}

}  // namespace

int main(int argc, char** argv) {
  std::string upstream;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.rfind("--upstream=", 0) == 0) upstream = argument.substr(11);
  }
  const size_t colon = upstream.find(':');
  if (colon == std::string::npos) return 2;
  const tcp::endpoint to(asio::ip::make_address(upstream.substr(0, colon)),
                         static_cast<unsigned short>(std::atoi(upstream.c_str() + colon + 1)));
  asio::io_context context(1);
  tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
  std::printf("listening on 127.0.0.1:%d\n", acceptor.local_endpoint().port());
  std::fflush(stdout);
  Accept(acceptor, to);
  context.run();
}
