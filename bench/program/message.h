// Message is the 64 bytes that every workload sends, and its receiver reads and checks.
//
// Owner:  its holder; a plain value.
// Thread: any, as for an int.
// Bound:  64 bytes.
// Errors: Expect() ends the program with code 1 and a line that says what differs.
#ifndef SLUICE_BENCH_PROGRAM_MESSAGE_H_
#define SLUICE_BENCH_PROGRAM_MESSAGE_H_

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace bench {

struct Message {
  uint64_t number;
  uint64_t words[7];  // Each is a constant of its place, xor the number.
};
static_assert(sizeof(Message) == 64);

inline constexpr uint64_t kWords[7] = {0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb,
                                       0xd6e8feb86659fd93, 0xa0761d6478bd642f, 0xe7037ed1a0b428db,
                                       0x8ebc6af09c88c6e3};

inline Message MakeMessage(uint64_t number) {
  Message made;
  made.number = number;
  for (int i = 0; i < 7; ++i) made.words[i] = kWords[i] ^ number;
  return made;
}

[[noreturn, gnu::cold, gnu::noinline]] inline void Fail(const char* what, uint64_t found,
                                                        uint64_t wanted) {
  std::fprintf(stderr, "%s: found %" PRIu64 ", wanted %" PRIu64 "\n", what, found, wanted);
  std::_Exit(1);
}
inline void ExpectEqual(const char* what, uint64_t found, uint64_t wanted) {
  if (found != wanted) [[unlikely]]
    Fail(what, found, wanted);
}

inline void ExpectNumber(const char* what, int64_t found, int64_t wanted) {
  ExpectEqual(what, static_cast<uint64_t>(found), static_cast<uint64_t>(wanted));
}

// All 64 bytes are those of the message with this number.
inline void Expect(const Message& message, uint64_t number) {
  ExpectEqual("a message's number", message.number, number);
  uint64_t differing = 0;
  for (int i = 0; i < 7; ++i) differing |= message.words[i] ^ kWords[i] ^ number;
  ExpectEqual("a message's differing bits", differing, 0);
}

// The numbers of several senders' messages do not meet.
inline constexpr int kSenderShift = 56;
inline uint64_t FirstNumber(int sender) { return static_cast<uint64_t>(sender) << kSenderShift; }
inline int SenderOf(uint64_t number) { return static_cast<int>(number >> kSenderShift); }

// About a microsecond of work on a message: what makes the receiver of a flood slow. The caller
// keeps the result.
inline uint64_t Chew(const Message& message) {
  uint64_t chewed = message.number;
  for (int round = 0; round < 80; ++round) {
    for (const uint64_t word : message.words) chewed = (chewed ^ word) * 0x2545f4914f6cdd1d;
  }
  return chewed;
}

}  // namespace bench

#endif  // SLUICE_BENCH_PROGRAM_MESSAGE_H_
