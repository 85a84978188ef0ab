// Command lines, and options of any values: either they are taken, or the error says what is wrong.
#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/ascii.h"
#include "gtest/gtest.h"
#include "sluice/core/base/log.h"
#include "sluice/core/os/options.h"
#include "sluice/tests/fuzz/fuzz.h"
#include "sluice/tests/support/forwarding_os.h"

namespace sluice::testing {
namespace {

constexpr const char* kFlags[] = {
    "listen",        "workers",      "max_connections",  "at_limit",
    "accept_rate",   "idle_timeout", "lifetime_timeout", "half_closed_timeout",
    "drain_timeout", "memory",       "log_level",        "write_stalled_timeout",
    "shed_after",    "slow_handler", "keepalive_idle",   "unacknowledged_timeout"};

class SmallOs : public ForwardingOs {
 public:
  int64_t MemoryBytes() override { return int64_t{1} << 30; }
  int64_t DescriptorsMax() override { return 1'024; }
  void DescriptorsMaxRaise() override {}
  int ProcessorCount() override { return 2; }
};

void ExpectCompleteOrClear(Options options) {
  SmallOs os;
  const absl::Status status = options.Complete(os);
  if (!status.ok()) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_GT(status.message().size(), 10u);
    return;
  }
  EXPECT_GE(options.workers, 1);
  EXPECT_GE(options.max_connections, 1);
  EXPECT_GE(options.memory_bytes_max, options.MemoryBytesMin());
  EXPECT_LE(options.output_bytes_low, options.output_bytes_high);
  EXPECT_LE(options.output_bytes_high, options.output_bytes_max);
  EXPECT_GE(options.drain_timeout, absl::ZeroDuration());
  EXPECT_TRUE(options.Complete(os).ok());  // Complete options stay complete.
}

// Each value is either taken and then printed with the same meaning, or refused with a reason and
// without any change. The taken values form a command line that FromFlags takes.
void CommandLine(Reader& reader) {
  std::vector<std::string> arguments = {"program"};
  for (const char* name : kFlags) arguments.push_back(std::string("--") + name + "=");
  for (std::string& argument : arguments) {
    if (argument == "program") continue;
    const std::string name = argument.substr(2, argument.size() - 3);
    absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
    ASSERT_NE(flag, nullptr) << name;
    std::string error;
    ASSERT_TRUE(flag->ParseFrom(flag->DefaultValue(), &error)) << name << ": " << error;
  }
  while (!reader.Empty()) {
    const size_t i = reader.Number(std::size(kFlags) - 1);
    absl::CommandLineFlag* flag = absl::FindCommandLineFlag(kFlags[i]);
    const std::string text(reader.Take(reader.Number(31)));
    const std::string before = flag->CurrentValue();
    std::string error;
    if (!flag->ParseFrom(text, &error)) {
      EXPECT_NE(error, "") << kFlags[i] << '=' << text;
      EXPECT_EQ(flag->CurrentValue(), before);
      continue;
    }
    const std::string printed = flag->CurrentValue();
    EXPECT_TRUE(flag->ParseFrom(printed, &error)) << kFlags[i] << '=' << printed << ": " << error;
    EXPECT_EQ(flag->CurrentValue(), printed);
  }
  for (size_t i = 0; i < std::size(kFlags); ++i) {
    arguments[i + 1] += absl::FindCommandLineFlag(kFlags[i])->CurrentValue();
  }
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  const absl::CommandLineFlag* level = absl::FindCommandLineFlag("log_level");
  // FromFlags ends the process, with an error, at a bad level and at a control character.
  if (!ParseLogLevel(level->CurrentValue()).ok()) return;
  for (const std::string& argument : arguments) {
    if (std::any_of(argument.begin(), argument.end(),
                    [](char c) { return absl::ascii_iscntrl(static_cast<unsigned char>(c)); })) {
      return;
    }
  }
  ExpectCompleteOrClear(Options::FromFlags(static_cast<int>(argv.size()), argv.data()));
}

int64_t AnyNumber(Reader& reader) {
  const uint64_t number = reader.Number() >> reader.Number(63);
  return reader.Number(15) == 0 ? -static_cast<int64_t>(number >> 1)
                                : static_cast<int64_t>(number >> 1);
}

void AnyValues(Reader& reader) {
  Options options;
  uint32_t* const counts[] = {&options.actors_max,        &options.mailbox_messages_max,
                              &options.lane_messages_max, &options.outbox_messages_max,
                              &options.asks_max,          &options.answers_max,
                              &options.monitors_max,      &options.timers_max,
                              &options.tasks_max,         &options.names_max,
                              &options.blocking_calls_max};
  int* const ints[] = {
      &options.workers, &options.blocking_threads_max, &options.sockets_per_connection,
      &options.backlog, &options.keepalive_probes,     &options.notsent_bytes_max};
  int64_t* const longs[] = {&options.memory_bytes_max,       &options.max_connections,
                            &options.accepts_per_second_max, &options.accepts_burst_max,
                            &options.output_bytes_high,      &options.output_bytes_low,
                            &options.output_bytes_max,       &options.input_bytes_max};
  absl::Duration* const times[] = {&options.shed_after,       &options.linger_timeout,
                                   &options.drain_timeout,    &options.probe_after,
                                   &options.slow_handler,     &options.idle_timeout,
                                   &options.lifetime_timeout, &options.half_closed_timeout,
                                   &options.close_timeout,    &options.write_stalled_timeout};
  while (!reader.Empty()) {
    switch (reader.Number(3)) {
      case 0:
        *counts[reader.Number(std::size(counts) - 1)] = static_cast<uint32_t>(AnyNumber(reader));
        break;
      case 1:
        *ints[reader.Number(std::size(ints) - 1)] = static_cast<int>(AnyNumber(reader));
        break;
      case 2:
        *longs[reader.Number(std::size(longs) - 1)] = AnyNumber(reader);
        break;
      case 3:
        *times[reader.Number(std::size(times) - 1)] = absl::Nanoseconds(AnyNumber(reader));
        break;
    }
  }
  ExpectCompleteOrClear(options);
}

}  // namespace
}  // namespace sluice::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::testing::Reader reader(data, size);
  if (reader.Bool()) {
    sluice::testing::AnyValues(reader);
  } else {
    sluice::testing::CommandLine(reader);
  }
  return 0;
}
