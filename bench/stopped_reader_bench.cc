// Sends 100 MB at a reader that has stopped, in echo and in chat: how far the server's memory
// grows, how much slower its neighbours get, and whether every byte or line is accounted for when
// the reader reads again.
//
//   ./sluice bench stopped_reader_bench [MEGABYTES]       (default 100)
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/bench/server_process.h"
#include "sluice/bench/socket.h"

namespace sluice::bench {
namespace {

constexpr int kSmallReceiveBuffer = 4096;
constexpr int kQuietMilliseconds =
    1000;  // A peer that takes nothing for so long has stopped reading.
constexpr size_t kChunk = 64 * 1024;

double Milliseconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - since)
      .count();
}

double Mebibytes(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

// Resident memory over a run.
class Memory {
 public:
  explicit Memory(const ServerProcess& server)
      : server_(server), start_(server.ResidentBytes()), most_(start_) {}
  void Sample() { most_ = std::max(most_, server_.ResidentBytes()); }
  void Print() const {
    std::printf("  resident memory %.1f MiB at the start, %.1f MiB at most, %.1f MiB now\n",
                Mebibytes(start_), Mebibytes(most_), Mebibytes(server_.ResidentBytes()));
  }

 private:
  const ServerProcess& server_;
  const int64_t start_;
  int64_t most_;
};

void PrintCeiling(const ServerProcess& server) {
  std::string text;
  size_t at = std::string::npos;
  // The log has a thread of its own: its line may come after the first connection.
  for (int i = 0; i < 500 && (at == std::string::npos || text.find('\n', at) == std::string::npos);
       ++i) {
    poll(nullptr, 0, 10);
    text = server.StandardError();
    at = text.find("memory ceiling");
  }
  std::printf(
      "  printed at the start: %s\n",
      at == std::string::npos ? "no ceiling" : text.substr(at, text.find('\n', at) - at).c_str());
}

// The slowest of a few exchanges with an echo.
double SlowestEchoMilliseconds(Socket& socket, int count) {
  double slowest = 0;
  std::string bytes(64, 'x');
  for (int i = 0; i < count; ++i) {
    const auto start = std::chrono::steady_clock::now();
    socket.SendAll(bytes);
    socket.ReceiveAll(bytes.data(), bytes.size());
    slowest = std::max(slowest, Milliseconds(start));
  }
  return slowest;
}

void RunEcho(size_t bytes_wanted) {
  std::printf("echo, %.0f MB at a stopped reader\n", static_cast<double>(bytes_wanted) / 1e6);
  const ServerProcess server("examples/echo", {"--listen=127.0.0.1:0"});
  Socket neighbour(server.address());
  const double slowest_before = SlowestEchoMilliseconds(neighbour, 1000);
  PrintCeiling(server);
  Memory memory(server);

  // Byte i of the stream is i mod 251: a lost or doubled piece shows.
  std::string pattern(kChunk + 251, '\0');
  for (size_t i = 0; i < pattern.size(); ++i) pattern[i] = static_cast<char>(i % 251);
  Socket stopped(server.address(), kSmallReceiveBuffer);
  size_t sent = 0;
  double slowest = 0;
  pollfd room = {stopped.fd(), POLLOUT, 0};
  while (sent < bytes_wanted && poll(&room, 1, kQuietMilliseconds) > 0) {
    const size_t piece = std::min(kChunk, bytes_wanted - sent);
    sent += stopped.Send(std::string_view(pattern).substr(sent % 251, piece));
    memory.Sample();
    slowest = std::max(slowest, SlowestEchoMilliseconds(neighbour, 1));
  }
  slowest = std::max(slowest, SlowestEchoMilliseconds(neighbour, 1000));
  memory.Sample();

  size_t received = 0;
  size_t wrong = 0;
  std::string buffer(kChunk, '\0');
  while (received < sent && stopped.WaitReadable(5000)) {
    const size_t n = stopped.Receive(buffer.data(), buffer.size());
    for (size_t i = 0; i < n; ++i) wrong += buffer[i] != static_cast<char>((received + i) % 251);
    received += n;
    memory.Sample();
  }
  std::printf(
      "  taken from the sender before it was stopped: %.2f MB; came back later: %.2f MB, %zu lost, "
      "%zu wrong\n",
      static_cast<double>(sent) / 1e6, static_cast<double>(received) / 1e6, sent - received, wrong);
  std::printf("  a neighbour's slowest exchange: %.2f ms before, %.2f ms meanwhile\n",
              slowest_before, slowest);
  memory.Print();
}

// A member of the chat, and its account of alice's numbered lines.
class Listener {
 public:
  Listener(const std::string& address, const std::string& nick, int receive_buffer_bytes = 0)
      : socket_(address, receive_buffer_bytes) {
    socket_.SendAll("/nick " + nick + "\n/who\n");
    // Once the answer to /who names this member, it is in the room and receives all later lines.
    while (text_.find(nick + "\n") == std::string::npos &&
           text_.find(nick + ",") == std::string::npos) {
      if (!socket_.WaitReadable(10'000)) Die("the chat did not answer /who");
      Read();
    }
    text_.clear();
  }

  Socket& socket() { return socket_; }
  void Read() {
    char buffer[kChunk];
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
      if (received_ + missed_ != number) ++wrong_;
    }
    text_.erase(0, begin);
  }
  void Print(const char* name) const {
    std::printf(
        "  %-5s received %lld + missed %lld = %lld; last line %lld; the sum was wrong %lld times\n",
        name, received_, missed_, received_ + missed_, last_, wrong_);
  }
  long long last() const { return last_; }

 private:
  Socket socket_;
  std::string text_;
  long long received_ = 0;
  long long missed_ = 0;
  long long last_ = 0;
  long long wrong_ = 0;
};

void RunChat(size_t bytes_wanted) {
  constexpr size_t kLineBytes = 1000;
  constexpr long long kLinesAtOnce = 50;
  const auto lines = static_cast<long long>(bytes_wanted / kLineBytes);
  std::printf("chat --slow=drop_oldest, %lld lines of %zu bytes, one member stopped\n", lines,
              kLineBytes);
  const ServerProcess server("examples/chat", {"--listen=127.0.0.1:0"});
  PrintCeiling(server);
  Listener alice(server.address(), "alice");
  Listener bob(server.address(), "bob");
  Listener sam(server.address(), "sam", kSmallReceiveBuffer);
  Memory memory(server);

  long long said = 0;
  std::string speech;
  // Alice says some lines and goes on when Bob has received the last of them: Bob reads, so he
  // misses none.
  const auto say = [&](long long count) {
    speech.clear();
    for (long long i = 0; i < count; ++i) {
      speech += std::to_string(++said) + ' ';
      speech.append(kLineBytes - 10, '.').push_back('\n');
    }
    alice.socket().SendAll(speech);
    while (bob.last() < said) {
      if (!bob.socket().WaitReadable(10'000)) Die("bob hears nothing any more");
      bob.Read();
      bob.Account();
    }
  };
  double slowest = 0;
  const auto start = std::chrono::steady_clock::now();
  while (said < lines) {
    const auto before = std::chrono::steady_clock::now();
    say(std::min(kLinesAtOnce, lines - said));
    slowest = std::max(slowest, Milliseconds(before));
    memory.Sample();
  }
  std::printf("  said in %.1f s; bob's slowest wait for %lld lines: %.1f ms\n",
              Milliseconds(start) / 1000, kLinesAtOnce, slowest);
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
  std::printf("  alice said %lld\n", said);
  bob.Print("bob");
  sam.Print("sam");
  memory.Print();
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::EnterRunfiles();
  using namespace sluice::bench;
  const int megabytes = argc > 1 ? std::atoi(argv[1]) : 100;
  if (megabytes < 1 || argc > 2) Die("usage: stopped_reader_bench [MEGABYTES]");
  RunEcho(static_cast<size_t>(megabytes) * 1'000'000);
  RunChat(static_cast<size_t>(megabytes) * 1'000'000);
}
