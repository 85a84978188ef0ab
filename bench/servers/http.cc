// HTTP hello with as little parsing as the bench's other servers have: a request is a head that
// begins with "GET ". cookbook/hello.cc shows what a server should refuse.
#include <string_view>

#include "sluice/sluice.h"

constexpr std::string_view kAnswer =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n";

class Hello : public sluice::Session {
  void OnData(sluice::Input& in) override {
    for (size_t end; MayGoOn() && (end = in.Peek().find("\r\n\r\n")) != std::string_view::npos;) {
      if (!in.Take(end + 4).starts_with("GET ")) return Abort();
      WriteOrAbort(kAnswer);
    }
  }
};

int main(int argc, char** argv) {
  sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
  runtime.Listen<Hello>("127.0.0.1:7020");
  return runtime.RunUntilSignal();
}
