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
// bytes, so that a lost, doubled or swapped piece is seen.
std::string Pattern(size_t offset, size_t length);

// Equal, or where the first difference is: a megabyte is not printed.
testing::AssertionResult SameBytes(std::string_view expected, std::string_view actual);

// How a stream stands. kReset covers every error of the socket.
enum class End { kOpen, kEof, kReset, kTimeout };

std::ostream& operator<<(std::ostream& out, End end);

struct ClientOptions {
  int receive_buffer_bytes =
      0;  // SO_RCVBUF; 0: the kernel's. Small ones make a reader slow at once.
};

// One connection to a server, as a client would use it. Every call that waits has a deadline.
class Client {
 public:
  explicit Client(const std::string& address, const ClientOptions& options = {});
  static Client OfDescriptor(int fd);  // A connected socket, non-blocking; -1: not connected().
  ~Client();
  Client(Client&& other) noexcept;
  Client& operator=(Client&& other) noexcept;

  bool connected() const { return fd_ >= 0; }
  int connect_errno() const { return connect_errno_; }
  End end() const { return end_; }  // What the last read met.

  // All bytes go out, or it is false: reset, or the time is over.
  bool Send(std::string_view bytes);
  bool SendUrgent(char byte);
  // FIN; the other direction stays.
  void ShutdownWrite();
  // RST instead of FIN; the client is closed then.
  void Reset();
  void Close();

  // Until '\n', which is cut off. "<eof>", "<reset>" or "<timeout>" when no line came.
  std::string ReadLine(const Deadline& deadline = Deadline());
  std::string ReadExactly(size_t length);
  std::string ReadUntilEof();
  // Something to read, or the end of stream, is here now.
  bool Readable();

  // Sends until the peer takes nothing for `quiet`, and says how many bytes went out.
  size_t SendUntilStopped(std::string_view bytes, absl::Duration quiet = absl::Seconds(1));

  // The pattern, from where the last call ended.
  bool SendPattern(size_t length);
  size_t SendPatternUntilStopped(size_t length_max, absl::Duration quiet = absl::Seconds(1));
  testing::AssertionResult ReadPattern(size_t length);
  // Both at once, for an echo that stops reading when its answers are not read.
  testing::AssertionResult EchoPattern(size_t length);

  size_t pattern_sent() const { return pattern_sent_; }
  size_t pattern_received() const { return pattern_received_; }
  // Bytes that the peer's kernel has not acknowledged. 0: all has arrived.
  size_t UnacknowledgedBytes() const;
  // Until all that was sent is in the peer's kernel.
  bool WaitUntilArrived();

 private:
  Client() = default;
  // One read into the buffer; false at the end of stream and when the time is over.
  bool Fill(const Deadline& deadline);
  std::string Take(size_t length);
  size_t Buffered() const { return buffer_.size() - taken_; }

  int fd_ = -1;
  int connect_errno_ = 0;
  End end_ = End::kOpen;
  std::string buffer_;  // Received; the first `taken_` bytes were given out.
  size_t taken_ = 0;
  size_t pattern_sent_ = 0;
  size_t pattern_received_ = 0;
};

// A short exchange that shows that the peer serves: `text` goes out and comes back.
testing::AssertionResult Echoes(Client& client, std::string_view text = "are you there?");

}  // namespace sluice::e2e

#endif  // SLUICE_TESTS_E2E_CLIENT_H_
