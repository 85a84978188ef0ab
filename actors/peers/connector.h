// Connect begins an outgoing connection with a session of class S on it: OnOpen follows, or
// OnClose(kConnectFailed). Numeric addresses only, and one attempt; a pipe's ConnectPartner takes
// names.
//
// Thread: any.
// Errors: an address that cannot be read, a timeout that is not longer than 0, actors_max, or the
//         runtime's drain is over, or its deadline has passed (FailedPrecondition); what
// the network refuses is told to the session. A socket that the kernel has connected to itself
// counts as refused.
#ifndef SLUICE_ACTORS_PEERS_CONNECTOR_H_
#define SLUICE_ACTORS_PEERS_CONNECTOR_H_

#include <concepts>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/actors/connection/session.h"
#include "sluice/core/os/address.h"
#include "sluice/core/os/mapped_ip4.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

// In a slot of the worker that calls. `factory` makes its session there.
void ConnectOn(Worker& worker, const Address& address, absl::Duration timeout,
               const SessionFactory& factory, Slot* slot);

template <class S, class... Args>
absl::StatusOr<Ref<S>> Connect(Runtime& runtime, std::string_view address, absl::Duration timeout,
                               Args... args) {
  static_assert(std::derived_from<S, Session>, "Connect<S>: S is a Session");
  const absl::StatusOr<Address> parsed = Address::Parse(address);
  if (!parsed.ok()) return parsed.status();
  if (absl::Status mapped = RefuseMapped(*parsed); !mapped.ok()) return mapped;
  if (timeout <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(
        "the time to connect in must be longer than 0 (or inf for no limit)");
  }
  SessionFactory factory = [args...](Worker& worker, Slot* slot) {
    internal::Construct<S>(worker, slot, args...);
  };
  const auto [slot, generation] = internal::PlaceSlot(
      runtime.shared(), SpawnOptions{}, nullptr,
      [to = *parsed, timeout, factory = std::move(factory)](Worker& worker, Slot* made) {
        ConnectOn(worker, to, timeout, factory, made);
      });
  if (slot == nullptr && runtime.shared().outside_gate.IsShut()) {
    return absl::FailedPreconditionError(
        "this runtime has been drained, or the deadline of its drain has passed");
  }
  if (slot == nullptr) return absl::ResourceExhaustedError("actors_max actors are alive");
  return Ref<S>(slot, generation);
}

}  // namespace sluice

#endif  // SLUICE_ACTORS_PEERS_CONNECTOR_H_
