#ifndef SLUICE_TESTS_E2E_CLIENT_H_
#define SLUICE_TESTS_E2E_CLIENT_H_

#include <cstddef>
#include <iosfwd>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/tests/e2e/process.h"

namespace sluice::e2e {

// The `length` bytes at `offset` of an endless sequence that repeats only after about a million
// bytes, so a lost, doubled or swapped piece shows.
std::string Pattern(size_t offset, size_t length);

// Succeeds if equal; otherwise reports only where the first difference is, as a megabyte is too
// long to print.
testing::AssertionResult SameBytes(std::string_view expected, std::string_view actual);

// State of a stream. kReset covers every error of the socket.
enum class End { kOpen, kEof, kReset, kTimeout };

std::ostream& operator<<(std::ostream& out, End end);

struct ClientOptions {
  int receive_buffer_bytes =
      0;  // SO_RCVBUF; 0: the kernel's default. A small buffer makes a reader slow at once.
};

// A connection to a server, as a client would use it. Every call that waits has a deadline.
class Client {
 public:
  explicit Client(const std::string& address, const ClientOptions& options = {});
  static Client OfDescriptor(int fd);  // A connected, non-blocking socket; -1: not connected().
  ~Client();
  Client(Client&& other) noexcept;
  Client& operator=(Client&& other) noexcept;

  bool connected() const { return fd_ >= 0; }
  int connect_errno() const { return connect_errno_; }
  End end() const { return end_; }  // The result of the last read.

  // Sends all bytes; false: reset, or the time is over.
  bool Send(std::string_view bytes);
  bool SendUrgent(char byte);
  // FIN; the other direction stays open.
  void ShutdownWrite();
  // RST instead of FIN; closes the client.
  void Reset();
  void Close();

  // Reads until '\n', which is cut off. "<eof>", "<reset>" or "<timeout>" if no line came.
  std::string ReadLine(const Deadline& deadline = Deadline());
  std::string ReadExactly(size_t length);
  std::string ReadUntilEof();
  // True: bytes or the end of stream can be read now.
  bool Readable();

  // Sends until the peer takes nothing for `quiet`, and returns the number of bytes sent.
  size_t SendUntilStopped(std::string_view bytes, absl::Duration quiet = absl::Seconds(1));

  // Sends the pattern, from where the last call ended.
  bool SendPattern(size_t length);
  size_t SendPatternUntilStopped(size_t length_max, absl::Duration quiet = absl::Seconds(1));
  testing::AssertionResult ReadPattern(size_t length);
  // Sends and reads at once, for an echo that stops reading when its answers are not read.
  testing::AssertionResult EchoPattern(size_t length);

  size_t pattern_sent() const { return pattern_sent_; }
  size_t pattern_received() const { return pattern_received_; }
  // Bytes that the peer's kernel has not acknowledged. 0: all have arrived.
  size_t UnacknowledgedBytes() const;
  // Waits until all bytes sent are in the peer's kernel.
  bool WaitUntilArrived();

 private:
  Client() = default;
  // Reads once into the buffer; false at the end of stream and when the time is over.
  bool Fill(const Deadline& deadline);
  std::string Take(size_t length);
  size_t Buffered() const { return buffer_.size() - taken_; }

  int fd_ = -1;
  int connect_errno_ = 0;
  End end_ = End::kOpen;
  std::string buffer_;  // Received; the first `taken_` bytes were handed out.
  size_t taken_ = 0;
  size_t pattern_sent_ = 0;
  size_t pattern_received_ = 0;
};

// A short exchange that shows that the peer serves: sends `text` and expects it back.
testing::AssertionResult Echoes(Client& client, std::string_view text = "are you there?");

}  // namespace sluice::e2e

#endif  // SLUICE_TESTS_E2E_CLIENT_H_
