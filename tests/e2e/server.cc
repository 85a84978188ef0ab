#include "sluice/tests/e2e/server.h"

#include <signal.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>

namespace sluice::e2e {
namespace {

constexpr std::string_view kListen = "--listen=";
constexpr std::string_view kListening = "listening on ";

bool IsListen(const std::string& flag) { return flag.compare(0, kListen.size(), kListen) == 0; }

std::vector<std::string> WithListen(std::vector<std::string> flags) {
  if (std::none_of(flags.begin(), flags.end(), IsListen)) {
    flags.insert(flags.begin(), "--listen=127.0.0.1:0");
  }
  return flags;
}

}  // namespace

Server::Server(std::string_view example, std::vector<std::string> flags,
               const ProcessOptions& options)
    : Process(ExamplePath(example), WithListen(flags), options) {
  flags = WithListen(std::move(flags));
  const std::string& listen = *std::find_if(flags.begin(), flags.end(), IsListen);
  if (options.standard_output != Output::kCaptured) {
    // Nothing to read: such a test listens on a known address.
    addresses_.push_back(listen.substr(kListen.size()));
    return;
  }
  const auto wanted = 1 + std::count(listen.begin(), listen.end(), ',');
  const Deadline deadline;
  while (std::ssize(addresses_) < wanted) {
    const std::optional<std::string> line = ReadOutputLine(deadline);
    if (!line.has_value() || line->compare(0, kListening.size(), kListening) != 0) {
      throw std::runtime_error(std::string(example) + " did not listen; it said: " +
                               line.value_or("nothing") + "\n" + StandardError());
    }
    addresses_.push_back(line->substr(kListening.size()));
  }
}

int Server::Stop() {
  Signal(SIGTERM);
  return Wait().value_or(-1);
}

testing::AssertionResult Server::GrewAtMost(int64_t bytes, int64_t before) const {
  const int64_t now = ResidentBytes();
  if (kSanitized || now - before <= bytes) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << "resident memory was " << before / 1024 << " KiB and is " << now / 1024
         << " KiB: it grew by more than " << bytes / 1024 << " KiB";
}

}  // namespace sluice::e2e
