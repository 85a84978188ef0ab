#include "sluice/sim/world/link.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "sluice/core/base/check.h"
#include "sluice/sim/world/network.h"
#include "sluice/sim/world/simulation.h"

namespace sluice::sim {

namespace {

constexpr uint32_t kBufferBytes = 64 * 1024;
constexpr int64_t kRetransmitFirstNs = 200'000'000;  // TCP_RTO_MIN, and a round trip.
constexpr uint64_t kMachineBuffers[] = {4 * 1024, 16 * 1024, 64 * 1024, 256 * 1024};

// Frees the memory of an emptied buffer: there may be a million connections.
void Compact(std::string* bytes, uint32_t* at) {
  if (*at == bytes->size()) {
    bytes->clear();
    if (bytes->capacity() > 256) bytes->shrink_to_fit();
    *at = 0;
  } else if (*at > 64 * 1024) {
    bytes->erase(0, *at);
    *at = 0;
  }
}

void RunReset(void* object, uint64_t side) {
  static_cast<Link*>(object)->Fail(static_cast<int>(side), ECONNRESET);
}

}  // namespace

Address SocketName::Whole() const {
  if (base == nullptr) return Address();
  Address whole = *base;
  if (whole.family() != AF_INET && whole.family() != AF_INET6) return whole;
  sockaddr_storage storage;
  std::memcpy(&storage, whole.sockaddr(), whole.size());
  if (whole.family() == AF_INET) {
    reinterpret_cast<sockaddr_in*>(&storage)->sin_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port = htons(port);
  }
  return *Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&storage), whole.size());
}

Link::Link(Simulation& simulation, bool tcp) : simulation_(simulation), tcp_(tcp) {
  simulation_.network().CountLink(1);
}

Link::~Link() { simulation_.network().CountLink(-1); }

// --- Files.

Stream::Stream(std::shared_ptr<Link> link, int side, const SocketOptions& with)
    : options(with), link_(std::move(link)), side_(side) {
  link_->files[side_] = this;
}

Stream::~Stream() {
  if (link_->files[side_] == this) link_->files[side_] = nullptr;
}

uint32_t Stream::Ready() { return link_->Ready(side_); }

void Stream::Closed() {
  link_->files[side_] = nullptr;
  link_->Close(side_, options.linger_at_once);
}

void Listener::Closed() {
  for (const auto& link : std::exchange(queue, {})) link->Close(1, /*at_once=*/true);
}

// --- A connection's sides.

void Link::SetUp(int side) {
  Side& self = sides_[side];
  Side& peer = sides_[Other(side)];
  const SocketOptions options = files[side] != nullptr ? files[side]->options : SocketOptions();
  const auto usual = [&] {
    return static_cast<uint32_t>(kMachineBuffers[simulation_.random().Below(4)]);
  };
  self.send_max = options.send_bytes > 0 ? static_cast<uint32_t>(options.send_bytes) : usual();
  self.receive_max =
      options.receive_bytes > 0 ? static_cast<uint32_t>(options.receive_bytes) : kBufferBytes;
  self.up = true;
  self.heard_ns = simulation_.NowNs();
  Changed(side);
  if (peer.up) {
    Go(side);
    Go(Other(side));
  }
}

void Link::MeetItself() {
  itself_ = true;
  SetUp(0);
}

void Link::Changed(int side) {
  if (files[side] != nullptr) files[side]->Changed();
}

uint32_t Link::Ready(int side) {
  Side& self = sides_[side];
  if (!self.up && !self.dead) return 0;  // The side is connecting.
  uint32_t ready = 0;
  const bool no_more = self.eof || self.dead;
  const bool write_shut = self.write_shut || self.dead;
  if (self.error != 0) ready |= EPOLLERR;
  if (no_more && write_shut) ready |= EPOLLHUP;
  if (no_more) ready |= EPOLLIN | EPOLLRDHUP;
  if (self.InBytes() > 0) ready |= EPOLLIN;
  // tcp_poll(): a third of the buffer must be free; a caller that asked is notified when it is.
  if (write_shut || HasRoom(side)) {
    ready |= EPOLLOUT;
  } else {
    self.starved = true;
  }
  return ready;
}

int Link::TakeError(int side) { return std::exchange(sides_[side].error, 0); }

int64_t Link::Receive(int side, char* data, size_t size) {
  Side& self = sides_[side];
  if (self.InBytes() > 0) {
    // Returns all bytes that are there, as TCP does: the framework's short-read rule relies on it.
    const size_t count = std::min(size, self.InBytes());
    std::memcpy(data, self.in.data() + self.in_at, count);
    self.in_at += static_cast<uint32_t>(count);
    Compact(&self.in, &self.in_at);
    if (tcp_) {
      WindowOpened(Other(side));
    } else {
      TellOfRoom(Other(side));
    }
    return static_cast<int64_t>(count);
  }
  if (self.error != 0) return -TakeError(side);
  if (self.eof || self.dead || self.read_shut) return 0;
  return self.up ? -EAGAIN : -ENOTCONN;
}

int64_t Link::Send(int side, const iovec* parts, int count) {
  Side& self = sides_[side];
  // sk_stream_error(): first the pending error, then EPIPE.
  if (self.error != 0) return -TakeError(side);
  if (self.write_shut || self.dead) return -EPIPE;
  if (!self.up) return -EAGAIN;
  size_t total = 0;
  for (int i = 0; i < count; ++i) total += parts[i].iov_len;
  const size_t used = Used(side);
  size_t take = std::min(total, SendMax(side) - std::min(used, SendMax(side)));
  bool cut = take < total;
  Random& random = simulation_.random();
  // A UNIX socket takes a part only if it is full (sock_alloc_send_pskb()): otherwise no event
  // would follow.
  if (tcp_ && take > 0 && random.Chance(simulation_.faults.refused_send)) {
    take = 0;
    cut = true;
  } else if (tcp_ && take > 1 && random.Chance(simulation_.faults.short_send)) {
    take = 1 + random.Below(take - 1);
    cut = true;
  }
  if (cut) {
    self.starved = true;
    if (used + take == 0) {
      // The kernel had no memory. No acknowledgement will come, so the event is posted here.
      simulation_.Post(
          simulation_.NowNs() + DelayNs(), shared_from_this(),
          [](void* link, uint64_t at) {
            static_cast<Link*>(link)->sides_[at].starved = false;
            static_cast<Link*>(link)->Changed(static_cast<int>(at));
          },
          static_cast<uint64_t>(side));
    }
  }
  if (take == 0) return total == 0 ? 0 : -EAGAIN;
  if (used == 0) self.unacknowledged_ns = simulation_.NowNs();
  size_t left = take;
  for (int i = 0; left > 0; ++i) {
    const size_t part = std::min(left, parts[i].iov_len);
    self.out.append(static_cast<const char*>(parts[i].iov_base), part);
    left -= part;
  }
  Go(side);
  if (lost_ && used == 0) WatchDeath(side);
  return static_cast<int64_t>(take);
}

int Link::ShutdownWrite(int side) {
  Side& self = sides_[side];
  if (self.dead || !self.up) return -ENOTCONN;
  self.write_shut = true;
  self.fin = true;
  Changed(side);  // inet_shutdown() wakes all pollers.
  Go(side);
  return 0;
}

int Link::ShutdownBoth(int side) {
  Side& self = sides_[side];
  if (tcp_ || self.dead || !self.up) {
    self.read_shut = true;
    return ShutdownWrite(side);
  }
  // unix_shutdown(): the peer's writes fail at once; both sides read what has arrived, then the
  // end.
  Side& peer = sides_[1 - side];
  self.write_shut = self.eof = true;
  peer.eof = peer.write_shut = true;
  Changed(side);
  Changed(1 - side);
  return 0;
}

void Link::Close(int side, bool at_once) {
  Side& self = sides_[side];
  if (!self.open) return;
  self.open = false;
  if (self.dead) return;
  if (!self.up) {
    self.dead = true;  // The side was connecting; answers to it are refused.
    return;
  }
  // tcp_close(): unread input makes it a reset. (A UNIX socket ignores SO_LINGER.)
  if (tcp_ && (at_once || self.InBytes() > 0)) {
    Reset(side);
    return;
  }
  if (!tcp_) {
    Side& peer = sides_[Other(side)];
    self.dead = true;
    if (self.InBytes() > 0) peer.error = ECONNRESET;  // unix_release_sock().
    peer.eof = peer.write_shut = true;
    Changed(Other(side));
    return;
  }
  self.in.clear();
  self.in_at = 0;
  self.in.shrink_to_fit();
  self.write_shut = self.fin = true;
  Go(side);
}

int64_t Link::Unacknowledged(int side) const { return static_cast<int64_t>(Used(side)); }

int64_t Link::SilentNs(int side) const {
  const Side& self = sides_[side];
  const bool heard = !lost_ && !cut_ && simulation_.NowNs() >= self.held_until_ns;
  const bool probes_are_answered = heard && sides_[Other(side)].open;
  return probes_are_answered ? 0 : simulation_.NowNs() - self.heard_ns;
}

// --- On the way.

int64_t Link::DelayNs() {
  const Faults& faults = simulation_.faults;
  return simulation_.random().Between(faults.delay_ns_min, faults.delay_ns_max);
}

void Link::WindowOpened(int side) {
  Side& self = sides_[side];
  if (!simulation_.faults.windows_travel) {
    Go(side);
  } else if (self.OutBytes() > 0 && !self.travelling && !self.window_travels) {
    self.window_travels = true;
    simulation_.Post(
        simulation_.NowNs() + DelayNs(), shared_from_this(),
        [](void* link, uint64_t at) {
          static_cast<Link*>(link)->sides_[at].window_travels = false;
          static_cast<Link*>(link)->Go(static_cast<int>(at));
        },
        static_cast<uint64_t>(side));
  }
}

// The sum of the last segments' delays, one each way.
void Link::Measure() {
  const int64_t sample_ns = sides_[0].delay_ns + sides_[1].delay_ns;
  if (round_trip_ns_ == 0) {
    round_trip_ns_ = sample_ns;
    round_trip_off_ns_ = sample_ns / 2;
    return;
  }
  const int64_t off_ns = std::abs(sample_ns - round_trip_ns_);
  round_trip_off_ns_ += (off_ns - round_trip_off_ns_) / 4;
  round_trip_ns_ += (sample_ns - round_trip_ns_) / 8;
}

void Link::Go(int from) {
  Side& self = sides_[from];
  Side& peer = sides_[Other(from)];
  if (!peer.up || self.dead || self.travelling || lost_ || cut_) return;
  if (simulation_.NowNs() < self.held_until_ns) return;
  const bool window = peer.InBytes() < peer.receive_max || !peer.open || peer.read_shut;
  if (!(self.OutBytes() > 0 && window) && !(self.OutBytes() == 0 && self.fin && !self.fin_arrived))
    return;
  if (!tcp_) {
    Arrive(from);
    return;
  }
  self.travelling = true;
  self.delay_ns = DelayNs();
  simulation_.Post(
      simulation_.NowNs() + self.delay_ns, shared_from_this(),
      [](void* link, uint64_t side) {
        static_cast<Link*>(link)->sides_[side].travelling = false;
        static_cast<Link*>(link)->Measure();
        static_cast<Link*>(link)->Arrive(static_cast<int>(side));
      },
      static_cast<uint64_t>(from));
}

void Link::Arrive(int from) {
  Side& self = sides_[from];
  Side& peer = sides_[Other(from)];
  if (self.dead || lost_ || cut_) return;
  Random& random = simulation_.random();
  if (tcp_ && random.Chance(simulation_.faults.reset)) {
    Reset(from);
    Die(from, ECONNRESET);
    return;
  }
  if (tcp_ && random.Chance(simulation_.faults.vanish)) {
    Vanish();
    return;
  }
  self.heard_ns = peer.heard_ns = simulation_.NowNs();
  if (peer.dead || !peer.open || peer.read_shut) {
    // Nobody reads there any more: data is answered with RST, a FIN with an acknowledgement.
    if (self.OutBytes() > 0) {
      if (tcp_) {
        simulation_.Post(simulation_.NowNs() + DelayNs(), shared_from_this(), RunReset,
                         static_cast<uint64_t>(from));
        self.out.clear();
        self.out_at = 0;
      }
    } else if (self.fin) {
      self.fin_arrived = true;
    }
    return;
  }
  const size_t carried = Carry(from);
  const bool fin_too = self.OutBytes() == 0 && self.fin && !self.fin_arrived &&
                       (carried == 0 || !tcp_ || random.Below(2) == 0);
  if (fin_too) Fin(from);
  if (carried > 0 || fin_too) Changed(Other(from));
  TellOfRoom(from);
  Go(from);
}

// Bytes that a UNIX socket has sent are already at its peer.
size_t Link::Used(int side) const {
  return tcp_ ? sides_[side].OutBytes() : sides_[Other(side)].InBytes();
}

size_t Link::SendMax(int side) const {
  return tcp_ ? sides_[side].send_max : sides_[Other(side)].receive_max;
}

bool Link::HasRoom(int side) const { return Used(side) <= SendMax(side) / 3 * 2; }

void Link::TellOfRoom(int side) {
  if (!sides_[side].starved || !HasRoom(side)) return;
  sides_[side].starved = false;
  Changed(side);
}

size_t Link::Carry(int from) {
  Side& self = sides_[from];
  Side& peer = sides_[Other(from)];
  Random& random = simulation_.random();
  size_t most = self.OutBytes();
  if (tcp_ && most > 1) {
    if (random.Chance(simulation_.faults.one_byte_segment)) {
      most = 1;
    } else if (random.Chance(simulation_.faults.part_segment)) {
      most = 1 + random.Below(most);
    }
  }
  const size_t room = peer.receive_max - std::min<size_t>(peer.receive_max, peer.InBytes());
  const size_t count = std::min({most, room, self.OutBytes()});
  if (count == 0) return 0;
  peer.in.append(self.out, self.out_at, count);
  self.out_at += static_cast<uint32_t>(count);
  Compact(&self.out, &self.out_at);
  self.unacknowledged_ns = simulation_.NowNs();
  return count;
}

void Link::Fin(int from) {
  sides_[from].fin_arrived = true;
  sides_[Other(from)].eof = true;
}

void Link::Reset(int from) {
  Side& self = sides_[from];
  // Bytes on their way arrive before the reset.
  const Side& peer = sides_[Other(from)];
  if (tcp_ && !lost_ && self.travelling && peer.open && !peer.dead && Carry(from) > 0) {
    Changed(Other(from));
  }
  self.dead = true;
  self.out.clear();
  self.out_at = 0;
  self.out.shrink_to_fit();
  if (lost_ || cut_) return;
  if (!tcp_) {
    Fail(Other(from), ECONNRESET);
    return;
  }
  simulation_.Post(simulation_.NowNs() + DelayNs(), shared_from_this(), RunReset,
                   static_cast<uint64_t>(Other(from)));
}

void Link::Fail(int side, int error) {
  Side& self = sides_[side];
  if (self.dead) return;
  // tcp_reset(): after the peer's FIN the error is EPIPE; while connecting, ECONNREFUSED. (The
  // accepting side gets the error once its connection is accepted.)
  const bool connects = side == 0 && !self.up;
  if (error == ECONNRESET) error = connects ? ECONNREFUSED : self.eof ? EPIPE : ECONNRESET;
  Die(side, error);
}

void Link::Die(int side, int error) {
  Side& self = sides_[side];
  self.dead = true;
  self.error = static_cast<int16_t>(error);
  self.out.clear();
  self.out_at = 0;
  self.out.shrink_to_fit();
  Changed(side);
}

// --- Peers that vanish.

void Link::Cut() {
  if (lost_) return;
  cut_ = true;
  cut_ns_ = simulation_.NowNs();
}

// A kernel does not know that its link is whole again: it goes on at its next retransmission.
void Link::Mend() {
  if (!cut_) return;
  cut_ = false;
  for (const int side : {0, 1}) {
    Side& self = sides_[side];
    if (self.OutBytes() == 0 && !(self.fin && !self.fin_arrived)) continue;
    const Asking asking = AskingNow(side);
    self.held_until_ns = asking.last_ns + asking.wait_ns;
    simulation_.Post(
        self.held_until_ns, shared_from_this(),
        [](void* link, uint64_t at) { static_cast<Link*>(link)->Go(static_cast<int>(at)); },
        static_cast<uint64_t>(side));
  }
}

// Retransmits each time after twice as long as before (RFC 6298), up to a limit; the same for
// probes of a closed window.
Link::Asking Link::AskingNow(int side) const {
  const Side& self = sides_[side];
  const int64_t limit_ms = files[side] != nullptr && files[side]->options.retransmit_ms_max > 0
                               ? files[side]->options.retransmit_ms_max
                               : 120'000;
  Asking asking{0, self.unacknowledged_ns, kRetransmitFirstNs + round_trip_ns_, 0};
  while (asking.last_ns + asking.wait_ns <= simulation_.NowNs()) {
    asking.last_ns += asking.wait_ns;
    asking.wait_ns = std::min(2 * asking.wait_ns, limit_ms * 1'000'000);
    ++asking.times;
    asking.times_unheard += asking.last_ns > cut_ns_;
  }
  return asking;
}

bool Link::WindowClosed(int side) const {
  const Side& peer = sides_[Other(side)];
  return peer.open && !peer.read_shut && peer.InBytes() >= peer.receive_max;
}

void Link::Vanish() {
  lost_ = true;
  cut_ns_ = simulation_.NowNs();
  WatchDeath(0);
  WatchDeath(1);
}

// Time at which the kernel gives up on a silent peer; kNever: never.
int64_t Link::DeathNs(int side) const {
  const Side& self = sides_[side];
  if (self.dead || files[side] == nullptr) return Simulation::kNever;
  const SocketOptions& options = files[side]->options;
  if (self.OutBytes() > 0 || (self.fin && !self.fin_arrived)) {
    return self.unacknowledged_ns + (options.user_timeout_ms > 0
                                         ? options.user_timeout_ms * int64_t{1'000'000}
                                         : kRetransmitTimeoutNs);
  }
  if (!options.keepalive) return Simulation::kNever;
  const int64_t probes_s = int64_t{options.keepalive_interval_s} * options.keepalive_count;
  return self.heard_ns + (options.keepalive_idle_s + probes_s) * 1'000'000'000;
}

void Link::WatchDeath(int side) {
  const int64_t at_ns = DeathNs(side);
  if (at_ns == Simulation::kNever) return;
  simulation_.Post(
      at_ns, shared_from_this(),
      [](void* object, uint64_t watched) {
        auto* link = static_cast<Link*>(object);
        const int at = static_cast<int>(watched);
        const int64_t due_ns = link->DeathNs(at);
        if (due_ns == Simulation::kNever) return;
        if (due_ns > link->simulation_.NowNs()) {
          link->WatchDeath(at);
        } else {
          link->Fail(at, ETIMEDOUT);
        }
      },
      static_cast<uint64_t>(side));
}

}  // namespace sluice::sim
