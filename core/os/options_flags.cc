// The flags that every program of Sluice shares. They are linked only into programs that call
// Options::FromFlags, so they never clash with an embedder's own flags.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "sluice/core/base/log.h"
#include "sluice/core/os/flags.h"
#include "sluice/core/os/options.h"

namespace sluice {

constexpr struct {
  AtLimit value;
  const char* name;
} kAtLimits[] = {
    {AtLimit::kRefuse, "refuse"}, {AtLimit::kWait, "wait"}, {AtLimit::kEvictIdle, "evict_idle"}};
bool AbslParseFlag(absl::string_view text, AtLimit* value, std::string* error) {
  for (const auto& at_limit : kAtLimits) {
    if (text == at_limit.name) return *value = at_limit.value, true;
  }
  *error = "it must be refuse, wait or evict_idle";
  return false;
}
std::string AbslUnparseFlag(AtLimit value) { return kAtLimits[static_cast<int>(value)].name; }

// A number from 1 on; 0 (auto): taken from the machine.
struct Count {
  int64_t value = 0;
};
bool AbslParseFlag(absl::string_view text, Count* count, std::string* error) {
  if (text == "auto") return count->value = 0, true;
  if (absl::SimpleAtoi(text, &count->value) && count->value >= 1 && count->value <= INT32_MAX)
    return true;
  *error = "it must be a number from 1 on";
  return false;
}
std::string AbslUnparseFlag(Count count) {
  return count.value == 0 ? "auto" : absl::StrCat(count.value);
}

// A number from 0 on; 0: no limit.
struct Rate {
  int64_t value = 0;
};
bool AbslParseFlag(absl::string_view text, Rate* rate, std::string* error) {
  if (absl::SimpleAtoi(text, &rate->value) && rate->value >= 0 &&
      rate->value <= Options::kAcceptRateMax)
    return true;
  *error = absl::StrCat("it must be a number from 0 to ", Options::kAcceptRateMax);
  return false;
}
std::string AbslUnparseFlag(Rate rate) { return absl::StrCat(rate.value); }

// The mode of a file, in octal as for chmod.
struct FileMode {
  int value = 0;
};
bool AbslParseFlag(absl::string_view text, FileMode* mode, std::string* error) {
  if (text == "umask") return mode->value = 0, true;
  int value = 0;
  bool valid = !text.empty() && text.size() <= 4;
  for (const char c : text) {
    valid = valid && c >= '0' && c <= '7';
    value = value * 8 + (c - '0');
  }
  if (valid && value > 0 && value <= 0777) return mode->value = value, true;
  *error = "it must be an octal mode from 0001 to 0777, such as 0660, or umask";
  return false;
}
std::string AbslUnparseFlag(FileMode mode) {
  return mode.value == 0 ? "umask" : absl::StrFormat("%04o", mode.value);
}

// The default of an option, so that each default is written once.
TimeSpan DefaultOf(absl::Duration Options::*option) { return {Options().*option}; }

// Each --listen= of the command line: a second one adds to the first.
std::vector<std::string>& ListenTexts() {
  static auto* const texts = new std::vector<std::string>;
  return *texts;
}

}  // namespace sluice

ABSL_FLAG(
    std::string, listen, "",
    "Addresses to serve, separated by commas or in one flag each: HOST:PORT, [V6]:PORT, "
    "unix:PATH, unix:@NAME; port 0 picks one. NAME=ADDRESS, if the program names its listeners.")
    .OnUpdate([] { sluice::ListenTexts().push_back(absl::GetFlag(FLAGS_listen)); });
ABSL_FLAG(sluice::Count, workers, {}, "Worker threads; auto: as many as processors.");
ABSL_FLAG(sluice::Count, max_connections, {},
          "Connections at once; auto: what the descriptors allow, at most 65,536.");
ABSL_FLAG(sluice::AtLimit, at_limit, sluice::AtLimit::kRefuse,
          "How a peer past max_connections is treated: refuse; wait, in the backlog; or "
          "evict_idle, which ends the connection that has been silent longest.");
ABSL_FLAG(sluice::Rate, accept_rate, {},
          "Connections accepted in a second on each address; more wait in the backlog. 0: no "
          "limit.");
ABSL_FLAG(sluice::TimeSpan, idle_timeout, sluice::DefaultOf(&sluice::Options::idle_timeout),
          "Ends a connection that was silent for this long; inf: never.");
ABSL_FLAG(sluice::TimeSpan, lifetime_timeout, sluice::DefaultOf(&sluice::Options::lifetime_timeout),
          "Ends a connection this long after it began; inf: never.");
ABSL_FLAG(sluice::TimeSpan, half_closed_timeout,
          sluice::DefaultOf(&sluice::Options::half_closed_timeout),
          "Ends a connection with one side ended that was silent for this long; inf: never.");
ABSL_FLAG(
    sluice::TimeSpan, write_stalled_timeout,
    sluice::DefaultOf(&sluice::Options::write_stalled_timeout),
    "Ends a connection if its peer took no byte of the waiting output for this long; inf: never.");
ABSL_FLAG(sluice::TimeSpan, close_timeout, sluice::DefaultOf(&sluice::Options::close_timeout),
          "Ends a connection this long after this side closed it, whatever the peer does.");
ABSL_FLAG(sluice::TimeSpan, linger_timeout, sluice::DefaultOf(&sluice::Options::linger_timeout),
          "How long a closing connection is read, at most, until its peer closes it, too.");
ABSL_FLAG(sluice::TimeSpan, unacknowledged_timeout,
          sluice::DefaultOf(&sluice::Options::unacknowledged_timeout),
          "Ends a connection if its peer has not answered for this long, though bytes or probes "
          "wait for an answer; inf: never.");
ABSL_FLAG(sluice::TimeSpan, keepalive_idle, sluice::DefaultOf(&sluice::Options::keepalive_idle),
          "Silence after which the kernel probes whether the peer is alive, in whole seconds; inf: "
          "never.");
ABSL_FLAG(sluice::TimeSpan, keepalive_interval,
          sluice::DefaultOf(&sluice::Options::keepalive_interval),
          "Time between two keepalive probes, in whole seconds.");
ABSL_FLAG(sluice::TimeSpan, drain_timeout, sluice::DefaultOf(&sluice::Options::drain_timeout),
          "How long a drain may take, after SIGTERM, SIGINT or SIGHUP.");
ABSL_FLAG(sluice::TimeSpan, shed_after, sluice::DefaultOf(&sluice::Options::shed_after),
          "When memory stays spent for this long, connections are ended that hold much of it and "
          "take nothing; inf: never.");
ABSL_FLAG(sluice::TimeSpan, slow_handler, sluice::DefaultOf(&sluice::Options::slow_handler),
          "A handler that holds its worker for longer than this is named in the log; inf: never.");
ABSL_FLAG(sluice::TimeSpan, probe_after, sluice::DefaultOf(&sluice::Options::probe_after),
          "An actor that is parked for this long checks for a cycle of waits.");
ABSL_FLAG(sluice::ByteCount, memory, {},
          "Memory for messages and buffers (64MB); 0: a quarter of the machine's, at most 1GB.");
ABSL_FLAG(sluice::FileMode, unix_mode, {},
          "Mode of the file of a UNIX socket (0660): a user that may write to the file may "
          "connect; umask: as the umask leaves it.");
ABSL_FLAG(std::string, log_level, "info", "trace, debug, info, warning, error or off.");

namespace sluice {

namespace {

[[noreturn]] void ExitWith(const std::string& line) {
  std::fprintf(stderr, "%s\n", line.c_str());
  std::exit(1);
}

}  // namespace

Options Options::FromFlags(int argc, char** argv) {
  ListenTexts().clear();
  const std::vector<std::string> rest = ParseFlags(argc, argv, "A server made with Sluice.");
  if (!rest.empty()) {
    ExitWith(absl::StrCat("error: unexpected argument \"", rest[0], "\"; see --help"));
  }
  Options options;
  options.listen =
      ListenTexts().empty() ? absl::GetFlag(FLAGS_listen) : absl::StrJoin(ListenTexts(), ";");
  options.workers = static_cast<int>(absl::GetFlag(FLAGS_workers).value);
  options.max_connections = absl::GetFlag(FLAGS_max_connections).value;
  options.at_limit = absl::GetFlag(FLAGS_at_limit);
  options.accepts_per_second_max = absl::GetFlag(FLAGS_accept_rate).value;
  options.idle_timeout = absl::GetFlag(FLAGS_idle_timeout).value;
  options.lifetime_timeout = absl::GetFlag(FLAGS_lifetime_timeout).value;
  options.half_closed_timeout = absl::GetFlag(FLAGS_half_closed_timeout).value;
  options.write_stalled_timeout = absl::GetFlag(FLAGS_write_stalled_timeout).value;
  options.close_timeout = absl::GetFlag(FLAGS_close_timeout).value;
  options.linger_timeout = absl::GetFlag(FLAGS_linger_timeout).value;
  options.unacknowledged_timeout = absl::GetFlag(FLAGS_unacknowledged_timeout).value;
  options.keepalive_idle = absl::GetFlag(FLAGS_keepalive_idle).value;
  options.keepalive_interval = absl::GetFlag(FLAGS_keepalive_interval).value;
  options.drain_timeout = absl::GetFlag(FLAGS_drain_timeout).value;
  options.shed_after = absl::GetFlag(FLAGS_shed_after).value;
  options.slow_handler = absl::GetFlag(FLAGS_slow_handler).value;
  options.probe_after = absl::GetFlag(FLAGS_probe_after).value;
  options.memory_bytes_max = absl::GetFlag(FLAGS_memory).bytes;
  options.unix_file_mode = absl::GetFlag(FLAGS_unix_mode).value;
  options.log_level = absl::GetFlag(FLAGS_log_level);
  const absl::StatusOr<LogLevel> level = ParseLogLevel(options.log_level);
  if (!level.ok()) ExitWith(absl::StrCat("error: --log_level: ", level.status().message()));
  SetLogLevel(*level);
  return options;
}

}  // namespace sluice
