// FanOutWire is what the load of the fan-out says to a server: how to subscribe and to publish, and
// how a message arrives. In each protocol that we know, a message of 64 bytes has a frame of one
// length.
//
// Owner: the load. Thread: one. Bound: none is needed. Errors: an unknown name ends the program.
#ifndef SLUICE_BENCH_LOAD_FAN_OUT_WIRE_H_
#define SLUICE_BENCH_LOAD_FAN_OUT_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace sluice::bench {

struct FanOutWire {
  std::string subscribe;
  std::string subscribed;  // The server ends its answer with it when the subscription is there.
  std::string publish_before, publish_after;  // Around a message to the server.
  std::string message_before, message_after;  // Around a message from the server.
  std::string ping, pong;                     // The server asks, between messages; we answer.

  static FanOutWire Named(const std::string& name);  // "plain", "redis", "nats".

  size_t MessageBytes() const;
  // Both stamp the number into the message, so that no two are equal.
  void AppendPublish(uint64_t number, std::string& out) const;
  void SetMessage(uint64_t number, std::string& frame) const;  // `frame`: empty, or set before.
};

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_FAN_OUT_WIRE_H_
