#ifndef SLUICE_TESTS_E2E_SERVER_H_
#define SLUICE_TESTS_E2E_SERVER_H_

#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/tests/e2e/process.h"

namespace sluice::e2e {

// A built example that serves. The constructor returns when it listens: it adds
// --listen=127.0.0.1:0 when `flags` has no --listen, and waits for a line on stdout for each
// address.
class Server : public Process {
 public:
  explicit Server(std::string_view example, std::vector<std::string> flags = {},
                  const ProcessOptions& options = {});

  // As printed: with the port that the kernel picked.
  const std::vector<std::string>& addresses() const { return addresses_; }
  const std::string& address() const { return addresses_.front(); }

  // SIGTERM, then the exit code. -1: it still runs.
  int Stop();

  // Resident memory has grown by at most `bytes` since it was `before`. Says so in words if not.
  // Always true when sanitized.
  testing::AssertionResult GrewAtMost(int64_t bytes, int64_t before) const;

 private:
  std::vector<std::string> addresses_;
};

inline constexpr int64_t kMebibyte = 1 << 20;

}  // namespace sluice::e2e

#endif  // SLUICE_TESTS_E2E_SERVER_H_
