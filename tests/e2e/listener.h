#ifndef SLUICE_TESTS_E2E_LISTENER_H_
#define SLUICE_TESTS_E2E_LISTENER_H_

#include <string>

#include "sluice/tests/e2e/client.h"

namespace sluice::e2e {

struct ListenerOptions {
  int backlog = 1024;
  int receive_buffer_bytes = 0;  // SO_RCVBUF of accepted sockets; 0: the default.
  std::string unix_path;         // Replaces 127.0.0.1 and a port from the kernel.
};

// A server played by the test itself.
class Listener {
 public:
  explicit Listener(const ListenerOptions& options = {});
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  const std::string& address() const { return address_; }
  // Accepts the next connection in the backlog. Not connected() if none comes in time.
  Client Accept();
  // Stops listening.
  void Close();

 private:
  int fd_ = -1;
  std::string address_;
};

}  // namespace sluice::e2e

#endif  // SLUICE_TESTS_E2E_LISTENER_H_
