// Acceptor owns listening sockets: it takes connections up to a limit, gives each to the worker
// that has the fewest, and never accepts what it cannot hold.
//
//   runtime.Listen<Echo>("127.0.0.1:7001");
//
// Owner:  an actor like any other; Listen places it.
// Thread: its worker's. Its Ref takes the messages below from anywhere.
// Bound:  max_connections at once. At the limit: refuse (accept and close), wait (leave them in the
//         backlog), or evict_idle (end the longest silent). accepts_per_second_max on each address.
// Errors: Listen's are kept by the Runtime. EMFILE, ENFILE, ENOBUFS, ENOMEM on accept pause it with
//         back-off; a spare descriptor lets it refuse politely, or take a newcomer for whom another
//         one is ended, where that is the policy. All are counted.
#ifndef SLUICE_ACTORS_PEERS_ACCEPTOR_H_
#define SLUICE_ACTORS_PEERS_ACCEPTOR_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/connection/session.h"
#include "sluice/actors/connection/sockets.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/base/log_limit.h"
#include "sluice/core/os/address.h"
#include "sluice/core/os/fd.h"
#include "sluice/core/runtime/runtime.h"

namespace sluice {

// Messages to an acceptor.
struct SuspendAccept {};  // Newcomers wait in the backlog.
struct ResumeAccept {};
// accepts_per_second_max and accepts_burst_max, of each address.
struct SetAcceptRate {
  int64_t per_second_max = 0;
  int64_t burst_max = 0;
};
struct SetConnectionLimit {
  int64_t max_connections = 0;
  AtLimit at_limit = AtLimit::kRefuse;
};

// To an acceptor: that worker has done what it could to end one. Reserved by the question: one at a
// time.
struct EvictionDoneControl {
  void Run(Worker& at, Slot* slot, uint32_t generation) const;
};

class Acceptor : public Actor {
 public:
  static constexpr bool kRestartable = false;  // Its sockets end with it.

  Acceptor(std::vector<ListeningSocket> sockets, SessionFactory factory);
  Acceptor(ListeningSockets sockets, SessionFactory factory);
  ~Acceptor() override;

  void OnStart() override;
  void On(SuspendAccept);
  void On(ResumeAccept);
  void On(SetConnectionLimit limit);
  void On(SetAcceptRate rate);

  void ConnectionEnded(int worker);
  void EvictionDone();
  int64_t OpenConnections() const { return open_; }
  std::vector<Address> Addresses() const;  // Where it listens; a port that was 0 is the one it got.

 private:
  // The descriptor's side: it hears readiness and drains.
  class Io : public IoHandler {
   public:
    explicit Io(Acceptor& acceptor) : acceptor_(&acceptor) {}
    void OnEvents(uint32_t) override;
    void OnTurn() override;
    void OnSliceEnd() override {}
    void OnUnparked() override {}
    void OnActorEnded(bool) override;
    void OnDrain() override;
    void OnDrainClose() override {}
    void OnShutdown() override;

   private:
    Acceptor* acceptor_;
  };

  enum class Accepted : uint8_t { kOne, kNone, kError, kPaused };

  void AcceptSome();
  Accepted AcceptOne(ListeningSocket& socket);
  void OutOfResources(int error);
  Accepted AcceptBySpare(ListeningSocket& socket, int error);
  void Take(int fd, bool tcp);
  void TurnAway(OwnedFd fd, CloseReason reason);
  void TendHeld();
  void TurnAwayHeld(CloseReason reason);
  void Evict();
  bool RateAllows(const ListeningSocket& socket, int64_t* wait_ns) const;
  void CountAccept(ListeningSocket& socket);
  void WaitForRate(int64_t wait_ns);
  void EndIo();
  bool TakeSpare();
  void HandOff(int fd, bool tcp);
  void Pause();
  void Wake();
  void CloseSockets();
  bool AtTheLimit() const { return open_ >= max_connections_; }

  std::vector<ListeningSocket> sockets_;
  std::shared_ptr<const SessionFactory> factory_;
  ConnectionOwner owned_;
  Io* io_ = nullptr;
  ConnectionLedger::Cell* counters_ = nullptr;
  std::vector<int64_t> open_by_worker_;
  int64_t open_ = 0;
  int64_t max_connections_ = 0;
  AtLimit at_limit_ = AtLimit::kRefuse;
  // Accepted, and waiting for a place: with kEvictIdle one, while another is ended for it; in a
  // drain what the backlog held, as its door is closed.
  struct Held {
    OwnedFd fd;
    bool tcp;
  };
  std::deque<Held> held_;
  bool evicting_ = false;           // A worker was asked, and has not answered yet.
  int64_t accept_interval_ns_ = 0;  // 0: no limit.
  int64_t accept_burst_ns_ = 0;
  TimerId rate_timer_ = 0;
  OwnedFd spare_;
  int64_t backoff_ms_ = 0;
  LogLimit limit_log_;      // That max_connections are open...
  LogLimit resources_log_;  // ...or descriptors or memory are out.
  TimerId pause_timer_ = 0;
  bool suspended_ = false;
  bool came_ = false;  // Somebody, since the backlog was last looked at.
  // Out of descriptors or memory; a timer wakes it, or a connection that ends.
  bool paused_ = false;
  bool draining_ = false;
  size_t next_socket_ = 0;
  int next_worker_ = 0;
};

// Opens the default addresses, or those of --listen=, and places an acceptor for them. Its errors
// are kept.
Ref<Acceptor> ListenOn(Runtime& runtime, std::string_view default_addresses, SessionFactory factory,
                       size_t session_bytes);

template <class S, class... Args>
Ref<Acceptor> Runtime::Listen(std::string_view default_addresses, Args... args) {
  static_assert(std::derived_from<S, Session>, "Listen<S>: S is a Session");
  return ListenOn(
      *this, default_addresses,
      [args...](Worker& worker, Slot* slot) { internal::Construct<S>(worker, slot, args...); },
      sizeof(S));
}

}  // namespace sluice

#endif  // SLUICE_ACTORS_PEERS_ACCEPTOR_H_
