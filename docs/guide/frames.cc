#include <cstdint>
#include <cstdio>
#include <latch>
#include <string>
#include <string_view>

#include "sluice/sluice.h"

// The protocol: a byte with the length of the body, and the body. 0: not known yet.
size_t FrameLength(std::string_view input) {
  return input.empty() ? 0 : 1 + static_cast<unsigned char>(input[0]);
}
std::string Frame(std::string_view body) {
  return std::string(1, static_cast<char>(body.size())) + std::string(body);
}

// By handlers: the loop takes whole frames, and leaves what is not whole yet. MayGoOn() is false
// while output is high, reading is held, or the turn is over; then OnData comes again.
class ByHandlers : public sluice::Session {
  void OnData(sluice::Input& in) override {
    while (MayGoOn()) {
      const size_t length = FrameLength(in.Peek());
      if (length == 0 || length > in.size()) return;
      WriteOrAbort(Frame(in.Take(length).substr(1)));
    }
  }
};

// By a task: the same loop, read from top to bottom.
class ByTask : public sluice::TaskSession {
  sluice::Task<> Serve() override {
    while (const auto frame = co_await Frame(&FrameLength)) {
      const std::string answer = ::Frame(frame->substr(1));
      co_await Write(answer);
    }
  }
};

class Visitor : public sluice::TaskSession {
 public:
  Visitor(const char* whom, std::latch* done) : whom_(whom), done_(*done) {}
  sluice::Task<> Serve() override {
    const std::string sent = ::Frame("one") + ::Frame("") + ::Frame(std::string(200, 'x'));
    co_await Write(sent.substr(0, 100));
    co_await Write(sent.substr(100));  // The last frame comes in two parts.
    CloseWrite();
    while (const auto frame = co_await Frame(&FrameLength)) {
      std::printf("%s: a frame of %zu bytes\n", whom_, frame->size() - 1);
    }
  }
  void OnClose(sluice::CloseReason) override { done_.count_down(); }

 private:
  const char* const whom_;
  std::latch& done_;
};

int main() {
  sluice::Runtime runtime{sluice::Options()};
  runtime.Listen<ByHandlers>("127.0.0.1:0");
  runtime.Listen<ByTask>("127.0.0.1:0");
  if (!runtime.Start().ok()) return 1;
  const char* const whom[] = {"handlers", "task"};
  for (int i = 0; i < 2; ++i) {
    std::latch done(1);
    const std::string address = runtime.Listening()[i];
    if (!sluice::Connect<Visitor>(runtime, address, absl::Seconds(5), whom[i], &done).ok()) {
      return 1;
    }
    done.wait();
  }
  runtime.Drain(absl::Seconds(5));
}
