#include <cstdio>
#include <latch>
#include <string>
#include <string_view>

#include "sluice/protocols/line_session.h"
#include "sluice/sluice.h"

// Serves: answers each line with its letters reversed.
class Mirror : public sluice::LineSession {
 public:
  Mirror() : LineSession(/*line_bytes_max=*/1024) {}
  void OnLine(std::string_view line) override {
    // If there is no room for the answer, the peer is reset: no line may be missing in silence.
    WriteOrAbort(std::string(line.rbegin(), line.rend()) + "\n");
  }
  void OnLongLine() override { WriteOrAbort("that was too long\n"); }
  // The peer has sent its last byte and still reads. Close() first sends all that was written.
  void OnLastLine() override {
    WriteOrAbort("bye\n");
    Close();
  }
};

// Asks: the session of a connection that this program opens.
class Visitor : public sluice::LineSession {
 public:
  explicit Visitor(std::latch* done) : LineSession(1024), done_(*done) {}
  void OnOpen() override {
    WriteOrAbort("hello\r\nwo");
    WriteOrAbort("rld\n");
    WriteOrAbort(std::string(2000, 'x') + "\n");
    CloseWrite();
  }
  void OnLine(std::string_view line) override { std::printf("%s\n", std::string(line).c_str()); }
  void OnClose(sluice::CloseReason reason) override {
    std::printf("%s\n", std::string(sluice::CloseReasonName(reason)).c_str());
    done_.count_down();
  }

 private:
  std::latch& done_;
};

int main() {
  std::latch done(1);
  sluice::Runtime runtime{sluice::Options()};
  runtime.Listen<Mirror>("127.0.0.1:0");  // Any port: runtime.Listening() says which.
  if (!runtime.Start().ok()) return 1;
  const std::string address = runtime.Listening().front();
  if (!sluice::Connect<Visitor>(runtime, address, absl::Seconds(5), &done).ok()) return 1;
  done.wait();
  runtime.Drain(absl::Seconds(5));
}
