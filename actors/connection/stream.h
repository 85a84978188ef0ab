// Stream carries the bytes of one connection: plain now, TLS later. A test double delays and
// fragments.
//
// Owner:  the Connection.
// Thread: the worker's.
// Bound:  none of its own: it keeps no bytes.
// Errors: a negative result is -errno; -EAGAIN means not now, and readiness tells when.
#ifndef SLUICE_ACTORS_CONNECTION_STREAM_H_
#define SLUICE_ACTORS_CONNECTION_STREAM_H_

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "sluice/core/base/plant.h"
#include "sluice/core/os/os.h"

namespace sluice {

// Questions (data and probes) that a peer has left unanswered, as far as the kernel reports them.
struct Unanswered {
  static constexpr int64_t kUnknown = -1;
  bool Any() const { return silent_ms > 0; }
  int64_t silent_ms = 0;       // Since the peer's last sign of life; 0: nothing is unanswered.
  int64_t asked_ms = 0;        // Since the peer was first asked. May be too short, never too long.
  int64_t last_ms = kUnknown;  // Since the peer was last asked (a retransmission).
  uint32_t probes = 0;         // If last_ms is unknown: how often it was asked.
  int64_t round_trip_ms = 0;   // Time that an answer takes.
};

class Stream {
 public:
  virtual ~Stream() = default;
  virtual int64_t Read(char* data, size_t size) = 0;  // 0: the peer has ended its side.
  virtual int64_t Write(const iovec* parts, int count) = 0;
  // Bytes of a file (Os::SendFile).
  virtual int64_t SendFile(int file, int64_t offset, int64_t bytes) = 0;
  virtual int ShutdownWrite() = 0;
  // Ends the connection, even if another process holds a descriptor of it. With `reset` the peer
  // gets RST, and bytes that it was not given yet are lost.
  virtual void Close(bool reset) = 0;
  virtual int Descriptor() const = 0;
  // Written bytes that the peer may still lose by a reset.
  virtual int64_t UnacknowledgedBytes() { return 0; }
  // Time since the peer's kernel last acknowledged anything; kUnknown: the kernel does not report
  // it.
  virtual int64_t AcknowledgedMs() { return Unanswered::kUnknown; }
  // Empty if the peer has answered, was asked nothing, or the kernel does not report it.
  virtual Unanswered LookForAnswer() { return {}; }
  // How long an answer of the peer's kernel may take, as far as this kernel has measured it; 0: the
  // peer is on this machine, or the kernel does not report it.
  virtual int64_t RoundTripMs() { return 0; }
  // True: a read that is shorter than asked for has left nothing (TCP without exceptional events).
  // False for UNIX sockets, where passed descriptors cut a read short.
  virtual bool ShortReadMeansEmpty() const = 0;
};

class PlainStream : public Stream {
 public:
  PlainStream(Os& os, int fd, bool tcp) : os_(os), fd_(fd), tcp_(tcp) {}
  ~PlainStream() override {
    if (fd_ >= 0) Close(/*reset=*/false);
  }
  int64_t Read(char* data, size_t size) override {
    const int64_t count = os_.Receive(fd_, data, size);
    if (count == 0 && size > 0) [[unlikely]]
      read_ended_ = true;
    return count;
  }
  int64_t Write(const iovec* parts, int count) override { return os_.Send(fd_, parts, count); }
  int64_t SendFile(int file, int64_t offset, int64_t bytes) override {
    return os_.SendFile(fd_, file, offset, bytes);
  }
  int ShutdownWrite() override {
    write_ended_ = true;
    return os_.ShutdownWrite(fd_);
  }
  void Close(bool reset) override {
    SLUICE_PLANT(reset_by_close, reset = false);
    SLUICE_PLANT(end_by_close, read_ended_ = write_ended_ = true);
    // Not close() alone: a forked child may hold the descriptor, and then the peer would wait.
    if (reset && tcp_) {
      os_.Reset(fd_);
    } else if (!(read_ended_ && write_ended_)) {
      os_.ShutdownBoth(fd_);
    }
    os_.Close(fd_);
    fd_ = -1;
  }
  int Descriptor() const override { return fd_; }
  int64_t UnacknowledgedBytes() override { return os_.UnacknowledgedBytes(fd_); }
  int64_t AcknowledgedMs() override {
    tcp_info info{};
    return Info(&info) ? int64_t{info.tcpi_last_ack_recv} : Unanswered::kUnknown;
  }
  // A peer that merely does not read still answers the probes of its closed window, however rare
  // they have become. Therefore a question after the last answer counts, not the age of that
  // answer.
  Unanswered LookForAnswer() override {
    tcp_info info{};
    if (!Info(&info)) return {};
    const bool data = info.tcpi_probes == 0 && info.tcpi_unacked > 0 &&
                      info.tcpi_last_data_sent < info.tcpi_last_ack_recv;
    if (!data && info.tcpi_probes == 0) return {};
    Unanswered unanswered;
    unanswered.silent_ms = std::min(info.tcpi_last_ack_recv, info.tcpi_last_data_recv);
    unanswered.round_trip_ms = RoundTripMs(info);
    if (data) {
      unanswered.last_ms = info.tcpi_last_data_sent;
      unanswered.asked_ms = std::min(unanswered.silent_ms, unanswered.last_ms + WaitedMs(info));
    } else {
      unanswered.probes = info.tcpi_probes;
    }
    return unanswered;
  }
  int64_t RoundTripMs() override {
    tcp_info info{};
    return Info(&info) ? RoundTripMs(info) : 0;
  }
  bool ShortReadMeansEmpty() const override { return tcp_; }

 private:
  bool Info(tcp_info* info) {
    socklen_t size = sizeof(*info);
    return tcp_ && os_.OptionGet(fd_, IPPROTO_TCP, TCP_INFO, info, &size) >= 0;
  }
  // Minimum time from the first transmission to the last. Each retransmission waits for twice as
  // long as the one before it, up to a limit; the first one for 200 ms or longer.
  static int64_t WaitedMs(const tcp_info& info) {
    const int64_t next_ms = info.tcpi_rto / 1'000;
    const int times = std::min<int>(info.tcpi_retransmits, 30);
    int64_t with_limit_ms = 0;
    for (int i = 0; i < times; ++i) with_limit_ms += std::min(int64_t{200} << i, next_ms);
    return std::max(with_limit_ms, next_ms - (next_ms >> times));
  }
  // The kernel's figures are in microseconds. Four times the deviation is added, as in the
  // retransmission timeout (RFC 6298).
  static int64_t RoundTripMs(const tcp_info& info) {
    return (int64_t{info.tcpi_rtt} + 4 * int64_t{info.tcpi_rttvar} + 999) / 1'000;
  }

  Os& os_;
  int fd_;
  const bool tcp_;
  bool read_ended_ = false;   // The peer's FIN was read.
  bool write_ended_ = false;  // Our FIN was sent.
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_STREAM_H_
