#ifndef SLUICE_BENCH_SOCKET_H_
#define SLUICE_BENCH_SOCKET_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice::bench {

// A non-blocking client socket, for load from one thread.
class Socket {
 public:
  // "127.0.0.1:PORT". `receive_buffer_bytes` 0: the kernel's own size.
  explicit Socket(const std::string& address, int receive_buffer_bytes = 0);
  explicit Socket(int fd);  // Of a listener; non-blocking already.
  ~Socket();                // Resets: ten thousand connections in TIME_WAIT would use up the ports.
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&&) = delete;

  int fd() const { return fd_; }
  // How many bytes went; 0 when there is no room now.
  size_t Send(std::string_view bytes);
  // How many bytes came; 0 when there are none now. The end of stream ends the bench.
  size_t Receive(char* bytes, size_t length);
  // Waits until there is something to read; false after `timeout_milliseconds`.
  bool WaitReadable(int timeout_milliseconds);
  // All of them, waiting as long as it takes.
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
  Socket Accept();  // Waits for the next one; one that does not come ends the bench.

 private:
  std::string address_;
  const int fd_;
};

// As many descriptors as the system lets this process have, and what it starts after this, at most
// `wanted`.
int DescriptorsUpTo(int wanted);
// This process may have that many descriptors, and what it starts after this too; or the bench
// ends.
void NeedDescriptors(int count);

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_SOCKET_H_
