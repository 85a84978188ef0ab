// As frames.cc, read from top to bottom: a protocol of one's own is a function that says how long
// the frame is which the input begins with.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sluice/sluice.h"

constexpr size_t kHeaderBytes = 4;
constexpr size_t kBodyBytesMax = 256 * 1024;

// 0: not known yet.
size_t FrameLength(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes) return 0;
  uint32_t body_bytes = 0;
  for (const char byte : bytes.substr(0, kHeaderBytes)) {
    body_bytes = body_bytes << 8 | static_cast<unsigned char>(byte);
  }
  return kHeaderBytes + body_bytes;
}

class FrameEcho : public sluice::TaskSession {
 public:
  FrameEcho() {
    SetInputMax(kHeaderBytes + kBodyBytesMax);
  }  // A longer frame resets the connection.

 private:
  sluice::Task<> Serve() override {
    while (const auto frame = co_await Frame(&FrameLength)) co_await Write(*frame);
  }
};

int main(int argc, char** argv) {
  sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
  runtime.Listen<FrameEcho>("127.0.0.1:7005");
  return runtime.RunUntilSignal();
}
