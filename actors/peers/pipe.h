// Pipe is a session that copies: what it reads is written to its partner's connection, in the same
// turn, and what the partner reads to its own. A relay is two of them.
//
//   class Relay : public sluice::Pipe {
//     void OnOpen() override { ConnectPartner(upstream, absl::Seconds(3)); }
//   };
//
// Each direction has its own back-pressure: a side is read only while the *other* side's output is
// below its watermark, so a slow reader closes the TCP window of the writer opposite, and of nobody
// else. No message passes between the two and neither ever parks on the other, so the pair cannot
// lock itself. What the kernel takes at once is never queued.
//
// Owner:  its slot; the partner is an actor of its own. The end of one is the end of both.
// Thread: its worker's; the partner lives on the same one.
// Bound:  each direction holds output_bytes_high and one read; nothing while it is at rest. Before
//         the partner's connection stands nothing is read: what the peer sends waits in the kernel.
// Errors: the end of one side is passed on as what it is. A FIN: behind the last byte, and the
// other direction goes on. A reset, a connect that fails, a time-out, no memory: a reset; but where
// a reset comes behind a FIN, the other side has a whole stream: it gets all of it, and is closed.
// Silence (idle_timeout): a FIN, if both directions are open.
//
// In a drain a pair goes on until it ends by itself. One that is open both ways, holds nothing and
// was silent for kDrainQuiet is closed; at the deadline the rest is reset.
#ifndef SLUICE_ACTORS_PEERS_PIPE_H_
#define SLUICE_ACTORS_PEERS_PIPE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/actors/connection/session.h"
#include "sluice/core/os/address.h"
#include "sluice/core/os/target.h"

namespace sluice {

class Pipe : public Session {
 public:
  // Long enough for most questions under way to be answered; where a round trip takes longer, that
  // counts. At most a quarter of drain_timeout.
  static constexpr absl::Duration kDrainQuiet = absl::Milliseconds(500);

  ~Pipe() override;

  // A partner's own; one that accepts overrides it to connect.
  void OnOpen() override;
  void OnData(Input& in) final;
  void OnEof() final;
  void OnInputFull() override;
  void OnDrain() final;
  void OnClose(CloseReason reason) final;

 protected:
  // Begins an outgoing connection, on this worker, whose session is this one's partner. Once, in
  // OnOpen (or later, if OnOpen has paused the reading). A name is looked up now, or
  // shares the look-up of it that is under way (actors/peers/resolver.h); of several addresses each
  // is tried in turn, with its part of the time that is left. What comes of it is not answered:
  // where it fails, or after `timeout`, this side is reset.
  void ConnectPartner(const Target& target, absl::Duration timeout);
  // Or with one that is there already, on the same worker. Both connections stand or are begun.
  void PairWith(Pipe& partner);

 private:
  // What is still to be tried, until the partner is connected.
  struct Attempts {
    std::vector<Address> addresses;  // The next one last.
    int64_t deadline_ms = 0;
    std::string target;  // As the log has it.
  };

  void OnLookedUp(absl::StatusOr<std::vector<Address>> addresses);
  void ConnectNext();
  void TryAgain();
  void GiveUp(std::string_view why);
  void LogConnectFailed(const Address& to, int error) final;
  void LogFailure(std::string_view why);  // Of what it is to be connected to.
  void LookWhetherQuiet();
  void PartnerEnded(CloseReason reason);

  std::unique_ptr<Attempts> attempts_;
  bool end_passed_on_ = false;  // The partner has had all that this side's peer has sent.
  Pipe* partner_ = nullptr;     // Null before it is there, and once either has ended.
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_PEERS_PIPE_H_
