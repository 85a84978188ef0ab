// Connect starts an outgoing connection with a session of class S: OnOpen follows, or
// OnClose(kConnectFailed).
//
//   Connect<Caller>(runtime, "10.0.0.1:80", absl::Seconds(5));  // One attempt, at an address.
//
//   // In a task of an actor: goes on when the connection is open (it may have ended since), or has
//   // failed.
//   auto caller = co_await Connect<Caller>(this, "api.example.org:80", absl::Seconds(5));
//
// A task may connect to a name, which is looked up now (actors/peers/resolver.h); if there are
// several addresses, each is tried in turn, with its part of the time that is left.
//
// Owner:  without a task, the session is nobody's child. The session of a task is a child of its
//         actor, on the same worker; if the task is cancelled while it connects, it is stopped.
// Thread: any; with a task, the worker's.
// Bound:  as a spawn, and of a task as its questions (asks_max).
// Errors: the address cannot be parsed, the timeout is not longer than 0 (InvalidArgument),
//         actors_max actors live (ResourceExhausted), or the runtime's drain is over or past its
//         deadline (FailedPrecondition). An error of the network goes to the session (OnClose), and
//         to the task (Unavailable, with the address and the system's error). A socket that the
//         kernel has connected to itself counts as refused.
#ifndef SLUICE_ACTORS_PEERS_CONNECTOR_H_
#define SLUICE_ACTORS_PEERS_CONNECTOR_H_

#include <concepts>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/actors/connection/session.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/os/address.h"
#include "sluice/core/os/mapped_ip4.h"
#include "sluice/core/os/target.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

// Connects in `slot`, on its worker's thread; `factory` constructs the session there. `opened` is
// resolved when the connection is open, just before OnOpen, or says why it will not be.
void ConnectOn(Worker& worker, const Address& address, absl::Duration timeout,
               const SessionFactory& factory, Slot* slot, Promise<std::monostate> opened = {});

namespace internal {

absl::Status RefuseConnectTimeout(absl::Duration timeout);
absl::Status NoConnectRoom();
// The part of the time until `deadline_ms` (by the clock that says `now_ms`) for one of `addresses`
// that are left.
absl::Duration ConnectPart(int64_t now_ms, int64_t deadline_ms, size_t addresses);

// The actor whose task connects, and the place of the call.
struct ConnectFrom {
  ConnectFrom(Actor* of, Where at = SLUICE_HERE) : actor(*of), where(at) {}  // Implicit.
  Actor& actor;
  Where where;
};
// Connects, and waits until the connection is open.
Task<absl::StatusOr<Ref<Session>>> ConnectAndWait(ConnectFrom from, absl::StatusOr<Target> target,
                                                  absl::Duration timeout, SessionFactory factory);

template <class S, class... Args>
SessionFactory FactoryOf(Args... args) {
  return [args...](Worker& worker, Slot* slot) { Construct<S>(worker, slot, args...); };
}

}  // namespace internal

template <class S, class... Args>
absl::StatusOr<Ref<S>> Connect(Runtime& runtime, std::string_view address, absl::Duration timeout,
                               Args... args) {
  static_assert(std::derived_from<S, Session>, "Connect<S>: S is a Session");
  using Refused = internal::SpawnRefused<S, const Args&...>;
  if constexpr (!std::is_void_v<Refused>) return Refused();
  const absl::StatusOr<Address> parsed = Address::Parse(address);
  if (!parsed.ok()) return parsed.status();
  if (absl::Status mapped = RefuseMapped(*parsed); !mapped.ok()) return mapped;
  if (absl::Status bad = internal::RefuseConnectTimeout(timeout); !bad.ok()) return bad;
  SessionFactory factory;
  if constexpr (std::is_void_v<Refused>) factory = internal::FactoryOf<S>(std::move(args)...);
  const auto [slot, generation] = internal::PlaceSlot(
      runtime.shared(), SpawnOptions{}, nullptr,
      [to = *parsed, timeout, factory = std::move(factory)](Worker& worker, Slot* made) {
        ConnectOn(worker, to, timeout, factory, made);
      });
  if (slot == nullptr && runtime.shared().outside_gate.IsShut()) {
    return absl::FailedPreconditionError(
        "this runtime has been drained, or the deadline of its drain has passed");
  }
  if (slot == nullptr) return internal::NoConnectRoom();
  return Ref<S>(slot, generation);
}

// GCC 12 warns of a coroutine template in a header whose argument is of an unnamed namespace
// (core/actor/task_group.h).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wsubobject-linkage"

namespace internal {

template <class S>
Task<absl::StatusOr<Ref<S>>> ConnectTask(ConnectFrom from, absl::StatusOr<Target> target,
                                         absl::Duration timeout, SessionFactory factory) {
  const auto open = co_await ConnectAndWait(from, std::move(target), timeout, std::move(factory));
  if (!open.ok()) co_return open.status();
  co_return Ref<S>(open->slot(), open->generation());
}

}  // namespace internal

#pragma GCC diagnostic pop

template <class S, class... Args>
Task<absl::StatusOr<Ref<S>>> Connect(internal::ConnectFrom from, absl::StatusOr<Target> target,
                                     absl::Duration timeout, Args&&... args) {
  static_assert(std::derived_from<S, Session>, "Connect<S>: S is a Session");
  static_assert(!(internal::kBrokenInCoAwait<Args> || ...), SLUICE_DESTROYED_TWICE);
  using Refused = internal::SpawnRefused<S, const std::decay_t<Args>&...>;
  if constexpr (!std::is_void_v<Refused>) {
    return Refused();
  } else {
    return internal::ConnectTask<S>(
        from, std::move(target), timeout,
        internal::FactoryOf<S>(std::decay_t<Args>(std::forward<Args>(args))...));
  }
}
template <class S, class... Args>
Task<absl::StatusOr<Ref<S>>> Connect(internal::ConnectFrom from, std::string_view target,
                                     absl::Duration timeout, Args&&... args) {
  return Connect<S>(from, Target::Parse(target), timeout, std::forward<Args>(args)...);
}

}  // namespace sluice

#endif  // SLUICE_ACTORS_PEERS_CONNECTOR_H_
