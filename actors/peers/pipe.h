// Pipe is a session that copies: it writes its input to its partner's connection, in the same turn,
// and the partner does the same in the other direction. A relay is a pair of pipes.
//
//   class Relay : public sluice::Pipe {
//     void OnOpen() override { ConnectPartner(upstream, absl::Seconds(3)); }
//   };
//
// Each direction has its own backpressure: a side is read only while the output of the *other* side
// is below its watermark. A slow reader thus closes the TCP window of the peer that writes to it,
// and of no other peer. No message passes between the two, and neither ever parks on the other, so
// a pair cannot deadlock. Bytes that the kernel takes at once are never queued.
//
// Owner:  its slot; the partner is an actor of its own. The end of one is the end of both.
// Thread: its worker's; the partner lives on the same worker.
// Bound:  each direction holds output_bytes_high and one read; nothing while it is at rest. Nothing
//         is read until the partner is connected: the peer's bytes wait in the kernel.
// Errors: the end of one side is passed on to the other in its kind:
//           FIN: a FIN behind the last byte; the other direction goes on.
//           Reset, failed connect, timeout, no memory: a reset. But if a reset follows a FIN, the
//             other side has the complete stream: it gets all of it, and is closed.
//           Silence (idle_timeout): a FIN, if both directions are open.
//
// In a drain a pair goes on until it ends by itself. A pair that is open both ways, holds nothing
// and was silent for kDrainQuiet is closed. At the deadline the other pairs are reset.
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
  // Long enough for most questions under way to be answered. A longer round trip counts instead. At
  // most a quarter of drain_timeout.
  static constexpr absl::Duration kDrainQuiet = absl::Milliseconds(500);

  ~Pipe() override;
  bool IsKind(const void* kind) const override {
    return kind == KindOf<Pipe>() || Session::IsKind(kind);
  }

  // For a partner that connects; a pipe that was accepted overrides this to connect.
  void OnOpen() override;
  void OnData(Input& in) final;
  void OnEof() final;
  void OnInputFull() override;
  void OnDrain() final;
  void OnClose(CloseReason reason) final;

 protected:
  // Starts an outgoing connection on this worker; its session becomes this pipe's partner. Call it
  // once, in OnOpen (or later, if OnOpen holds the reading). A name is looked up now, or
  // shares the look-up of the name that is under way (actors/peers/resolver.h). If there are
  // several addresses, each is tried in turn, with its part of the time that is left. There is no
  // answer: on failure, or after `timeout`, this side is reset.
  void ConnectPartner(const Target& target, absl::Duration timeout);
  // Pairs with an existing pipe on the same worker instead. Both connections are established or
  // begun.
  void PairWith(Pipe& partner);

 private:
  // Addresses that are still to be tried, until the partner is connected.
  struct Attempts {
    std::vector<Address> addresses;  // The next address is the last.
    int64_t deadline_ms = 0;
    std::string target;  // As the log shows it.
  };

  void OnLookedUp(absl::StatusOr<std::vector<Address>> addresses);
  void ConnectNext();
  void TryAgain();
  void GiveUp(std::string_view why);
  void LogConnectFailed(const Address& to, int error) final;
  void LogFailure(std::string_view why);  // Names the target.
  void LookWhetherQuiet();
  void PartnerEnded(CloseReason reason);

  std::unique_ptr<Attempts> attempts_;
  ReadHold hold_;
  bool end_passed_on_ = false;  // The FIN of this side's peer was passed on, behind all its bytes.
  Pipe* partner_ = nullptr;     // nullptr before there is one, and after either has ended.
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_PEERS_PIPE_H_
