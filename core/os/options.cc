#include "sluice/core/os/options.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/base/log.h"
#include "sluice/core/os/os.h"

namespace sluice {

namespace {

constexpr int kWorkersMax = 256;
constexpr uint32_t kActorsMax = uint32_t{1} << 30;  // 128 GiB of slots; their ids are 32 bits.
constexpr int kBlockingThreadsMax = 1'024;
constexpr int64_t kDescriptorsKept = 64;  // For everything but connections.
constexpr int64_t kConnectionsDefaultMax = 65'536;
constexpr int64_t kMemoryDefaultMax = int64_t{1} << 30;
constexpr int64_t kMemoryMax = int64_t{1} << 60;       // The most that the budget's word can count.
constexpr int64_t kBufferBytesMax = int64_t{1} << 31;  // For one connection.
// Linux accepts no more (include/net/tcp.h): it would keep its own 2 h, 75 s and 9 instead.
constexpr absl::Duration kKeepaliveMax = absl::Seconds(32'767);
constexpr int kKeepaliveProbesMax = 127;

absl::Status OutOfRange(absl::string_view name, int64_t value, int64_t low, int64_t high) {
  return absl::InvalidArgumentError(
      absl::StrFormat("%s = %d is out of range: it must be from %d to %d", name, value, low, high));
}

absl::Status CheckPositive(absl::string_view name, absl::Duration value) {
  if (value > absl::ZeroDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%s = %s is not a time-out: it must be longer than 0 (or inf for none)", name,
                      absl::FormatDuration(value)));
}

absl::Status CheckKeepalive(absl::string_view name, absl::Duration value, bool may_be_off) {
  if (value >= absl::Seconds(1) && value <= kKeepaliveMax) return absl::OkStatus();
  if (may_be_off && value == absl::InfiniteDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s = %s is out of range: it must be from 1s to %s%s", name, absl::FormatDuration(value),
      absl::FormatDuration(kKeepaliveMax), may_be_off ? " (or inf for no keepalive)" : ""));
}

}  // namespace

int64_t Options::MemoryBytesMin() const {
  return int64_t{16} * workers * kReadHeadroomBytes + output_bytes_max + input_bytes_max;
}

int64_t Options::ConnectionsWithDescriptors(Os& os) const {
  const int64_t descriptors = os.DescriptorsMax();
  // Few descriptors must not prevent a start: below twice kDescriptorsKept, half of them are for
  // connections.
  return std::max(descriptors - kDescriptorsKept, descriptors / 2) / sockets_per_connection;
}

int64_t Options::DescriptorsWanted() const {
  return max_connections * sockets_per_connection + kDescriptorsKept;
}

absl::Status Options::Complete(Os& os) {
  if (workers == 0) workers = std::min(os.ProcessorCount(), kWorkersMax);
  if (workers < 1 || workers > kWorkersMax) return OutOfRange("workers", workers, 1, kWorkersMax);
  if (sockets_per_connection < 1 || sockets_per_connection > 16) {
    return OutOfRange("sockets_per_connection", sockets_per_connection, 1, 16);
  }
  if (max_connections == 0) {
    max_connections = std::min(kConnectionsDefaultMax, ConnectionsWithDescriptors(os));
  } else if (max_connections > ConnectionsWithDescriptors(os)) {
    // The soft limit is low for the sake of programs that use select().
    os.DescriptorsMaxRaise();
  }
  if (max_connections < 1) return OutOfRange("max_connections", max_connections, 1, INT32_MAX);
  if (max_connections > INT32_MAX)
    return OutOfRange("max_connections", max_connections, 1, INT32_MAX);
  if (actors_max < 1 || actors_max > kActorsMax) {
    return OutOfRange("actors_max", actors_max, 1, kActorsMax);
  }
  if (mailbox_messages_max < 1 || mailbox_messages_max > INT32_MAX) {
    return OutOfRange("mailbox_messages_max", mailbox_messages_max, 1, INT32_MAX);
  }
  if (lane_messages_max < 1 || lane_messages_max > 1 << 20) {
    return OutOfRange("lane_messages_max", lane_messages_max, 1, 1 << 20);
  }
  if (outbox_messages_max < 1)
    return OutOfRange("outbox_messages_max", outbox_messages_max, 1, UINT32_MAX);
  if (answers_max < 1) return OutOfRange("answers_max", answers_max, 1, UINT32_MAX);
  if (tasks_max < 1) return OutOfRange("tasks_max", tasks_max, 1, UINT32_MAX);
  if (blocking_threads_max < 1 || blocking_threads_max > kBlockingThreadsMax) {
    return OutOfRange("blocking_threads_max", blocking_threads_max, 1, kBlockingThreadsMax);
  }
  if (blocking_calls_max < 1 || blocking_calls_max > INT32_MAX) {
    return OutOfRange("blocking_calls_max", blocking_calls_max, 1, INT32_MAX);
  }
  if (accepts_per_second_max < 0 || accepts_per_second_max > kAcceptRateMax) {
    return OutOfRange("accepts_per_second_max", accepts_per_second_max, 0, kAcceptRateMax);
  }
  if (accepts_burst_max < 0 || accepts_burst_max > kAcceptRateMax) {
    return OutOfRange("accepts_burst_max", accepts_burst_max, 0, kAcceptRateMax);
  }
  if (!log_level.empty() && !ParseLogLevel(log_level).ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("log_level: ", ParseLogLevel(log_level).status().message()));
  }
  if (unix_file_mode < 0 || unix_file_mode > 0777) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "unix_file_mode = %#o is no file mode: it must be from 0 to 0777", unix_file_mode));
  }
  if (backlog < 1) return OutOfRange("backlog", backlog, 1, INT32_MAX);
  if (output_bytes_low < 0 || output_bytes_low > output_bytes_high ||
      output_bytes_high > output_bytes_max) {
    return absl::InvalidArgumentError(
        absl::StrFormat("output watermarks must rise: 0 <= low %d <= high %d <= max %d",
                        output_bytes_low, output_bytes_high, output_bytes_max));
  }
  if (output_bytes_max > kBufferBytesMax)
    return OutOfRange("output_bytes_max", output_bytes_max, 0, kBufferBytesMax);
  if (input_bytes_max < 1 || input_bytes_max > kBufferBytesMax)
    return OutOfRange("input_bytes_max", input_bytes_max, 1, kBufferBytesMax);
  if (memory_bytes_max == 0) {
    memory_bytes_max =
        std::max(MemoryBytesMin(), std::min(kMemoryDefaultMax, os.MemoryBytes() / 4));
  }
  if (memory_bytes_max < MemoryBytesMin()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "memory_bytes_max = %d (--memory) is too small: %d workers need at least %d bytes, besides "
        "the fixed part",
        memory_bytes_max, workers, MemoryBytesMin()));
  }
  if (memory_bytes_max > kMemoryMax)
    return OutOfRange("memory_bytes_max", memory_bytes_max, MemoryBytesMin(), kMemoryMax);
  for (const auto& [name, value] : {
           std::pair<absl::string_view, absl::Duration>{"idle_timeout", idle_timeout},
           {"lifetime_timeout", lifetime_timeout},
           {"half_closed_timeout", half_closed_timeout},
           {"write_stalled_timeout", write_stalled_timeout},
           {"linger_timeout", linger_timeout},
           {"close_timeout", close_timeout},
           {"slow_handler", slow_handler},
           {"probe_after", probe_after},
           {"shed_after", shed_after},
           {"unacknowledged_timeout", unacknowledged_timeout},
       }) {
    if (absl::Status status = CheckPositive(name, value); !status.ok()) return status;
  }
  if (absl::Status status = CheckKeepalive("keepalive_idle", keepalive_idle, /*may_be_off=*/true);
      !status.ok()) {
    return status;
  }
  if (absl::Status status =
          CheckKeepalive("keepalive_interval", keepalive_interval, /*may_be_off=*/false);
      !status.ok()) {
    return status;
  }
  if (keepalive_probes < 1 || keepalive_probes > kKeepaliveProbesMax) {
    return OutOfRange("keepalive_probes", keepalive_probes, 1, kKeepaliveProbesMax);
  }
  if (notsent_bytes_max < 1) {
    return OutOfRange("notsent_bytes_max", notsent_bytes_max, 1, INT32_MAX);
  }
  if (drain_timeout < absl::ZeroDuration()) {
    return absl::InvalidArgumentError(absl::StrFormat("drain_timeout = %s: it cannot be negative",
                                                      absl::FormatDuration(drain_timeout)));
  }
  return absl::OkStatus();
}

}  // namespace sluice
