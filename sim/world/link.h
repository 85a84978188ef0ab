// Link is one connection of the simulated network: two sides, and what is on its way between them.
// It does what Linux's TCP does as far as a program can see it: buffers that fill, FIN and RST,
// orphans that go on sending, keepalive, the time-out of what nobody acknowledges. On one machine,
// UNIX sockets do the same at once.
//
// Owner:  its sides' files, the events on their way, and the queue of a listener.
// Thread: the simulation's.
// Bound:  send_max and receive_max bytes each way.
// Errors: values, as errno's, that the side's file gives to its program.
#ifndef SLUICE_SIM_WORLD_LINK_H_
#define SLUICE_SIM_WORLD_LINK_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "sluice/core/os/address.h"
#include "sluice/sim/world/file.h"

namespace sluice::sim {

class Link;
class Simulation;
class SimOs;

// Where a socket is: the port is beside the address, so that connections share that.
struct SocketName {
  std::shared_ptr<const Address> base;
  uint16_t port = 0;
  Address Whole() const;
};

// A socket that is connected, or was.
class Stream : public File {
 public:
  Stream(std::shared_ptr<Link> link, int side, const SocketOptions& options);
  ~Stream() override;
  uint32_t Ready() override;
  void Closed() override;
  Link& link() { return *link_; }
  int side() const { return side_; }
  SocketOptions options;

 private:
  std::shared_ptr<Link> link_;
  const int side_;
};

class Listener : public File {
 public:
  uint32_t Ready() override { return queue.empty() ? 0u : uint32_t{EPOLLIN}; }
  void Closed() override;
  bool Full() const { return static_cast<int>(queue.size()) + coming > backlog; }

  SocketName name;
  SimOs* machine = nullptr;
  SocketOptions options;
  int backlog = 0;
  bool shut = false;  // shutdown(): nobody can connect any more.
  int coming = 0;     // On their way: their place in the queue is kept.
  std::deque<std::shared_ptr<Link>> queue;
};

class Link : public std::enable_shared_from_this<Link> {
 public:
  static constexpr int64_t kRetransmitTimeoutNs = 924'600'000'000;  // tcp_retries2 = 15 (tcp(7)).

  Link(Simulation& simulation, bool tcp);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Both sides know that they are connected.
  bool Up(int side) const { return sides_[side].up; }
  void SetUp(int side);
  void Fail(int side, int error);  // It is over for that side, which is told.

  int64_t Receive(int side, char* data, size_t size);
  int64_t Send(int side, const iovec* parts, int count);
  int ShutdownWrite(int side);
  int ShutdownBoth(int side);
  void Close(int side, bool at_once);
  uint32_t Ready(int side);
  int TakeError(int side);
  int64_t Unacknowledged(int side) const;
  int64_t SilentNs(int side) const;  // Since the peer was heard.
  // As the side's kernel has measured it: smoothed, and how far it is off, as RFC 6298 has it.
  int64_t RoundTripNs() const { return round_trip_ns_; }
  void Measure();
  void Measured(int side, int64_t delay_ns) { sides_[side].delay_ns = delay_ns; }
  int64_t RoundTripOffNs() const { return round_trip_off_ns_; }
  bool Closed(int side) const { return !sides_[side].open; }
  void Reset(int from);  // Its peer hears RST.
  void Vanish();         // Nothing of it is ever heard again.
  void Cut();            // Nothing arrives...
  void Mend();           // ...until now: what is sent again arrives.
  // How a side asks again and again while it hears nothing: times, the last and the next one.
  struct Asking {
    int times = 0;
    int64_t last_ns = 0;
    int64_t wait_ns = 0;
    int times_unheard = 0;  // Since the link was cut.
  };
  Asking AskingNow(int side) const;
  bool WindowClosed(int side) const;  // Its peer has no room.
  // Side 0 has connected to its own address, where nobody listens: it is its own peer (RFC 793, a
  // simultaneous open with itself).
  void MeetItself();
  bool tcp() const { return tcp_; }

  SocketName names[2];  // The connecting side's first.
  SimOs* machines[2] = {nullptr, nullptr};
  Stream* files[2] = {nullptr, nullptr};
  std::weak_ptr<Listener> listener;  // Until it is in its queue.
  int attempts = 0;                  // Of connecting.

 private:
  struct Side {
    std::string out;  // Sent, and not arrived at the peer.
    std::string in;   // Arrived, and not read.
    uint32_t out_at = 0;
    uint32_t in_at = 0;
    uint32_t send_max = 0;
    uint32_t receive_max = 0;
    int64_t heard_ns = 0;
    int64_t unacknowledged_ns = 0;  // Since when something is out.
    int16_t error = 0;
    bool up = false;
    bool open = true;
    bool dead = false;  // No more comes or goes; what has arrived can be read.
    bool fin = false;   // After what is out.
    bool fin_arrived = false;
    bool eof = false;  // The peer's FIN has arrived.
    bool write_shut = false;
    bool read_shut = false;       // What comes is answered by RST.
    bool starved = false;         // A send found no room: tell when there is.
    bool travelling = false;      // A segment is on its way.
    bool window_travels = false;  // To this side: that its peer has room again.
    int64_t delay_ns = 0;         // Of its last segment.
    int64_t held_until_ns = 0;    // It asks again only then.
    size_t OutBytes() const { return out.size() - out_at; }
    size_t InBytes() const { return in.size() - in_at; }
  };

  int Other(int side) const { return itself_ ? side : 1 - side; }
  void Go(int from);       // A segment leaves, unless one is on its way.
  void Arrive(int from);   // It has arrived.
  size_t Carry(int from);  // One segment of what is out; how many bytes.
  void Fin(int from);
  size_t Used(int side) const;  // Of what a side may send before it must wait.
  size_t SendMax(int side) const;
  bool HasRoom(int side) const;
  void TellOfRoom(int side);
  void Changed(int side);
  void Die(int side, int error);
  void WatchDeath(int side);
  int64_t DeathNs(int side) const;
  int64_t DelayNs();
  void WindowOpened(int side);  // Of the peer of that side.

  Simulation& simulation_;
  const bool tcp_;
  bool lost_ = false;
  bool cut_ = false;
  int64_t cut_ns_ = 0;  // When it was cut, or lost.
  bool itself_ = false;
  int64_t round_trip_ns_ = 0;
  int64_t round_trip_off_ns_ = 0;
  Side sides_[2];
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_WORLD_LINK_H_
