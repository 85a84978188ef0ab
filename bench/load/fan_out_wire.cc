#include "sluice/bench/load/fan_out_wire.h"

#include <cstring>

#include "sluice/bench/load/flags.h"

namespace sluice::bench {
namespace {

constexpr size_t kPayloadBytes = 64;

std::string Payload(char first) {
  std::string payload(kPayloadBytes, first);
  for (size_t i = 1; i < kPayloadBytes; ++i) payload[i] = static_cast<char>('a' + i % 23);
  return payload;
}

}  // namespace

FanOutWire FanOutWire::Named(const std::string& name) {
  if (name == "plain") return {Payload('S'), Payload('S'), "", "", "", "", "", ""};
  if (name == "redis") {
    return {"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nt\r\n",
            "*3\r\n$9\r\nsubscribe\r\n$1\r\nt\r\n:1\r\n",
            "*3\r\n$7\r\nPUBLISH\r\n$1\r\nt\r\n$64\r\n",
            "\r\n",
            "*3\r\n$7\r\nmessage\r\n$1\r\nt\r\n$64\r\n",
            "\r\n",
            "",
            ""};
  }
  if (name == "nats") {
    return {"CONNECT {\"verbose\":false}\r\nSUB t 1\r\nPING\r\n",
            "PONG\r\n",
            "PUB t 64\r\n",
            "\r\n",
            "MSG t 1 64\r\n",
            "\r\n",
            "PING\r\n",
            "PONG\r\n"};
  }
  Die("--wire must be plain, redis or nats");
}

size_t FanOutWire::MessageBytes() const {
  return message_before.size() + kPayloadBytes + message_after.size();
}

void FanOutWire::AppendPublish(uint64_t number, std::string& out) const {
  static const std::string kPayload = Payload('P');
  out += publish_before;
  out += kPayload;
  std::memcpy(out.data() + out.size() - kPayloadBytes + 1, &number, sizeof number);
  out += publish_after;
}

void FanOutWire::SetMessage(uint64_t number, std::string& frame) const {
  if (frame.empty()) frame = message_before + Payload('P') + message_after;
  std::memcpy(frame.data() + message_before.size() + 1, &number, sizeof number);
}

}  // namespace sluice::bench
