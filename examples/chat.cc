// A chat: one line is one message, to all others in the room. Talk to it with two chat_clients.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/os/flags.h"
#include "sluice/examples/chat_member.h"
#include "sluice/examples/chat_rooms.h"
#include "sluice/sluice.h"

namespace sluice {

bool AbslParseFlag(absl::string_view text, SlowPolicy* policy, std::string* error) {
  const std::optional<SlowPolicy> parsed = ParseSlowPolicy(ToStd(text));
  if (parsed && *parsed != SlowPolicy::kConflate) {  // Messages of a room have no keys.
    return *policy = *parsed, true;
  }
  *error = "it must be park, drop_oldest, drop_newest or disconnect";
  return false;
}
std::string AbslUnparseFlag(SlowPolicy policy) { return std::string(SlowPolicyName(policy)); }

}  // namespace sluice

ABSL_FLAG(uint32_t, max_line, 8'192, "Longest line, in bytes; a longer one is skipped.");
ABSL_FLAG(sluice::SlowPolicy, slow, sluice::SlowPolicy::kDropOldest,
          "What happens to a message for a member who does not read: park (the room waits), "
          "drop_oldest, drop_newest, disconnect.");
ABSL_FLAG(uint32_t, queue, 256, "Messages that wait for a member who does not read.");
ABSL_FLAG(sluice::TimeSpan, park_timeout, {sluice::SubscribeOptions().park_timeout},
          "With --slow=park: how long the room waits for such a member; after it, the member's "
          "connection is ended.");

int main(int argc, char** argv) {
  sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
  sluice::SubscribeOptions options;
  options.slow = absl::GetFlag(FLAGS_slow);
  options.queue_messages_max = absl::GetFlag(FLAGS_queue);
  if (options.queue_messages_max == 0)
    runtime.KeepError(absl::InvalidArgumentError("--queue must be at least 1"));
  options.park_timeout = absl::GetFlag(FLAGS_park_timeout).value;
  if (options.park_timeout <= absl::ZeroDuration())
    runtime.KeepError(absl::InvalidArgumentError("--park_timeout must be longer than 0"));
  const uint32_t line_bytes_max = absl::GetFlag(FLAGS_max_line);
  if (line_bytes_max == 0 || line_bytes_max > 512 * 1024) {
    runtime.KeepError(absl::InvalidArgumentError("--max_line must be from 1 to 524288"));
  }
  const auto rooms = runtime.Spawn<chat::Rooms>(sluice::HubOptions{&chat::MissedNotice});
  runtime.Listen<chat::Member>("127.0.0.1:7000", rooms, line_bytes_max, options);
  return runtime.RunUntilSignal();
}
