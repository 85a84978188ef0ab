#include "sluice/bench/load/stopped_load.h"

#include <poll.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "sluice/bench/load/latency.h"
#include "sluice/bench/load/socket.h"
#include "sluice/bench/load/target.h"

namespace sluice::bench {
namespace {

constexpr int kSmallReceiveBuffer = 4096;
constexpr int kQuietMilliseconds = 1000;  // A peer that takes nothing for so long has stopped.
constexpr int kPatienceMilliseconds = 10'000;
constexpr size_t kPieceBytes = 64 * 1024;
constexpr size_t kPeriod =
    251;  // Byte i of the stream is i mod 251: a lost or doubled piece shows.

// Resident memory over a run.
class Memory {
 public:
  explicit Memory(const Server& server) : server_(server), start_(server.ResidentBytes()) {}
  void Sample() { most_ = std::max(most_, server_.ResidentBytes()); }
  int64_t Grown() const { return std::max<int64_t>(0, most_ - start_); }

 private:
  const Server& server_;
  const int64_t start_;
  int64_t most_ = 0;
};

double Milliseconds(int64_t since_ns) { return static_cast<double>(NowNs() - since_ns) / 1e6; }

// The slowest of some exchanges with an echo.
double SlowestEchoMilliseconds(Socket& socket, int count) {
  double slowest = 0;
  const std::string message(64, 'x');
  std::string answer = message;
  for (int i = 0; i < count; ++i) {
    const int64_t start_ns = NowNs();
    socket.SendAll(message);
    socket.ReceiveAll(answer.data(), answer.size());
    slowest = std::max(slowest, Milliseconds(start_ns));
  }
  return slowest;
}

// A member of the chat, and its account of alice's numbered lines.
class Member {
 public:
  Member(const std::string& address, const std::string& nick, int receive_buffer_bytes = 0)
      : socket_(address, receive_buffer_bytes) {
    socket_.SendAll("/nick " + nick + "\n/who\n");
    // Once the answer to /who names this member, it is in the room and receives all later lines.
    while (text_.find(nick + "\n") == std::string::npos &&
           text_.find(nick + ",") == std::string::npos) {
      if (!socket_.WaitReadable(kPatienceMilliseconds)) Die("the chat did not answer /who");
      Read();
    }
    text_.clear();
  }

  Socket& socket() { return socket_; }
  void Read() {
    char buffer[kPieceBytes];
    text_.append(buffer, socket_.Receive(buffer, sizeof buffer));
  }
  // Counts the whole lines that have come.
  void Account() {
    size_t begin = 0;
    for (size_t end; (end = text_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      const char* line = text_.c_str() + begin;
      long long number = 0;
      if (std::sscanf(line, "* missed %lld messages", &number) == 1) missed_ += number;
      if (std::sscanf(line, "alice: %lld", &number) != 1) continue;
      ++received_;
      last_ = number;
      if (received_ + missed_ != number) Die("received and missed lines are not those said");
    }
    text_.erase(0, begin);
  }
  int64_t received() const { return received_; }
  int64_t missed() const { return missed_; }
  int64_t last() const { return last_; }

 private:
  Socket socket_;
  std::string text_;
  int64_t received_ = 0, missed_ = 0, last_ = 0;
};

}  // namespace

void RunStoppedEchoLoad(const Flags& flags, Result& result) {
  const Target target = TargetOf(flags);
  const auto wanted = static_cast<size_t>(flags.Number("operations", 100'000'000));
  Socket neighbour(target.address);
  result.Add("neighbour_before_ms", SlowestEchoMilliseconds(neighbour, 1000));
  Memory memory(target.server);
  std::string pattern(kPieceBytes + kPeriod, '\0');
  for (size_t i = 0; i < pattern.size(); ++i) pattern[i] = static_cast<char>(i % kPeriod);
  Socket stopped(target.address, kSmallReceiveBuffer);
  size_t sent = 0;
  double slowest = 0;
  result.Measure(target.server, static_cast<int64_t>(wanted), [&] {
    pollfd room = {stopped.fd(), POLLOUT, 0};
    while (sent < wanted && poll(&room, 1, kQuietMilliseconds) > 0) {
      const size_t piece = std::min(kPieceBytes, wanted - sent);
      sent += stopped.Send(std::string_view(pattern).substr(sent % kPeriod, piece));
      memory.Sample();
      slowest = std::max(slowest, SlowestEchoMilliseconds(neighbour, 1));
    }
    slowest = std::max(slowest, SlowestEchoMilliseconds(neighbour, 1000));
    memory.Sample();
    std::string buffer(kPieceBytes, '\0');
    for (size_t received = 0; received < sent;) {
      if (!stopped.WaitReadable(kPatienceMilliseconds)) Die("bytes are lost");
      const size_t count = stopped.Receive(buffer.data(), buffer.size());
      if (std::string_view(buffer).substr(0, count) !=
          std::string_view(pattern).substr(received % kPeriod, count)) {
        Die("other bytes came back than were sent");
      }
      received += count;
      memory.Sample();
    }
  });
  result.Add("grown_bytes", memory.Grown());
  result.Add("taken_bytes", static_cast<int64_t>(sent));
  result.Add("neighbour_ms", slowest);
  result.Add("verified_bytes", static_cast<int64_t>(sent));
}

void RunStoppedChatLoad(const Flags& flags, Result& result) {
  constexpr size_t kLineBytes = 1000;
  constexpr int64_t kLinesAtOnce = 50;
  const Target target = TargetOf(flags);
  const int64_t lines = flags.Number("operations", 100'000'000) / static_cast<int64_t>(kLineBytes);
  Member alice(target.address, "alice");
  Member bob(target.address, "bob");
  Member sam(target.address, "sam", kSmallReceiveBuffer);
  Memory memory(target.server);
  int64_t said = 0;
  double slowest = 0;
  // Alice says some lines and goes on when Bob has received the last of them: Bob reads, so he
  // misses none.
  const auto say = [&](int64_t count) {
    std::string speech;
    for (int64_t i = 0; i < count; ++i) {
      speech += std::to_string(++said) + ' ';
      speech.append(kLineBytes - 10, '.').push_back('\n');
    }
    const int64_t start_ns = NowNs();
    alice.socket().SendAll(speech);
    while (bob.last() < said) {
      if (!bob.socket().WaitReadable(kPatienceMilliseconds)) Die("bob hears nothing any more");
      bob.Read();
      bob.Account();
    }
    slowest = std::max(slowest, Milliseconds(start_ns));
    memory.Sample();
  };
  result.Measure(target.server, lines, [&] {
    while (said < lines) say(std::min(kLinesAtOnce, lines - said));
    // Sam reads again. Alice says a line from time to time, until Sam has received the newest one.
    while (sam.last() < said) {
      if (sam.socket().WaitReadable(50)) {
        sam.Read();
        sam.Account();
      } else {
        say(1);
      }
      memory.Sample();
    }
  });
  if (bob.missed() > 0) Die("bob, who reads, missed lines");
  result.Add("grown_bytes", memory.Grown());
  result.Add("said", said);
  result.Add("received", sam.received());
  result.Add("missed", sam.missed());
  result.Add("neighbour_ms", slowest);
}

}  // namespace sluice::bench
