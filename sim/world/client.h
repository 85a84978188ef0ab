// Client is the other end of a connection, as a script that reads from top to bottom: each call
// waits until it has done what it says. It runs on any Os: in a simulation, and over Linux's
// sockets.
//
//   sim::Client client(machine);
//   ASSERT_OK(client.Connect("10.0.0.1:7001"));
//   ASSERT_OK(client.Write("hello\n"));
//   EXPECT_EQ(*client.ReadLine(), "hello");
//
// It is not made of Sluice's connections, so that an error there does not hide one here.
//
// Owner:  the script.
// Thread: that of the script, which waits.
// Bound:  what was read and not asked for: at most kKeptBytesMax, then it reads no more.
// Errors: a Status with the errno's name; DeadlineExceeded when a call took longer than the
// timeout.
#ifndef SLUICE_SIM_WORLD_CLIENT_H_
#define SLUICE_SIM_WORLD_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/os/os.h"

namespace sluice::sim {

class Client {
 public:
  static constexpr size_t kKeptBytesMax = 1024 * 1024;

  explicit Client(Os& os, absl::Duration timeout = absl::Seconds(30));
  ~Client();  // Close().
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  absl::Status Connect(std::string_view address);
  bool Connected() const { return fd_ >= 0; }
  // Before Connect: how much the kernel keeps for it each way.
  void LimitBuffers(int send_bytes, int receive_bytes);

  absl::Status Write(std::string_view bytes);  // All of them, to the kernel.
  // What the kernel takes now, without a wait; 0 for none of it, or an error.
  size_t WriteSome(std::string_view bytes);
  // What there is, at least a byte; empty: the peer has ended its side.
  absl::StatusOr<std::string> Read(size_t most = kKeptBytesMax);
  absl::StatusOr<std::string> ReadExactly(size_t bytes);  // OutOfRange: the end came first.
  absl::StatusOr<std::string> ReadLine();                 // Without its LF. OutOfRange, as above.
  absl::StatusOr<std::string> ReadToEnd();
  absl::Status AwaitUnread();  // Until the kernel has something to read, and nothing is read.

  absl::Status CloseWrite();  // FIN; it goes on reading.
  void Close();
  void Reset();  // RST.

 private:
  bool Wait(int64_t deadline_ns);
  int64_t DeadlineNs() const;
  absl::Status Fill(int64_t deadline_ns, bool* ended);
  absl::Status Failed(int64_t result, std::string_view call) const;

  Os& os_;
  const absl::Duration timeout_;
  int poller_ = -1;
  int fd_ = -1;
  int send_bytes_ = 0;
  int receive_bytes_ = 0;
  std::string kept_;  // Read, and not yet asked for.
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_WORLD_CLIENT_H_
