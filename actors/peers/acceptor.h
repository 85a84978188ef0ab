// Acceptor owns listening sockets: it accepts connections up to a limit, gives each to the worker
// that has the fewest, and never accepts a connection that it cannot hold.
//
//   runtime.Listen<Echo>("127.0.0.1:7001");
//
// Owner:  an actor like any other; Listen places it.
// Thread: its worker's. Any thread may send the messages below to its Ref.
// Bound:  max_connections open connections. At the limit, at_limit decides: refuse (accept and
//         close), wait (leave newcomers in the backlog), or evict_idle (end the connection that
//         has been silent longest). Accept rate: accepts_per_second_max on each address.
// Errors: the Runtime keeps the errors of Listen. EMFILE, ENFILE, ENOBUFS and ENOMEM on accept
//         pause the acceptor with back-off. For EMFILE and ENFILE a spare descriptor lets it refuse
//         a newcomer politely (refuse), or accept it while another connection is ended
//         (evict_idle). All are counted.
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
#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/actors/connection/owned_connections.h"
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
// Sets accepts_per_second_max and accepts_burst_max of each address.
struct SetAcceptRate {
  int64_t per_second_max = 0;
  int64_t burst_max = 0;
};
struct SetConnectionLimit {
  int64_t max_connections = 0;
  AtLimit at_limit = AtLimit::kRefuse;
};

// To an acceptor: the worker has answered EvictControl, and has ended a connection if it could.
// Reserved by that question; one question is open at a time.
struct EvictionDoneControl {
  void Run(Worker& at, Slot* slot, uint32_t generation) const;
};

class Acceptor : public Actor {
 public:
  static constexpr bool kRestartable = false;  // The sockets end with the acceptor.

  Acceptor(std::vector<ListeningSocket> sockets, SessionFactory factory);
  Acceptor(ListeningSockets sockets, SessionFactory factory);
  ~Acceptor() override;

  bool IsKind(const void* kind) const override { return kind == KindOf<Acceptor>(); }
  void OnStart() override;
  void On(SuspendAccept);
  void On(ResumeAccept);
  void On(SetConnectionLimit limit);
  void On(SetAcceptRate rate);

  void ConnectionEnded(int worker);
  void EvictionDone();
  int64_t OpenConnections() const { return open_; }
  // Listening addresses; port 0 is replaced by the kernel's choice.
  std::vector<Address> Addresses() const;

 private:
  // The IoHandler of the listening sockets: it gets their readiness events and the drain's orders.
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
  // An accepted connection that waits for a place. With kEvictIdle there is one, while another
  // connection is ended for it. In a drain there are those that waited in the backlog, as the
  // listening sockets are closed.
  struct Held {
    OwnedFd fd;
    bool tcp;
  };
  std::deque<Held> held_;
  bool evicting_ = false;           // A worker was asked to evict, and has not answered yet.
  int64_t accept_interval_ns_ = 0;  // 0: no limit.
  int64_t accept_burst_ns_ = 0;
  TimerId rate_timer_ = 0;
  OwnedFd spare_;
  int64_t backoff_ms_ = 0;
  LogLimit limit_log_;      // For lines that max_connections are open.
  LogLimit resources_log_;  // For lines that descriptors or memory are spent.
  TimerId pause_timer_ = 0;
  bool suspended_ = false;
  bool came_ = false;  // A readiness event has come since the last look at the backlog.
  // Descriptors or memory are spent, or every accept of a turn has failed. Accepting resumes when a
  // timer fires or a connection ends.
  bool paused_ = false;
  bool draining_ = false;
  size_t next_socket_ = 0;
  int next_worker_ = 0;
};

// Listens on the addresses of Options::listen (--listen=), or else on `default_addresses`, and
// places an acceptor for them. The runtime keeps the errors.
Ref<Acceptor> ListenOn(Runtime& runtime, std::string_view default_addresses, SessionFactory factory,
                       size_t session_bytes);

template <class S, class... Args>
Ref<Acceptor> Runtime::Listen(std::string_view default_addresses, Args... args) {
  static_assert(std::derived_from<S, Session>, "Listen<S>: S is a Session");
  using Refused = internal::SpawnRefused<S, const Args&...>;
  if constexpr (!std::is_void_v<Refused>) {
    return Refused();
  } else {
    return ListenOn(
        *this, default_addresses,
        [args...](Worker& worker, Slot* slot) { internal::Construct<S>(worker, slot, args...); },
        sizeof(S));
  }
}

}  // namespace sluice

#endif  // SLUICE_ACTORS_PEERS_ACCEPTOR_H_
