#ifndef SLUICE_BENCH_LOAD_SOCKET_H_
#define SLUICE_BENCH_LOAD_SOCKET_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice::bench {

// A non-blocking client socket, for load from one thread.
class Socket {
 public:
  // "127.0.0.1:PORT". `receive_buffer_bytes` 0: the kernel's own size.
  explicit Socket(const std::string& address, int receive_buffer_bytes = 0);
  explicit Socket(int fd);  // `fd`: accepted from a listener, non-blocking already.
  ~Socket();  // Sends RST: ten thousand connections in TIME_WAIT would use up the ports.
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&&) = delete;

  int fd() const { return fd_; }
  // Returns the bytes sent; 0 when there is no room now.
  size_t Send(std::string_view bytes);
  // Returns the bytes received; 0 when there are none now. The end of stream ends the bench.
  size_t Receive(char* bytes, size_t length);
  // Waits until there is something to read; false after `timeout_milliseconds`.
  bool WaitReadable(int timeout_milliseconds);
  // Both wait until all bytes are through.
  void SendAll(std::string_view bytes);
  void ReceiveAll(char* bytes, size_t length);

 private:
  int fd_;
};

// A server that the bench plays itself.
class Listener {
 public:
  Listener();
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  const std::string& address() const { return address_; }
  Socket Accept();  // Waits for the next connection; ends the bench when none comes within 10 s.

 private:
  std::string address_;
  const int fd_;
};

// Raises this process's descriptor limit, which its later children inherit, to at most `wanted`.
// Returns the limit reached.
int DescriptorsUpTo(int wanted);
// Raises this process's descriptor limit, which its later children inherit, to `count`, or ends the
// bench.
void NeedDescriptors(int count);

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_SOCKET_H_
