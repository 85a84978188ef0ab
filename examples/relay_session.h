// Relay passes a connection on to another server, byte for byte, both ways.
//
// Owner:  its slot. Thread: its worker's. Bound and errors: Pipe's.
#ifndef SLUICE_EXAMPLES_RELAY_SESSION_H_
#define SLUICE_EXAMPLES_RELAY_SESSION_H_

#include "absl/time/time.h"
#include "sluice/sluice.h"

namespace relay {

struct Upstream {  // Outlives the runtime.
  sluice::Target target;
  absl::Duration connect_timeout;
};

class Relay : public sluice::Pipe {
 public:
  explicit Relay(const Upstream* upstream) : upstream_(upstream) {}
  void OnOpen() override { ConnectPartner(upstream_->target, upstream_->connect_timeout); }

 private:
  const Upstream* const upstream_;
};

}  // namespace relay

#endif  // SLUICE_EXAMPLES_RELAY_SESSION_H_
