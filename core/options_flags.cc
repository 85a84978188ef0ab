// The flags that every program of Sluice shares. They are linked only into programs that call
// Options::FromFlags, so an embedder with flags of its own meets none of them.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/log.h"
#include "sluice/core/options.h"
#include "sluice/core/strings.h"

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

// A number from 1 on; unless given, the machine says.
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

// A number of bytes: 67108864, 65536KB, 64MB, 1GB.
struct ByteCount {
  int64_t bytes = 0;
};
bool AbslParseFlag(absl::string_view text, ByteCount* value, std::string* error) {
  static constexpr struct {
    const char* suffix;
    int64_t factor;
  } kUnits[] = {{"KB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"", 1}};
  for (const auto& unit : kUnits) {
    const absl::string_view suffix = unit.suffix;
    if (text.size() < suffix.size() || text.substr(text.size() - suffix.size()) != suffix) continue;
    int64_t number = 0;
    if (!absl::SimpleAtoi(text.substr(0, text.size() - suffix.size()), &number) || number < 0 ||
        number > INT64_MAX / unit.factor) {
      break;
    }
    value->bytes = number * unit.factor;
    return true;
  }
  *error = "it must be a number of bytes such as 67108864, 64MB or 1GB";
  return false;
}
std::string AbslUnparseFlag(ByteCount value) { return absl::StrCat(value.bytes); }

}  // namespace sluice

ABSL_FLAG(std::string, listen, "",
          "Addresses to serve, with commas between: HOST:PORT, [V6]:PORT, unix:PATH, unix:@NAME; "
          "port 0 picks one.");
ABSL_FLAG(sluice::Count, workers, {}, "Worker threads; auto: as many as processors.");
ABSL_FLAG(sluice::Count, max_connections, {},
          "Connections at once; auto: what the descriptors allow, at most 65,536.");
ABSL_FLAG(sluice::AtLimit, at_limit, sluice::AtLimit::kRefuse,
          "What a peer past max_connections meets: refuse; wait, in the backlog; or evict_idle, "
          "which ends the connection that has been silent longest.");
ABSL_FLAG(sluice::Rate, accept_rate, {},
          "Connections accepted in a second on each address; more wait in the backlog. 0: no "
          "limit.");
ABSL_FLAG(absl::Duration, idle_timeout, absl::InfiniteDuration(),
          "Ends a connection that was silent for so long; inf: never.");
ABSL_FLAG(absl::Duration, lifetime_timeout, absl::InfiniteDuration(),
          "Ends a connection so long after it began; inf: never.");
ABSL_FLAG(
    absl::Duration, half_closed_timeout, absl::Minutes(5),
    "Ends a connection of which one side has ended and that was silent for so long; inf: never.");
ABSL_FLAG(absl::Duration, drain_timeout, absl::Seconds(5),
          "How long a drain may take, after SIGTERM.");
ABSL_FLAG(sluice::ByteCount, memory, {},
          "Memory for messages and buffers (64MB); 0: a quarter of the machine's, at most 1GB.");
ABSL_FLAG(
    sluice::FileMode, unix_mode, {},
    "Mode of the file of a UNIX socket (0660): who may write to it may connect; umask: as the "
    "umask leaves it.");
ABSL_FLAG(std::string, log_level, "info", "trace, debug, info, warning, error or off.");

namespace sluice {

namespace {

[[noreturn]] void ExitWith(const std::string& line) {
  std::fprintf(stderr, "%s\n", line.c_str());
  std::exit(1);
}

}  // namespace

Options Options::FromFlags(int argc, char** argv) {
  // --help shows the common flags as well as the program's own; and no path of the machine that
  // built it.
  absl::FlagsUsageConfig usage;
  usage.contains_help_flags = [](absl::string_view file) {
    return !absl::StrContains(file, "absl/");
  };
  absl::SetFlagsUsageConfig(usage);
  // Abseil ends a process that sets it twice: a program may have its own, or come here again.
  if (absl::StartsWith(absl::ProgramUsageMessage(), "Warning: SetProgramUsageMessage() never")) {
    absl::SetProgramUsageMessage("A server made with Sluice.");
  }
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  if (rest.size() > 1) {
    ExitWith(absl::StrCat("error: unexpected argument \"", rest[1], "\"; see --help"));
  }
  Options options;
  options.listen = absl::GetFlag(FLAGS_listen);
  options.workers = static_cast<int>(absl::GetFlag(FLAGS_workers).value);
  options.max_connections = absl::GetFlag(FLAGS_max_connections).value;
  options.at_limit = absl::GetFlag(FLAGS_at_limit);
  options.accepts_per_second_max = absl::GetFlag(FLAGS_accept_rate).value;
  options.idle_timeout = absl::GetFlag(FLAGS_idle_timeout);
  options.lifetime_timeout = absl::GetFlag(FLAGS_lifetime_timeout);
  options.half_closed_timeout = absl::GetFlag(FLAGS_half_closed_timeout);
  options.drain_timeout = absl::GetFlag(FLAGS_drain_timeout);
  options.memory_bytes_max = absl::GetFlag(FLAGS_memory).bytes;
  options.unix_file_mode = absl::GetFlag(FLAGS_unix_mode).value;
  options.log_level = absl::GetFlag(FLAGS_log_level);
  const absl::StatusOr<LogLevel> level = ParseLogLevel(options.log_level);
  if (!level.ok()) ExitWith(absl::StrCat("error: --log_level: ", level.status().message()));
  SetLogLevel(*level);
  return options;
}

}  // namespace sluice
