// A small broker. A publisher gets its OK when the broker has the message. A subscriber receives
// each message, or a name holds it until it is acknowledged. HELP lists the commands.
#include <cstdint>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client.h"
#include "sluice/core/os/flags.h"
#include "sluice/sluice.h"

ABSL_FLAG(uint32_t, topics_max, 1'024, "Most topics at once.");
ABSL_FLAG(uint32_t, subscriptions_max, 64,
          "Most subscriptions of a connection, and most names of a topic.");
ABSL_FLAG(uint32_t, message_max, 8'192, "Longest message, in bytes.");
ABSL_FLAG(uint32_t, window, 16, "Most messages of a name that are sent and not yet acknowledged.");
ABSL_FLAG(uint32_t, queue, 256, "Messages that may wait for one subscription, or for one name.");
ABSL_FLAG(sluice::TimeSpan, park_timeout, {absl::Seconds(10)},
          "With the policy park: how long publishers wait for one full queue.");

int main(int argc, char** argv) {
  sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
  const broker::Limits limits{
      absl::GetFlag(FLAGS_topics_max),  absl::GetFlag(FLAGS_subscriptions_max),
      absl::GetFlag(FLAGS_message_max), absl::GetFlag(FLAGS_window),
      absl::GetFlag(FLAGS_queue),       absl::GetFlag(FLAGS_park_timeout).value};
  const auto between = [&](const char* flag, uint32_t value, uint32_t most) {
    if (value >= 1 && value <= most) return;
    runtime.KeepError(
        absl::InvalidArgumentError(absl::StrCat("--", flag, " must be from 1 to ", most)));
  };
  between("topics_max", limits.topics_max, 65'536);
  between("subscriptions_max", limits.subscriptions_max, 512);
  between("message_max", limits.message_bytes_max, 256 * 1024);
  between("window", limits.window, 65'536);
  between("queue", limits.queue, 65'536);
  if (limits.park_timeout <= absl::ZeroDuration()) {
    runtime.KeepError(absl::InvalidArgumentError("--park_timeout must be longer than 0"));
  }
  const auto directory = runtime.Spawn<broker::Directory>(limits);
  runtime.Listen<broker::Client>("127.0.0.1:7070", directory, limits);
  return runtime.RunUntilSignal();
}
