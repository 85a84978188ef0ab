// Connecting is the state of a connection until it is connected: where it connects to, since when,
// for how long, and whether its connect has to be repeated.
//
// Owner:  the Connection, from its start until it is connected; most connections have none.
// Thread: the worker's.
// Bound:  one for a connection.
// Errors: none: it says when an attempt is over, and the Connection ends it.
#ifndef SLUICE_ACTORS_CONNECTION_CONNECTING_H_
#define SLUICE_ACTORS_CONNECTION_CONNECTING_H_

#include <cstdint>
#include <optional>

#include "sluice/core/os/address.h"

namespace sluice {

class Connecting {
 public:
  // `timeout_ms` counts from `now_ms`; kNever: the user has set no limit.
  Connecting(int64_t now_ms, int64_t timeout_ms);

  // Notes the address of the connect under way. `again`: the backlog of the listener is full, and
  // the connect is repeated until it has room.
  void To(const Address& address, bool again) {
    address_ = address;
    again_ = again;
  }
  const std::optional<Address>& address() const { return address_; }
  bool Again() const { return again_; }
  // The connect was repeated. `again`: once more without room.
  void Tried(int64_t now_ms, bool again) {
    tried_ms_ = now_ms;
    again_ = again;
  }

  // When the connect has failed. If the user has set no limit, it waits until `give_up_ms` at most,
  // which is kNever while the session has not closed.
  int64_t DeadlineMs(int64_t give_up_ms) const;
  // When something is due: the deadline, or the next attempt.
  int64_t NextMs(int64_t give_up_ms) const;

 private:
  std::optional<Address> address_;  // Empty: not known yet.
  int64_t since_ms_;
  int64_t timeout_ms_;
  int64_t tried_ms_;  // The last attempt.
  bool again_ = false;
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_CONNECTING_H_
