// A script of tests/os: a client's steps against a server, and a log of all that both sides saw. It
// runs on Linux and on the simulated system, and both logs must be equal.
//
// The server's session obeys the client's lines: "say TEXT", "flood BYTES", "close", "close_write",
// "abort", "throw", "stop". Each step waits for its effect, so no result depends on timing.
//
// Owner:  the test. Thread: the client's, but Log::Add, which any thread may call. Bound: none.
// Errors: a time-out stands in the log, and so differs.
#ifndef SLUICE_TESTS_OS_SCRIPT_H_
#define SLUICE_TESTS_OS_SCRIPT_H_

#include <cstdint>
#include <functional>
#include <mutex>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/core/os/options.h"
#include "sluice/core/os/os.h"
#include "sluice/sim/world/client.h"
#include "sluice/sluice.h"

namespace sluice::testing {

class Log {
 public:
  void Add(std::string line);
  std::vector<std::string> Lines() const;
  bool Has(std::string_view line) const;

 private:
  mutable std::mutex lock_;
  std::vector<std::string> lines_;
};

// A script's means: the system, the server's log and a client.
class Stage {
 public:
  // sleep` waits a little, on whichever system this is.
  Stage(Os& os, Runtime& runtime, Log& server, std::function<void()> sleep)
      : os_(os), runtime_(runtime), server_(server), sleep_(std::move(sleep)), client_(os) {}

  Os& os() { return os_; }
  Runtime& runtime() { return runtime_; }
  Log& server() { return server_; }  // Events of the server's sessions and of outgoing ones.
  sim::Client& client() { return client_; }

  // Each logs its outcome in client_lines.
  void Connect();
  void ConnectTo(std::string_view address);
  void Tell(std::string_view line);
  void Expect(std::string_view bytes);
  void ExpectBytes(size_t count);
  void ReadToEnd();
  void AwaitUnread();
  void CloseWrite();
  void Close();
  void Reset();
  void AwaitServer(std::string_view line);  // Waits until the server has logged `line`.

  std::vector<std::string> client_lines;

 private:
  void Note(std::string_view step, const absl::Status& status);
  Os& os_;
  Runtime& runtime_;
  Log& server_;
  const std::function<void()> sleep_;
  sim::Client client_;
};

struct Script {
  std::string name;  // Names the promise.
  std::function<void(Stage&)> run;
  std::function<void(Options&)> options = nullptr;
  std::string listen = "127.0.0.1:0";
};

// The logs of both sides.
struct Seen {
  std::vector<std::string> client;
  std::vector<std::string> server;
  std::string ledger;  // Connections by close reason.
  bool operator==(const Seen&) const = default;
};

// Printed when a test fails.
inline std::ostream& operator<<(std::ostream& out, const Script& script) {
  return out << script.name;
}

const std::vector<Script>& Scripts();
Seen RunOnLinux(const Script& script);
Seen RunSimulated(const Script& script, uint64_t seed);

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_OS_SCRIPT_H_
