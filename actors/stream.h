// Stream carries the bytes of one connection: plain now, TLS later. A test double delays and
// fragments.
//
// Owner:  the Connection.
// Thread: the worker's.
// Bound:  none of its own: it keeps no bytes.
// Errors: a negative result is -errno; -EAGAIN means not now, and readiness tells when.
#ifndef SLUICE_ACTORS_STREAM_H_
#define SLUICE_ACTORS_STREAM_H_

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "sluice/core/os.h"
#include "sluice/core/plant.h"

namespace sluice {

class Stream {
 public:
  virtual ~Stream() = default;
  virtual int64_t Read(char* data, size_t size) = 0;  // 0: the peer has ended its side.
  virtual int64_t Write(const iovec* parts, int count) = 0;
  virtual int ShutdownWrite() = 0;
  // The connection ends, whoever else holds a descriptor of it; with `reset` the peer hears RST,
  // and what it was not given yet is lost.
  virtual void Close(bool reset) = 0;
  virtual int Descriptor() const = 0;
  // Of what was written, what the peer may still lose by a reset.
  virtual int64_t UnacknowledgedBytes() { return 0; }
  // For how long the peer has given no sign of life, when something that it answers while it lives
  // was sent since; 0: it has answered, was asked nothing, or nobody can tell.
  virtual int64_t UnansweredMs() { return 0; }
  // How long an answer of the peer's kernel to what this side does now may take, as far as this
  // kernel has measured it; 0: it is on this machine, or nobody can tell.
  virtual int64_t RoundTripMs() { return 0; }
  // True where a read that is shorter than asked for means that nothing is left (TCP without
  // exceptional events). Not so on UNIX sockets, where passed descriptors cut a read short.
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
  int ShutdownWrite() override {
    write_ended_ = true;
    return os_.ShutdownWrite(fd_);
  }
  void Close(bool reset) override {
    // Not close() alone: a forked child may hold the descriptor, and the peer would wait for it.
    if (reset && tcp_ && !Planted(Plant::kResetByClose)) {
      os_.Reset(fd_);
    } else if (!(read_ended_ && write_ended_) && !Planted(Plant::kEndByClose)) {
      os_.ShutdownBoth(fd_);
    }
    os_.Close(fd_);
    fd_ = -1;
  }
  int Descriptor() const override { return fd_; }
  int64_t UnacknowledgedBytes() override { return os_.UnacknowledgedBytes(fd_); }
  // A peer that only does not read answers the probes of its closed window, however rare they have
  // become; so what counts is a question behind the last answer, not the age of that answer.
  int64_t UnansweredMs() override {
    tcp_info info{};
    socklen_t size = sizeof(info);
    if (!tcp_ || os_.OptionGet(fd_, IPPROTO_TCP, TCP_INFO, &info, &size) < 0) return 0;
    const bool asked = info.tcpi_probes > 0 || (info.tcpi_unacked > 0 &&
                                                info.tcpi_last_data_sent < info.tcpi_last_ack_recv);
    return asked ? std::min(info.tcpi_last_ack_recv, info.tcpi_last_data_recv) : 0;
  }
  int64_t RoundTripMs() override {
    tcp_info info{};
    socklen_t size = sizeof(info);
    if (!tcp_ || os_.OptionGet(fd_, IPPROTO_TCP, TCP_INFO, &info, &size) < 0) return 0;
    // In microseconds, and four times the deviation, as a retransmission is timed (RFC 6298).
    return (int64_t{info.tcpi_rtt} + 4 * int64_t{info.tcpi_rttvar} + 999) / 1'000;
  }
  bool ShortReadMeansEmpty() const override { return tcp_; }

 private:
  Os& os_;
  int fd_;
  const bool tcp_;
  bool read_ended_ = false;  // The peer's FIN was read; ours was sent.
  bool write_ended_ = false;
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_STREAM_H_
