// OutputListener writes to a connection on behalf of others, as a hub's subscriber does, or listens
// to what becomes of it.
//
// Owner:  its maker; the connection only lists it.
// Thread: the connection's worker's.
// Bound:  the links of one list.
// Errors: none. Each listener that was added either removes itself, or gets OnOutputEnded once.
#ifndef SLUICE_ACTORS_CONNECTION_OUTPUT_LISTENER_H_
#define SLUICE_ACTORS_CONNECTION_OUTPUT_LISTENER_H_

#include <cstdint>

#include "sluice/core/base/intrusive_list.h"

namespace sluice {

class Connection;
struct ListenerTag {};

class OutputListener : public ListNode<ListenerTag> {
 public:
  virtual void OnOutputLow(Connection& connection) = 0;
  // Write what is held back, as far as the output takes it: the session's last bytes follow.
  virtual void OnFlush(Connection& connection) = 0;
  // The session's OnDrain has run. Ends no listener.
  virtual void OnSessionDrains() {}
  // The last call: the connection takes no more output, as its write side is closing or it has
  // ended. The listener is off the connection's list already.
  virtual void OnOutputEnded(Connection& connection) = 0;
  // Bytes of the budget that this listener holds for the connection; the connection's end frees
  // them.
  virtual int64_t HeldBytes() const { return 0; }
  // True: the listener holds back output that it will write by itself.
  virtual bool Holds() const { return false; }

 protected:
  virtual ~OutputListener() = default;
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_OUTPUT_LISTENER_H_
