#ifndef SLUICE_TESTS_E2E_SERVER_H_
#define SLUICE_TESTS_E2E_SERVER_H_

#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/tests/e2e/process.h"

namespace sluice::e2e {

// A built example that serves. The constructor returns when the example listens: it adds
// --listen=127.0.0.1:0 if `flags` has no --listen, and waits for a line on stdout for each address.
class Server : public Process {
 public:
  explicit Server(std::string_view example, std::vector<std::string> flags = {},
                  const ProcessOptions& options = {});

  // As printed: with the port that the kernel chose.
  const std::vector<std::string>& addresses() const { return addresses_; }
  const std::string& address() const { return addresses_.front(); }

  // Sends SIGTERM and returns the exit code. -1: the server still runs.
  int Stop();

  // Succeeds if resident memory has grown by at most `bytes` above `before`, and always when
  // sanitized.
  testing::AssertionResult GrewAtMost(int64_t bytes, int64_t before) const;

 private:
  std::vector<std::string> addresses_;
};

inline constexpr int64_t kMebibyte = 1 << 20;

}  // namespace sluice::e2e

#endif  // SLUICE_TESTS_E2E_SERVER_H_
