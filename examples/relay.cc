// Passes each connection on to another server, byte for byte, both ways.
#include <string>

#include "absl/flags/flag.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/actors/connection/sockets.h"
#include "sluice/core/os/flags.h"
#include "sluice/examples/relay_session.h"
#include "sluice/sluice.h"

ABSL_FLAG(
    std::string, upstream, "",
    "The server to pass connections on to: 127.0.0.1:80, unix:PATH, or api.example.org:80, looked "
    "up for each connection.");
ABSL_FLAG(sluice::TimeSpan, connect_timeout, {absl::Seconds(3)},
          "How long the upstream may take to answer.");

namespace {

absl::StatusOr<relay::Upstream> UpstreamFromFlags() {
  const std::string text = absl::GetFlag(FLAGS_upstream);
  if (text.empty()) return absl::InvalidArgumentError("--upstream=ADDRESS is missing");
  const absl::StatusOr<sluice::Target> target = sluice::Target::Parse(text);
  if (!target.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--upstream: ", target.status().message()));
  }
  const absl::Duration timeout = absl::GetFlag(FLAGS_connect_timeout).value;
  if (timeout <= absl::ZeroDuration())
    return absl::InvalidArgumentError("--connect_timeout must be longer than 0");
  return relay::Upstream{*target, timeout};
}

// A relay to itself would fill up with its own connections. Refuses such an upstream if its address
// shows it.
absl::Status CheckUpstream(sluice::Runtime& runtime, const sluice::Target& target) {
  for (const std::string& text : runtime.Listening()) {
    const absl::StatusOr<sluice::Address> listening = sluice::Address::Parse(text);
    if (!listening.ok()) continue;
    // Looks a name up only if its port is one that this relay listens on.
    const std::string port = absl::StrCat(":", listening->port());
    if (target.IsName() && !absl::EndsWith(target.ToString(), port)) continue;
    const auto addresses = target.LookUp(runtime.os());
    if (!addresses.ok()) continue;  // Each connection looks the name up again.
    for (const sluice::Address& address : *addresses) {
      if (!sluice::LeadsTo(runtime.os(), *listening, address)) continue;
      return absl::InvalidArgumentError(absl::StrCat("--upstream=", target.ToString(),
                                                     " is this relay itself, which listens on ",
                                                     text, ": it must be another server"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  sluice::Options options = sluice::Options::FromFlags(argc, argv);
  options.sockets_per_connection = 2;
  const absl::StatusOr<relay::Upstream> upstream = UpstreamFromFlags();
  sluice::Runtime runtime(options);
  if (!upstream.ok()) runtime.KeepError(upstream.status());
  runtime.Listen<relay::Relay>("127.0.0.1:7003", upstream.ok() ? &*upstream : nullptr);
  if (upstream.ok()) {
    if (absl::Status status = CheckUpstream(runtime, upstream->target); !status.ok()) {
      runtime.KeepError(status);
    }
  }
  return runtime.RunUntilSignal();
}
