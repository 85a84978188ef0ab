// Standard input to the room, the room to standard output: chat_client [ADDRESS]
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <future>
#include <semaphore>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "sluice/actors/peers/connector.h"
#include "sluice/core/base/log.h"
#include "sluice/core/os/flags.h"
#include "sluice/sluice.h"

namespace {

// Input is read in pieces, regardless of its lines; at most kPiecesMax pieces wait for the server.
// A server that reads late stops the reading of input: nothing is lost, and memory stays bounded.
constexpr size_t kPieceBytes = 16 * 1024;
constexpr int kPiecesMax = 16;
using Places = std::counting_semaphore<kPiecesMax>;

struct Typed {
  std::string bytes;
};
struct InputEnded {};

class Client : public sluice::Session {
 public:
  Client(std::string address, Places* places) : address_(std::move(address)), places_(*places) {}

  void OnOpen() override { open_ = true; }
  void OnData(sluice::Input& in) override {
    const std::string_view bytes = in.TakeAll();
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    std::fflush(stdout);
  }
  void On(Typed typed) {
    waiting_.push_back(std::move(typed.bytes));
    WriteWaiting();
  }
  void On(InputEnded) {
    input_ended_ = true;
    WriteWaiting();
  }
  void OnWritable() override { WriteWaiting(); }
  void OnClose(sluice::CloseReason reason) override {
    const bool ended_well =
        reason == sluice::CloseReason::kClosed || reason == sluice::CloseReason::kPeerClosed;
    // Bytes that Write accepted are known to have left only if the connection ended well.
    const bool all_said = quit_said_ || (input_ended_ && waiting_.empty());
    if (open_ && ended_well && all_said) std::_Exit(0);
    sluice::LogShutdown();  // First flush the log, which says why.
    std::fprintf(stderr, "chat_client: %s %s (%s)\n",
                 open_ ? "lost the server at" : "cannot connect to", address_.c_str(),
                 std::string(sluice::CloseReasonName(reason)).c_str());
    std::_Exit(1);
  }

 private:
  void WriteWaiting() {
    while (!waiting_.empty()) {
      const sluice::Answer answer = Write(waiting_.front());
      if (answer == sluice::Answer::kFull) return;    // OnWritable follows.
      if (answer == sluice::Answer::kClosed) return;  // OnClose follows, and reports the loss.
      if (answer != sluice::Answer::kAccepted) return Abort(sluice::CloseReason::kMemory);
      LookForQuit(waiting_.front());
      waiting_.pop_front();
      places_.release();
    }
    if (input_ended_) CloseWrite();  // The rest of the server's output is still read.
  }
  void LookForQuit(std::string_view bytes) {
    // The server takes these for /quit: either case, and any text behind a space.
    static constexpr absl::string_view kQuit = "/quit";
    for (const char c : bytes) {
      if (c == '\n') {
        const absl::string_view line = line_;
        quit_said_ |= absl::StartsWithIgnoreCase(line, kQuit) &&
                      (line.size() == kQuit.size() || line[kQuit.size()] == ' ' ||
                       line[kQuit.size()] == '\r');
        line_.clear();
      } else if (line_.size() <= kQuit.size()) {
        line_ += c;
      }
    }
  }

  const std::string address_;
  Places& places_;  // Each written piece gives one place back.
  std::deque<std::string> waiting_;
  std::string line_;  // Start of the current line.
  bool open_ = false;
  bool input_ended_ = false;
  bool quit_said_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments = sluice::ParseFlags(
      argc, argv,
      "chat_client [ADDRESS]: your lines to the room, the room to you. An ADDRESS is "
      "127.0.0.1:7000 (the chat's own, and taken where none is given), [::1]:7000 or unix:PATH.");
  if (arguments.size() > 1) {
    std::fprintf(stderr,
                 "usage: chat_client [ADDRESS]    (127.0.0.1:7000, [::1]:7000, unix:PATH)\n");
    return 2;
  }
  const std::string address = arguments.empty() ? "127.0.0.1:7000" : arguments[0];
  sluice::Options options;
  options.workers = 1;
  sluice::Runtime runtime(options);
  Places places(kPiecesMax);
  const auto client =
      sluice::Connect<Client>(runtime, address, absl::Seconds(10), address, &places);
  const absl::Status status = client.ok() ? runtime.Start() : client.status();
  if (!status.ok()) {
    std::fprintf(stderr, "chat_client: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  // This thread is outside of the runtime: it may block, and it retries a message that was refused
  // for now. After kClosed, OnClose ends the process.
  const auto offer = [&](auto message) {
    for (;;) {
      const sluice::Answer answer = client->TrySend(std::move(message));
      if (answer == sluice::Answer::kAccepted || answer == sluice::Answer::kClosed) return;
      usleep(1'000);
    }
  };
  const auto type = [&](std::string bytes) {
    places.acquire();
    offer(Typed{std::move(bytes)});
  };
  std::array<char, kPieceBytes> piece;
  char last = '\n';
  for (;;) {
    const ssize_t count = read(STDIN_FILENO, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    // The program that started this one left stdin non-blocking.
    if (count < 0 && errno == EAGAIN) {
      pollfd input{STDIN_FILENO, POLLIN, 0};
      poll(&input, 1, -1);
      continue;
    }
    if (count < 0) {
      std::fprintf(stderr, "chat_client: cannot read the input: %s\n", std::strerror(errno));
      std::_Exit(1);
    }
    if (count == 0) break;
    last = piece[static_cast<size_t>(count) - 1];
    type(std::string(piece.data(), static_cast<size_t>(count)));
  }
  if (last != '\n') type("\n");  // The last line gets its end.
  offer(InputEnded{});
  std::promise<void>().get_future().wait();  // OnClose ends the process.
}
