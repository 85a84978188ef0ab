#ifndef SLUICE_TESTS_E2E_LISTENER_H_
#define SLUICE_TESTS_E2E_LISTENER_H_

#include <string>

#include "sluice/tests/e2e/client.h"

namespace sluice::e2e {

struct ListenerOptions {
  int backlog = 1024;
  int receive_buffer_bytes = 0;  // SO_RCVBUF of what is accepted; 0: the kernel's.
  std::string unix_path;         // Instead of 127.0.0.1 and a port that the kernel picks.
};

// The server that a test plays itself.
class Listener {
 public:
  explicit Listener(const ListenerOptions& options = {});
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  const std::string& address() const { return address_; }
  // The next one in the backlog. Not connected() when nobody comes in time.
  Client Accept();
  // Nobody listens there any more.
  void Close();

 private:
  int fd_ = -1;
  std::string address_;
};

}  // namespace sluice::e2e

#endif  // SLUICE_TESTS_E2E_LISTENER_H_
