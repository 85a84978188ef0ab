// A protocol of one's own: a frame is the length of its body (4 bytes, the most significant first)
// and the body. Each frame is sent back.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sluice/sluice.h"

// FrameSession is a Session that receives one frame at a time. It stops between frames while it is
// parked, its reading is paused, or its output is high.
//
// Owner:  as any Session.
// Thread: as any Session.
// Bound:  a body has at most body_bytes_max bytes; one incomplete frame is kept.
// Errors: as any Session; a longer frame is logged and resets the connection (kInputFull) as soon
//         as its header is here. An incomplete frame at the end of the stream is dropped.
class FrameSession : public sluice::Session {
 public:
  explicit FrameSession(uint32_t body_bytes_max) : body_bytes_max_(body_bytes_max) {
    SetInputMax(kHeaderBytes + body_bytes_max);  // An incomplete frame never fills this.
  }

  // `body` is valid until OnFrame returns.
  virtual void OnFrame(std::string_view body) = 0;

  // Bytes that are not taken are kept. They are offered again with the next bytes, or, if MayGoOn()
  // was false, as soon as the session may go on.
  void OnData(sluice::Input& in) final {
    while (MayGoOn() && in.size() >= kHeaderBytes) {
      uint32_t body_bytes = 0;
      for (const char byte : in.Peek().substr(0, kHeaderBytes)) {
        body_bytes = body_bytes << 8 | static_cast<unsigned char>(byte);
      }
      if (body_bytes > body_bytes_max_) return OnInputFull();
      if (in.size() - kHeaderBytes < body_bytes) return;
      in.Skip(kHeaderBytes);
      OnFrame(in.Take(body_bytes));
    }
  }

 protected:
  // If there is no room, the connection is reset: after half a frame the peer would take the next
  // header for a body.
  void WriteFrameOrAbort(std::string_view body) {
    const size_t size = body.size();
    const char header[kHeaderBytes] = {static_cast<char>(size >> 24), static_cast<char>(size >> 16),
                                       static_cast<char>(size >> 8), static_cast<char>(size)};
    WriteOrAbort(std::string_view(header, kHeaderBytes));
    WriteOrAbort(body);
  }

 private:
  static constexpr size_t kHeaderBytes = 4;
  const uint32_t body_bytes_max_;
};

class FrameEcho : public FrameSession {
 public:
  // OnFrame is called while at most output_bytes_high (64 KiB) wait, so the longest answer always
  // fits below output_bytes_max (1 MiB). A peer that does not read is not read from either.
  FrameEcho() : FrameSession(256 * 1024) {}
  void OnFrame(std::string_view body) override { WriteFrameOrAbort(body); }
};

int main(int argc, char** argv) {
  sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
  runtime.Listen<FrameEcho>("127.0.0.1:7005");
  return runtime.RunUntilSignal();
}
