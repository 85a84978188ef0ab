// Client is the other end of a connection, written as a script: each call waits until it is done.
// It runs on any Os: in a simulation, or over Linux's sockets.
//
//   sim::Client client(machine);
//   ASSERT_OK(client.Connect("10.0.0.1:7001"));
//   ASSERT_OK(client.Write("hello\n"));
//   EXPECT_EQ(*client.ReadLine(), "hello");
//
// Client shares no code with Sluice's connections, so an error there does not hide one here.
//
// Owner:  the script.
// Thread: the script's, which waits.
// Bound:  keeps at most kKeptBytesMax bytes that were read and not asked for, then reads no more.
// Errors: a Status with the errno's name; DeadlineExceeded when a call took longer than the
//         timeout.
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
  // Call before Connect: sets how many bytes the kernel buffers each way.
  void LimitBuffers(int send_bytes, int receive_bytes);

  absl::Status Write(std::string_view bytes);  // Waits until the kernel has all bytes.
  // Writes what the kernel takes now, without a wait. Returns the bytes taken; 0 also on an error.
  size_t WriteSome(std::string_view bytes);
  // At least one byte; empty when the peer has ended its side.
  absl::StatusOr<std::string> Read(size_t most = kKeptBytesMax);
  // OutOfRange: the end of stream came first.
  absl::StatusOr<std::string> ReadExactly(size_t bytes);
  absl::StatusOr<std::string> ReadLine();  // Without its LF. OutOfRange, as above.
  absl::StatusOr<std::string> ReadToEnd();
  absl::Status AwaitUnread();  // Waits until there is input, and reads none.

  absl::Status CloseWrite();  // Sends FIN; reading goes on.
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
  std::string kept_;  // Bytes that were read and not asked for yet.
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_WORLD_CLIENT_H_
