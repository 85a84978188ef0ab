#include "sluice/actors/peers/connector.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/connection/sockets.h"
#include "sluice/actors/peers/resolver.h"
#include "sluice/core/actor/promise.h"
#include "sluice/core/actor/waits.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_as.h"
#include "sluice/core/slot/timer_wheel.h"
#include "sluice/core/worker/placing.h"

namespace sluice {

void ConnectOn(Worker& worker, const Address& address, absl::Duration timeout,
               const SessionFactory& factory, Slot* slot, Promise<std::monostate> opened) {
  factory(worker, slot);
  if (slot->actor == nullptr) return opened.Fail(internal::EndStatus(slot));
  Os& os = worker.os();
  const int fd = os.SocketOpen(address.family(), SOCK_STREAM);
  const auto failed = [&](int error) {
    opened.Fail(absl::UnavailableError(ConnectErrorText(address, error)));
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
  if (opened.Asker() != nullptr) ActorAs<Session>(slot).OpensFor(std::move(opened));
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

// One attempt: a child of the actor, on its worker. The end of the wait is the end of the attempt,
// unless its task has heard that the connection is open.
class OpenWait : public ReplyWait {
 public:
  OpenWait(ConnectFrom from, const Address& to, absl::Duration timeout,
           const SessionFactory& factory)
      : ReplyWait(from.actor, from.where),
        to_(to),
        what_(absl::StrCat("a connection to ", to.ToString())),
        timeout_(timeout),
        factory_(factory) {}
  OpenWait(const OpenWait&) = delete;
  OpenWait& operator=(const OpenWait&) = delete;
  ~OpenWait() {
    SLUICE_PLANT(connect_outlives_task, return);
    if (!heard_) session_.Stop();
  }

  bool Begin(Coroutine& coroutine, std::coroutine_handle<> frame) {
    Suspend(coroutine, frame, what_.c_str());
    Promise<std::monostate> opened =
        OpenReply<WhenOpen>([this](absl::StatusOr<std::monostate> reply) {
          ask_ = 0;
          if (status_.ok()) status_ = reply.status();
          GoOn();
        });
    if (ask_ == 0) {
      status_ = RefusedStatus(Answer::kOverloaded);
      return false;
    }
    Worker& worker = *actor_.slot()->worker;
    if (!worker.family().MayHaveChild(actor_.slot())) {
      status_ = absl::FailedPreconditionError("the actor ends, and begins no connection");
      return true;  // The promise is dropped.
    }
    SpawnOptions here;
    here.worker = worker.Index();
    const auto [slot, generation] =
        PlaceSlot(worker.shared(), here, actor_.slot(),
                  [to = to_, timeout = timeout_, factory = factory_, opened = std::move(opened)](
                      Worker& on, Slot* made) mutable {
                    ConnectOn(on, to, timeout, factory, made, std::move(opened));
                  });
    session_ = Ref<Session>(slot, generation);
    if (slot == nullptr) status_ = NoConnectRoom();
    return true;
  }
  absl::StatusOr<Ref<Session>> Result() {
    heard_ = status_.ok();
    if (!heard_) return status_;
    return session_;
  }

 private:
  const Address to_;
  const std::string what_;  // For the dump.
  const absl::Duration timeout_;
  const SessionFactory& factory_;
  Ref<Session> session_;
  absl::Status status_;
  bool heard_ = false;
};

Task<absl::StatusOr<Ref<Session>>> ConnectAndWait(ConnectFrom from, absl::StatusOr<Target> target,
                                                  absl::Duration timeout, SessionFactory factory) {
  if (!target.ok()) co_return std::move(target).status();
  if (absl::Status bad = RefuseConnectTimeout(timeout); !bad.ok()) co_return bad;
  const Worker& worker = *from.actor.slot()->worker;
  const int64_t deadline_ms = worker.DeadlineMs(timeout);
  const std::string name = target->IsName() ? target->ToString() : "";
  const auto addresses = co_await AddressesOf(from, *std::move(target), timeout);
  if (!addresses.ok()) co_return addresses.status();
  absl::Status failed;
  for (size_t i = 0; i < addresses->size(); ++i) {
    const int64_t now_ms = worker.NowMs();
    if (i > 0 && now_ms >= deadline_ms) break;
    OpenWait open(from, (*addresses)[i], ConnectPart(now_ms, deadline_ms, addresses->size() - i),
                  factory);
    absl::StatusOr<Ref<Session>> session = co_await open;
    if (session.ok()) co_return session;
    failed = session.status();
    if (failed.code() != absl::StatusCode::kUnavailable) break;  // No other address would help.
  }
  if (name.empty()) co_return failed;
  co_return absl::Status(failed.code(), absl::StrCat(name, ": ", failed.message()));
}

}  // namespace internal

}  // namespace sluice
