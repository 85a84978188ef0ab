// Connect starts an outgoing connection with a session of class S: OnOpen follows, or
// OnClose(kConnectFailed). Connect takes a numeric address and makes one attempt; a pipe's
// ConnectPartner takes names.
//
// Thread: any.
// Errors: the address cannot be parsed, the timeout is not longer than 0, actors_max actors live,
//         or the runtime's drain is over or past its deadline (FailedPrecondition). An error of the
//         network goes to the session (OnClose). A socket that the kernel has connected to itself
//         counts as refused.
#ifndef SLUICE_ACTORS_PEERS_CONNECTOR_H_
#define SLUICE_ACTORS_PEERS_CONNECTOR_H_

#include <concepts>
#include <string_view>
#include <type_traits>
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

// Connects in `slot`, on its worker's thread; `factory` constructs the session there.
void ConnectOn(Worker& worker, const Address& address, absl::Duration timeout,
               const SessionFactory& factory, Slot* slot);

template <class S, class... Args>
absl::StatusOr<Ref<S>> Connect(Runtime& runtime, std::string_view address, absl::Duration timeout,
                               Args... args) {
  static_assert(std::derived_from<S, Session>, "Connect<S>: S is a Session");
  using Refused = internal::SpawnRefused<S, const Args&...>;
  if constexpr (!std::is_void_v<Refused>) return Refused();
  const absl::StatusOr<Address> parsed = Address::Parse(address);
  if (!parsed.ok()) return parsed.status();
  if (absl::Status mapped = RefuseMapped(*parsed); !mapped.ok()) return mapped;
  if (timeout <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(
        "the connect timeout must be longer than 0 (or inf for no limit)");
  }
  SessionFactory factory = [args...](Worker& worker, Slot* slot) {
    if constexpr (std::is_void_v<Refused>) internal::Construct<S>(worker, slot, args...);
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
