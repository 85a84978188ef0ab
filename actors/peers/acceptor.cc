#include "sluice/actors/peers/acceptor.h"

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/connection/stream.h"
#include "sluice/core/base/log.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/base/strings.h"
#include "sluice/core/slot/actor_as.h"
#include "sluice/core/worker/control.h"

namespace sluice {

namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr int64_t kBackoffFirstMs = 10;
constexpr int64_t kBackoffMaxMs = 1'000;
// Connections that count as silent but still take bytes are passed over, at most this many for one
// newcomer: a bound on the work. The connection after them is ended without a look.
constexpr int kEvictLooksMax = 16;
// Memory of a connection without its session: the connection and its stream, and the allocator's
// headers (16 bytes each) of session, connection and stream.
constexpr int64_t kConnectionBytes =
    static_cast<int64_t>(sizeof(Connection)) + static_cast<int64_t>(sizeof(PlainStream)) + 3 * 16;

}  // namespace

Ref<Acceptor> ListenOn(Runtime& runtime, std::string_view default_addresses, SessionFactory factory,
                       size_t session_bytes) {
  if (!runtime.status().ok()) return {};
  if (runtime.shared().outside_gate.Draining()) {
    runtime.KeepError(absl::UnavailableError(
        absl::StrCat("cannot listen on ", ToAbsl(default_addresses), ": the runtime ends")));
    return {};
  }
  const Options& options = runtime.options();
  const absl::StatusOr<std::string> text = runtime.AddressesToListen(default_addresses);
  const absl::StatusOr<std::vector<Address>> addresses =
      text.ok() ? ParseAddresses(*text) : text.status();
  if (!addresses.ok()) {
    runtime.KeepError(addresses.status());
    return {};
  }
  ListeningSockets sockets(runtime.os());
  std::vector<std::string> texts;
  for (const Address& address : *addresses) {
    absl::StatusOr<ListeningSocket> socket = OpenListening(runtime.os(), address, options);
    if (!socket.ok()) {
      runtime.KeepError(socket.status());
      return {};
    }
    texts.push_back(socket->address.ToString());
    // List the address before the acceptor exists: the acceptor may end at once.
    socket->listed = runtime.AddListening(texts.back());
    sockets.Add(*std::move(socket));
  }
  const Ref<Acceptor> acceptor = runtime.SpawnWith<Acceptor>(
      SpawnOptions{.name = "acceptor", .mailbox_messages_max = 0, .worker = 0}, std::move(sockets),
      std::move(factory));
  if (!acceptor) {
    runtime.KeepError(absl::ResourceExhaustedError(
        absl::StrCat("cannot listen on ", texts.front(), ": ", options.actors_max,
                     " actors exist already; raise actors_max")));
    return {};
  }
  if (runtime.Started()) {
    for (const std::string& text : texts) LogInfo(absl::StrCat("listening on ", text));
  }
  runtime.AddConnections(kConnectionBytes + static_cast<int64_t>(session_bytes));
  return acceptor;
}

// --- A connection on its way to its worker.

namespace {

// Notifies the peer that it is not served, even if a forked child also holds the descriptor.
void EndAccepted(Os& os, OwnedFd fd) {
  os.ShutdownBoth(fd.Get());
  fd.Reset();
}

struct AcceptedControl {
  OwnedFd fd;
  std::shared_ptr<const SessionFactory> factory;
  ConnectionOwner acceptor;
  bool tcp = true;

  void Run(Worker& worker, Slot*, uint32_t) {
    SLUICE_CHECK(fd.Get() >= 0);
    // After the drain's deadline nothing would end a new connection.
    Slot* slot = worker.ShuttingDown() ? nullptr : worker.life().AllocateSlot();
    if (slot == nullptr) {
      if (!worker.ShuttingDown()) LogNoActor(worker);
      Refuse(worker);
      return;
    }
    worker.life().Open(slot, worker.options().mailbox_messages_max);
    (*factory)(worker, slot);
    if (slot->actor == nullptr) {  // The constructor threw: already counted and logged.
      Refuse(worker);
      return;
    }
    auto stream = std::make_unique<PlainStream>(worker.os(), fd.Release(), tcp);
    Connection::Open(worker, slot, std::move(stream), acceptor);
  }
  static void LogNoActor(Worker& worker) {
    LimitOf(worker, CloseReason::kRefused).Warn(worker.NowMs(), [&worker] {
      return absl::StrCat("accept: a newcomer is refused, as ", worker.options().actors_max,
                          " actors exist already (actors_max)");
    });
  }
  void Refuse(Worker& worker) {
    EndAccepted(worker.os(), std::move(fd));
    CountersOf(worker).CountNeverStood(CloseReason::kRefused);
    SLUICE_PLANT(place_leaked, return);
    acceptor->TellEnd(worker);
  }
};

std::string TextOf(const sockaddr_storage& peer, socklen_t size) {
  return Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&peer), size)
      .value_or(Address())
      .ToString();
}

// To a worker: end the connection of this acceptor that has been silent longest. This order arrives
// behind the connections that were handed to the worker; its answer arrives behind the
// ConnectionEndedControls that the worker has sent.
struct EvictControl {
  ConnectionOwner owned;
  void Run(Worker& worker, Slot*, uint32_t) {
    // The acceptor may have asked before a drain began on this worker. Then no connection is
    // evicted: the newcomer waits until one ends by itself.
    Connection* oldest = owned->Oldest(worker.Index());
    for (int i = 0; i < kEvictLooksMax && oldest != nullptr && oldest->TakesBytesMeanwhile(); ++i) {
      oldest = owned->Oldest(worker.Index());
    }
    SLUICE_PLANT(evicts_in_drain, if (oldest != nullptr && worker.Draining()) oldest->Evict());
    if (oldest != nullptr && !worker.Draining()) oldest->Evict();
    Worker::Post(*owned->slot->worker, owned->slot, owned->generation, EvictionDoneControl{});
  }
};

}  // namespace

void EvictionDoneControl::Run(Worker&, Slot* slot, uint32_t generation) const {
  auto* const acceptor = LiveActorAs<Acceptor>(slot, generation);
  if (acceptor != nullptr) acceptor->EvictionDone();
}

// --- The acceptor.

Acceptor::Acceptor(std::vector<ListeningSocket> sockets, SessionFactory factory)
    : sockets_(std::move(sockets)),
      factory_(std::make_shared<const SessionFactory>(std::move(factory))) {}

Acceptor::Acceptor(ListeningSockets sockets, SessionFactory factory)
    : Acceptor(std::move(sockets).Take(), std::move(factory)) {}

Acceptor::~Acceptor() { CloseSockets(); }

void Acceptor::OnStart() {
  const Options& options = runtime().options();
  max_connections_ = options.max_connections;
  at_limit_ = options.at_limit;
  On(SetAcceptRate{options.accepts_per_second_max, options.accepts_burst_max});
  open_by_worker_.resize(options.workers);
  owned_ = std::make_shared<OwnedConnections>(slot(), generation(), options.workers,
                                              [](const Slot* acceptor, int worker) {
                                                ActorAs<Acceptor>(acceptor).ConnectionEnded(worker);
                                              });
  counters_ = &CountersOf(worker());
  TakeSpare();
  io_ = new Io(*this);
  worker().descriptors().Attach(slot(), io_);
  for (ListeningSocket& socket : sockets_) {
    const int added = worker().os().PollerAdd(worker().descriptors().Poller(), socket.fd.Get(),
                                              EPOLLIN | EPOLLET, Descriptors::PollData(slot()));
    if (added < 0) {
      LogError("epoll_ctl for %s: %s; nothing is accepted there", socket.address.ToString(),
               absl::ErrnoToStatus(-added, "add").ToString());
    }
  }
  Wake();
  if (worker().Draining()) io_->OnDrain();
}

void Acceptor::Wake() {
  if (io_ != nullptr) worker().descriptors().MarkReady(io_);
}

void Acceptor::On(SuspendAccept) { suspended_ = true; }
void Acceptor::On(ResumeAccept) {
  suspended_ = false;
  Wake();
}
void Acceptor::On(SetConnectionLimit limit) {
  max_connections_ = limit.max_connections;
  at_limit_ = limit.at_limit;
  TendHeld();
  Wake();
}
void Acceptor::On(SetAcceptRate rate) {
  constexpr int64_t kSecondNs = 1'000'000'000;
  const int64_t per_second = std::clamp<int64_t>(rate.per_second_max, 0, kSecondNs);
  const int64_t burst = rate.burst_max > 0 ? rate.burst_max : std::max<int64_t>(1, per_second / 10);
  accept_interval_ns_ = per_second == 0 ? 0 : kSecondNs / per_second;
  accept_burst_ns_ = (std::min(burst, kSecondNs) - 1) * accept_interval_ns_;
  for (ListeningSocket& socket : sockets_) socket.next_accept_ns = 0;
  Wake();
}

void Acceptor::ConnectionEnded(int worker) {
  --open_by_worker_[worker];
  --open_;
  // A place, a descriptor and memory are free now: a waiting newcomer may take them.
  paused_ = false;
  backoff_ms_ = 0;
  TendHeld();
  Wake();
}

// --- Accepted connections that have no place yet.

void Acceptor::Take(int fd, bool tcp) {
  if (!AtTheLimit() && held_.empty()) {
    HandOff(fd, tcp);
    return;
  }
  held_.push_back({OwnedFd(worker().os(), fd), tcp});
  TendHeld();
}

void Acceptor::TurnAway(OwnedFd fd, CloseReason reason) {
  EndAccepted(worker().os(), std::move(fd));
  counters_->CountNeverStood(reason);
}

void Acceptor::TendHeld() {
  while (!held_.empty() && !AtTheLimit()) {
    Held held = std::move(held_.front());
    held_.pop_front();
    HandOff(held.fd.Release(), held.tcp);
  }
  if (!held_.empty()) {
    const bool hopeless = open_ == 0 && (draining_ || at_limit_ == AtLimit::kEvictIdle);
    if (at_limit_ == AtLimit::kRefuse || hopeless) {
      TurnAwayHeld(CloseReason::kRefused);
    } else if (at_limit_ == AtLimit::kEvictIdle && !draining_) {
      Evict();
    }
  }
  if (draining_ && held_.empty() && sockets_.empty()) EndIo();
}

void Acceptor::TurnAwayHeld(CloseReason reason) {
  for (Held& held : std::exchange(held_, {})) TurnAway(std::move(held.fd), reason);
}

// Asks the worker with the longest silent connection to end it. There is only one eviction at a
// time: each then ends the oldest of all, and a storm of newcomers is slowed to the workers' pace.
void Acceptor::Evict() {
  if (evicting_) return;
  int best = -1;
  for (int i = 0; i < static_cast<int>(open_by_worker_.size()); ++i) {
    // A connection on its way to worker i counts here, but OldestMs(i) does not know it yet: a
    // worker with no other connection answers kNobodyMs, and is asked last.
    if (open_by_worker_[i] == 0) continue;
    bool older = best < 0 || owned_->OldestMs(i) < owned_->OldestMs(best);
    SLUICE_PLANT(evicts_youngest, older = best < 0 || !older);
    if (older) best = i;
  }
  if (best < 0) return;
  evicting_ = true;
  Worker::Post(runtime().worker(best), nullptr, 0, EvictControl{owned_});
}

void Acceptor::EvictionDone() {
  evicting_ = false;
  TendHeld();
}

// --- The rate (GCRA).

// Each accept moves next_accept_ns, at which the next accept is due, by one interval. A burst may
// come up to accept_burst_ns_ earlier.

bool Acceptor::RateAllows(const ListeningSocket& socket, int64_t* wait_ns) const {
  if (accept_interval_ns_ == 0 || draining_) return true;
  const int64_t early_ns = socket.next_accept_ns - accept_burst_ns_ - worker().NowNs();
  if (early_ns <= 0) return true;
  *wait_ns = std::min(*wait_ns, early_ns);
  return false;
}

void Acceptor::CountAccept(ListeningSocket& socket) {
  if (accept_interval_ns_ == 0) return;
  socket.next_accept_ns = std::max(socket.next_accept_ns, worker().NowNs()) + accept_interval_ns_;
}

void Acceptor::WaitForRate(int64_t wait_ns) {
  CancelTimer(rate_timer_);
  // The pause is over. Only one of the two timers runs: timers_max may be 1.
  CancelTimer(pause_timer_);
  rate_timer_ = wait_ns == INT64_MAX ? 0 : After(absl::Nanoseconds(wait_ns), [this] {
    rate_timer_ = 0;
    Wake();
  });
}

void Acceptor::AcceptSome() {
  if (!draining_ && (suspended_ || paused_)) return;
  TakeSpare();
  // A drain accepts every connection that waits: at most one backlog for each socket.
  const int64_t accepts_max =
      draining_ ? int64_t{runtime().options().backlog} * static_cast<int64_t>(sockets_.size())
                : kAcceptsPerTurn;
  int64_t accepts = 0;
  int64_t errors = 0;
  int64_t wait_ns = INT64_MAX;
  // Round robin, so that a flood on one socket does not starve the others. A socket without
  // newcomers answers EAGAIN, and its next event leads back here.
  for (size_t empty = 0; empty < sockets_.size();) {
    // ConnectionEnded() resumes accepting. (In a drain, waiting connections are accepted and held.)
    if (!draining_ && AtTheLimit() && at_limit_ == AtLimit::kWait) {
      if (!std::exchange(came_, false)) return;
      limit_log_.Warn(worker().NowMs(), [this] {
        return absl::StrCat("accept: newcomers wait, as ", open_,
                            " connections are open (max_connections)");
      });
      return;
    }
    if (!draining_ && !held_.empty()) return;
    if (accepts == accepts_max) {
      // If every accept failed, pause: otherwise the errors would become a busy loop.
      errors == accepts ? Pause() : Wake();
      return;
    }
    ListeningSocket& socket = sockets_[next_socket_++ % sockets_.size()];
    if (!RateAllows(socket, &wait_ns)) {
      ++empty;
      continue;
    }
    switch (AcceptOne(socket)) {
      case Accepted::kError:
        ++errors;
        [[fallthrough]];
      case Accepted::kOne:
        CountAccept(socket);
        ++accepts;
        empty = 0;
        break;
      case Accepted::kNone:
        ++empty;
        break;
      case Accepted::kPaused:
        return;
    }
  }
  came_ = false;
  if (accept_interval_ns_ != 0) WaitForRate(wait_ns);
}

Acceptor::Accepted Acceptor::AcceptOne(ListeningSocket& socket) {
  Os& os = worker().os();
  sockaddr_storage peer;
  socklen_t size = sizeof(peer);
  const int fd = os.Accept(socket.fd.Get(), &peer, &size);
  if (fd >= 0) {
    backoff_ms_ = 0;
    if (AtTheLimit() && at_limit_ == AtLimit::kRefuse) {
      limit_log_.Warn(worker().NowMs(), [&] {
        return absl::StrCat("accept: ", TextOf(peer, size), " is refused, as ", open_,
                            " connections are open (max_connections)");
      });
      TurnAway(OwnedFd(os, fd), CloseReason::kRefused);
    } else {
      Take(fd, IsTcp(socket.address));
    }
    return Accepted::kOne;
  }
  switch (-fd) {
    case EAGAIN:
      return Accepted::kNone;
    // The peer, or its network, was gone before the accept (accept(2)): the next accept may
    // succeed.
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM:
      counters_->accept_errors.Add(1);
      return Accepted::kError;
    default:
      bool descriptors = -fd == EMFILE || -fd == ENFILE;
      if (at_limit_ != AtLimit::kWait && descriptors && spare_.Valid()) {
        return AcceptBySpare(socket, -fd);
      }
      counters_->accept_errors.Add(1);
      SLUICE_PLANT(no_spare_no_eviction, descriptors = false);
      // The spare descriptor could not be reopened: for example, a newcomer has taken the
      // descriptor that an eviction freed. While newcomers wait, evict another connection.
      if (at_limit_ == AtLimit::kEvictIdle && descriptors && came_ && !draining_) Evict();
      OutOfResources(-fd);
      return Accepted::kPaused;
  }
}

// Closes the spare descriptor to accept one peer in its place. That peer is refused at once,
// instead of waiting in vain. With evict_idle the peer is served, and the descriptor of an evicted
// connection becomes the next spare.
Acceptor::Accepted Acceptor::AcceptBySpare(ListeningSocket& socket, int error) {
  Os& os = worker().os();
  spare_.Reset();
  sockaddr_storage peer;
  socklen_t size = sizeof(peer);
  const int fd = os.Accept(socket.fd.Get(), &peer, &size);
  // Linux looks for a free descriptor first, and so reports EMFILE even if no peer waits. Only this
  // second accept shows whether a peer waits.
  const bool nobody = fd == -EAGAIN;
  if (!nobody) counters_->accept_errors.Add(1);
  const bool evict = at_limit_ == AtLimit::kEvictIdle && open_ > 0;
  if (fd >= 0 && evict) {
    Take(fd, IsTcp(socket.address));
  } else if (fd >= 0) {
    resources_log_.Warn(worker().NowMs(), [&] {
      return absl::StrCat("accept: ", ErrnoText(error), ": ", TextOf(peer, size), " is refused; ",
                          open_, " connections are open");
    });
    TurnAway(OwnedFd(os, fd), CloseReason::kRefused);
  }
  if (TakeSpare()) return nobody ? Accepted::kNone : fd >= 0 ? Accepted::kOne : Accepted::kError;
  if (fd >= 0 && evict && !draining_) Evict();
  if (evicting_) {
    Pause();  // The evicted connection's end resumes accepting.
  } else {
    counters_->accept_errors.Add(nobody);
    OutOfResources(EMFILE);  // Other code of the process has taken the descriptor.
  }
  return Accepted::kPaused;
}

bool Acceptor::TakeSpare() {
  if (spare_.Valid()) return true;
  const int spare = worker().os().SpareOpen();
  if (spare >= 0) spare_ = OwnedFd(worker().os(), spare);
  return spare >= 0;
}

void Acceptor::OutOfResources(int error) {
  // Limited log: each connection that ends makes room for one accept, and the next accept fails
  // again, perhaps for hours.
  resources_log_.Warn(worker().NowMs(), [&] {
    return absl::StrCat("accept: ", ErrnoText(error), "; paused, ", open_, " connections are open");
  });
  Pause();
}

void Acceptor::Pause() {
  paused_ = true;
  backoff_ms_ = std::clamp(backoff_ms_ * 2, kBackoffFirstMs, kBackoffMaxMs);
  SLUICE_PLANT(accept_stays_paused, return);
  CancelTimer(pause_timer_);  // Still armed if a connection's end has resumed accepting early.
  CancelTimer(rate_timer_);   // The first accept after the pause checks the rate again.
  pause_timer_ = After(absl::Milliseconds(backoff_ms_), [this] {
    paused_ = false;
    Wake();
  });
}

void Acceptor::HandOff(int fd, bool tcp) {
  SLUICE_CHECK(fd >= 0);
  // Choose the worker with the fewest connections; equal workers take turns.
  const int workers = static_cast<int>(open_by_worker_.size());
  int best = next_worker_;
  for (int i = 1; i < workers; ++i) {
    const int other = (next_worker_ + i) % workers;
    if (open_by_worker_[other] < open_by_worker_[best]) best = other;
  }
  next_worker_ = (best + 1) % workers;
  ++open_by_worker_[best];
  ++open_;
  Worker::Post(runtime().worker(best), nullptr, 0,
               AcceptedControl{OwnedFd(worker().os(), fd), factory_, owned_, tcp});
}

std::vector<Address> Acceptor::Addresses() const {
  std::vector<Address> addresses;
  for (const ListeningSocket& socket : sockets_) addresses.push_back(socket.address);
  return addresses;
}

void Acceptor::CloseSockets() {
  for (ListeningSocket& socket : sockets_) {
    if (slot()->io != nullptr)
      worker().os().PollerRemove(worker().descriptors().Poller(), socket.fd.Get());
    EndListening(worker().os(), socket);
  }
  sockets_.clear();
}

// --- The IoHandler of the listening sockets.

void Acceptor::Io::OnEvents(uint32_t) {
  acceptor_->came_ = true;
  acceptor_->Wake();
}

void Acceptor::Io::OnTurn() { acceptor_->AcceptSome(); }

void Acceptor::EndIo() {
  if (io_ == nullptr) return;
  io_ = nullptr;
  slot()->worker->DetachIo(slot());
}

void Acceptor::Io::OnActorEnded(bool) {
  acceptor_->TurnAwayHeld(CloseReason::kRefused);
  acceptor_->CloseSockets();
  acceptor_->EndIo();
}

// Peers in the backlog were promised nothing, but may have sent data already: accept them, then
// close the listening sockets. A connection without a place is held until another one ends. The
// worker's drain waits for this handler as for any other.
void Acceptor::Io::OnDrain() {
  acceptor_->draining_ = true;
  acceptor_->AcceptSome();
  acceptor_->CloseSockets();
  acceptor_->TendHeld();
}

void Acceptor::Io::OnShutdown() {
  acceptor_->CloseSockets();
  acceptor_->TurnAwayHeld(CloseReason::kShutdown);
  acceptor_->EndIo();
}

}  // namespace sluice
