// Standard input to the room, the room to standard output: chat_client ADDRESS
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <future>
#include <iostream>
#include <string>
#include <utility>

#include "sluice/actors/connector.h"
#include "sluice/sluice.h"

namespace {

struct Typed {
  std::string text;
  int64_t HeldBytes() const { return sluice::HeldBytes(text); }
};
struct InputEnded {};

class Client : public sluice::Session {
 public:
  explicit Client(std::string address) : address_(std::move(address)) {}

  void OnOpen() override { open_ = true; }
  void OnData(sluice::Input& in) override {
    const std::string_view bytes = in.TakeAll();
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    std::fflush(stdout);
  }
  void On(Typed typed) {
    quits_ |= typed.text == "/quit\n";
    Write(typed.text);
  }
  void On(InputEnded) {
    quits_ = true;
    CloseWrite();  // What the server still has to say is heard.
  }
  void OnClose(sluice::CloseReason reason) override {
    if (quits_ && open_) std::_Exit(0);
    std::fprintf(stderr, "chat_client: %s %s (%s)\n",
                 open_ ? "lost the server at" : "cannot connect to", address_.c_str(),
                 std::string(sluice::CloseReasonName(reason)).c_str());
    std::_Exit(1);
  }

 private:
  const std::string address_;
  bool open_ = false;
  bool quits_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: chat_client ADDRESS    (127.0.0.1:7000, [::1]:7000, unix:PATH)\n");
    return 2;
  }
  sluice::Options options;
  options.workers = 1;
  sluice::Runtime runtime(options);
  const auto client =
      sluice::Connect<Client>(runtime, argv[1], absl::Seconds(10), std::string(argv[1]));
  const absl::Status status = client.ok() ? runtime.Start() : client.status();
  if (!status.ok()) {
    std::fprintf(stderr, "chat_client: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  // This thread is outside the runtime: it may block on its input, and offers again what the
  // session has no room for.
  const auto offer = [&](auto message) {
    while (client->TrySend(std::move(message)) == sluice::Answer::kFull) usleep(1'000);
  };
  for (std::string line; std::getline(std::cin, line);) offer(Typed{line + "\n"});
  offer(InputEnded{});
  std::promise<void>().get_future().wait();  // OnClose ends the process.
}
