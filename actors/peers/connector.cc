#include "sluice/actors/peers/connector.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>
#include <variant>

#include "sluice/actors/connection/connection.h"
#include "sluice/actors/connection/sockets.h"
#include "sluice/actors/peers/resolver.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_as.h"
#include "sluice/core/slot/timer_wheel.h"
#include "sluice/core/worker/placing.h"

namespace sluice {

void ConnectOn(Worker& worker, const Address& address, absl::Duration timeout,
               const SessionFactory& factory, Slot* slot) {
  factory(worker, slot);
  if (slot->actor == nullptr) return;
  Os& os = worker.os();
  const int fd = os.SocketOpen(address.family(), SOCK_STREAM);
  const auto failed = [&](int error) {
    ActorAs<Session>(slot).LogConnectFailed(address, error);
    Connection::Refuse(worker, slot, CloseReason::kConnectFailed, ConnectErrorText(address, error));
  };
  if (fd < 0) return failed(-fd);
  const bool tcp = IsTcp(address);
  if (tcp) SetTcpOptions(os, fd, worker.options());
  int connected = os.Connect(fd, address.sockaddr(), address.size());
  if (connected == 0 && IsConnectedToItself(os, fd)) connected = -ECONNREFUSED;
  // EAGAIN: the backlog of the UNIX socket is full, and no event follows.
  const bool full = connected == -EAGAIN && !tcp;
  if (connected < 0 && connected != -EINPROGRESS && !full) {
    // An immediate refusal, as on loopback: connect() has reported it, and SO_ERROR does not hold
    // it.
    os.Close(fd);
    return failed(-connected);
  }
  auto stream = std::make_unique<PlainStream>(os, fd, tcp);
  Connection* const connection = Connection::Open(
      worker, slot, std::move(stream), ConnectionOwner{},
      connected == 0 ? Connection::Start::kConnected : Connection::Start::kConnecting, timeout);
  if (connection != nullptr) connection->ConnectsTo(address, full);
}

namespace internal {

absl::Status RefuseConnectTimeout(absl::Duration timeout) {
  if (timeout > absl::ZeroDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "the connect timeout must be longer than 0 (or inf for no limit)");
}

absl::Status NoConnectRoom() { return absl::ResourceExhaustedError("actors_max actors are alive"); }

absl::Duration ConnectPart(int64_t now_ms, int64_t deadline_ms, size_t addresses) {
  if (deadline_ms == TimerWheel::kNever) return absl::InfiniteDuration();
  return absl::Milliseconds(std::max<int64_t>(deadline_ms - now_ms, 1)) /
         static_cast<int64_t>(addresses);
}

// Answers the addresses of `target`, at least one.
static Task<absl::StatusOr<std::vector<Address>>> AddressesOf(ConnectFrom from, Target target,
                                                              absl::Duration timeout) {
  if (!target.IsName()) {
    if (absl::Status mapped = RefuseMapped(target.address()); !mapped.ok()) co_return mapped;
    co_return std::vector<Address>{target.address()};
  }
  Actor& actor = from.actor;
  Worker& worker = *actor.slot()->worker;
  AskWait<Resolver, LookUp> asked(
      actor, Resolver::Of(worker.runtime()),
      LookUp{std::move(target), worker.DeadlineMs(timeout), actor.slot(), actor.generation()},
      timeout, from.where);
  co_return co_await asked;
}

// The end of a task that connects is the end of what it has begun.
class StopUnlessOpen {
 public:
  explicit StopUnlessOpen(Ref<Session> session) : session_(session) {}
  StopUnlessOpen(const StopUnlessOpen&) = delete;
  StopUnlessOpen& operator=(const StopUnlessOpen&) = delete;
  ~StopUnlessOpen() {
    SLUICE_PLANT(connect_outlives_task, return);
    if (!open_) session_.Stop();
  }
  void IsOpen() { open_ = true; }

 private:
  const Ref<Session> session_;
  bool open_ = false;
};

static Task<absl::Status> UntilOpen(ConnectFrom from, Ref<Session> session) {
  StopUnlessOpen guard(session);
  AskWait<Session, WhenOpen> asked(from.actor, session, WhenOpen{}, absl::InfiniteDuration(),
                                   from.where);
  const absl::StatusOr<std::monostate> open = co_await asked;
  if (!open.ok()) co_return absl::UnavailableError(open.status().message());
  guard.IsOpen();
  co_return absl::OkStatus();
}

Task<absl::StatusOr<std::pair<Slot*, uint32_t>>> ConnectAndWait(ConnectFrom from,
                                                                absl::StatusOr<Target> target,
                                                                absl::Duration timeout,
                                                                SessionFactory factory) {
  if (!target.ok()) co_return std::move(target).status();
  if (absl::Status bad = RefuseConnectTimeout(timeout); !bad.ok()) co_return bad;
  Actor& actor = from.actor;
  Worker& worker = *actor.slot()->worker;
  const int64_t deadline_ms = worker.DeadlineMs(timeout);
  const auto addresses = co_await AddressesOf(from, *std::move(target), timeout);
  if (!addresses.ok()) co_return addresses.status();
  SpawnOptions here;
  here.worker = worker.Index();
  absl::Status failed;
  for (size_t i = 0; i < addresses->size(); ++i) {
    const int64_t now_ms = worker.NowMs();
    if (i > 0 && now_ms >= deadline_ms) break;
    const absl::Duration part = ConnectPart(now_ms, deadline_ms, addresses->size() - i);
    if (!worker.family().MayHaveChild(actor.slot())) co_return NoConnectRoom();
    const std::pair<Slot*, uint32_t> made =
        PlaceSlot(worker.shared(), here, actor.slot(),
                  [to = (*addresses)[i], part, factory](Worker& on, Slot* slot) {
                    ConnectOn(on, to, part, factory, slot);
                  });
    if (made.first == nullptr) co_return NoConnectRoom();
    failed = co_await UntilOpen(from, Ref<Session>(made.first, made.second));
    if (failed.ok()) co_return made;
  }
  co_return failed;
}

}  // namespace internal

}  // namespace sluice
