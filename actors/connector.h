// Connect begins an outgoing connection with a session of class S on it: OnOpen follows, or
// OnClose(kConnectFailed). Numeric addresses only, one attempt; names and retries come with the
// connector.
//
// Thread: any.
// Errors: an address that cannot be read, or actors_max; what the network refuses is told to the
// session.
#ifndef SLUICE_ACTORS_CONNECTOR_H_
#define SLUICE_ACTORS_CONNECTOR_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "sluice/actors/acceptor.h"

namespace sluice {

template <class S, class... Args>
absl::StatusOr<Ref<S>> Connect(Runtime& runtime, std::string_view address, absl::Duration timeout,
                               Args... args) {
  static_assert(std::derived_from<S, Session>, "Connect<S>: S is a Session");
  const absl::StatusOr<Address> parsed = Address::Parse(address);
  if (!parsed.ok()) return parsed.status();
  SessionFactory factory = [args...](Worker& worker, Slot* slot) {
    internal::Construct<S>(worker, slot, args...);
  };
  const auto [slot, generation] = runtime.PlaceSlot(
      SpawnOptions{}, nullptr,
      [to = *parsed, timeout, factory = std::move(factory)](Worker& worker, Slot* made) {
        ConnectOn(worker, to, timeout, factory, made);
      });
  if (slot == nullptr) return absl::ResourceExhaustedError("actors_max actors are alive");
  return Ref<S>(slot, generation);
}

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTOR_H_
