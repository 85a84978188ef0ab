// Link is one connection of the simulated network: two sides, and the bytes on their way between
// them. It does what Linux's TCP does as far as a program can see: buffers that fill, FIN and RST,
// orphans that go on sending, keepalive, the time-out of unacknowledged bytes. UNIX sockets, on one
// machine, do the same at once.
//
// Owner:  its sides' files, the events on their way, and a listener's queue.
// Thread: the simulation's.
// Bound:  send_max and receive_max bytes each way.
// Errors: errno values, which the side's file gives to its program.
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

// A socket's name. The port is beside the address, so connections share the address.
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
  bool shut = false;  // After shutdown(): nobody can connect any more.
  int coming = 0;     // Connections on their way that have a place in the queue.
  std::deque<std::shared_ptr<Link>> queue;
};

class Link : public std::enable_shared_from_this<Link> {
 public:
  static constexpr int64_t kRetransmitTimeoutNs = 924'600'000'000;  // tcp_retries2 = 15 (tcp(7)).

  Link(Simulation& simulation, bool tcp);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // True once the side knows that it is connected.
  bool Up(int side) const { return sides_[side].up; }
  void SetUp(int side);
  void Fail(int side, int error);  // Ends the connection for that side, with this error.

  int64_t Receive(int side, char* data, size_t size);
  int64_t Send(int side, const iovec* parts, int count);
  int ShutdownWrite(int side);
  int ShutdownBoth(int side);
  void Close(int side, bool at_once);
  uint32_t Ready(int side);
  int TakeError(int side);
  int64_t Unacknowledged(int side) const;
  int64_t SilentNs(int side) const;  // Time since the peer was heard.
  // As the side's kernel has measured it: the smoothed round trip, and its variation, by RFC 6298.
  int64_t RoundTripNs() const { return round_trip_ns_; }
  void Measure();
  void Measured(int side, int64_t delay_ns) { sides_[side].delay_ns = delay_ns; }
  int64_t RoundTripOffNs() const { return round_trip_off_ns_; }
  bool Closed(int side) const { return !sides_[side].open; }
  void Reset(int from);  // The peer gets RST.
  void Vanish();         // Nothing of this connection arrives any more.
  void Cut();            // Nothing arrives...
  void Mend();           // ...until now: what is sent again arrives.
  // Retransmissions of a side that hears nothing: how many, the time of the last, the wait to the
  // next.
  struct Asking {
    int times = 0;
    int64_t last_ns = 0;
    int64_t wait_ns = 0;
    int times_unheard = 0;  // Retransmissions since the link was cut.
  };
  Asking AskingNow(int side) const;
  bool WindowClosed(int side) const;  // The peer has no room.
  // Side 0 has connected to its own address, where nobody listens: it becomes its own peer (RFC
  // 793, a simultaneous open with itself).
  void MeetItself();
  bool tcp() const { return tcp_; }

  SocketName names[2];  // names[0]: the connecting side's.
  SimOs* machines[2] = {nullptr, nullptr};
  Stream* files[2] = {nullptr, nullptr};
  std::weak_ptr<Listener> listener;  // Set until the link is in the queue.
  int attempts = 0;                  // Connection attempts.

 private:
  struct Side {
    std::string out;  // Sent, and not arrived at the peer.
    std::string in;   // Arrived, and not read.
    uint32_t out_at = 0;
    uint32_t in_at = 0;
    uint32_t send_max = 0;
    uint32_t receive_max = 0;
    int64_t heard_ns = 0;
    int64_t unacknowledged_ns = 0;  // Since then bytes are unacknowledged.
    int16_t error = 0;
    bool up = false;
    bool open = true;
    bool dead = false;  // No bytes come or go; bytes that have arrived can be read.
    bool fin = false;   // FIN follows the bytes in `out`.
    bool fin_arrived = false;
    bool eof = false;  // The peer's FIN has arrived.
    bool write_shut = false;
    bool read_shut = false;       // Input is answered with RST.
    bool starved = false;         // A send found no room: notify when there is.
    bool travelling = false;      // A segment is on its way.
    bool window_travels = false;  // News is on its way to this side that its peer has room again.
    int64_t delay_ns = 0;         // Delay of its last segment.
    int64_t held_until_ns = 0;    // Retransmits only then.
    size_t OutBytes() const { return out.size() - out_at; }
    size_t InBytes() const { return in.size() - in_at; }
  };

  int Other(int side) const { return itself_ ? side : 1 - side; }
  void Go(int from);       // Sends a segment, unless one is on its way.
  void Arrive(int from);   // The segment has arrived.
  size_t Carry(int from);  // Moves one segment; returns its bytes.
  void Fin(int from);
  size_t Used(int side) const;  // Bytes that count against SendMax().
  size_t SendMax(int side) const;
  bool HasRoom(int side) const;
  void TellOfRoom(int side);
  void Changed(int side);
  void Die(int side, int error);
  void WatchDeath(int side);
  int64_t DeathNs(int side) const;
  int64_t DelayNs();
  void WindowOpened(int side);  // The peer of `side` has room again.

  Simulation& simulation_;
  const bool tcp_;
  bool lost_ = false;
  bool cut_ = false;
  int64_t cut_ns_ = 0;  // Time of Cut() or Vanish().
  bool itself_ = false;
  int64_t round_trip_ns_ = 0;
  int64_t round_trip_off_ns_ = 0;
  Side sides_[2];
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_WORLD_LINK_H_
