#include "sluice/tests/stress/sessions.h"

#include <stdexcept>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/base/strings.h"

namespace sluice::stress {

namespace {

// A session may always write as many bytes as it was given to read; only a failed socket refuses.
void CheckWrite(Stress& stress, Answer answer) {
  if (answer == Answer::kAccepted || answer == Answer::kClosed) return;
  stress.laws.Broken("L9",
                     absl::StrCat("an echo was not taken by Write: ", ToAbsl(AnswerName(answer))));
}

}  // namespace

SessionEnds::SessionEnds(Laws& laws)
    : laws_(laws), reasons_(std::make_unique<std::atomic<uint8_t>[]>(kKept)) {}

uint64_t SessionEnds::Begin() {
  const uint64_t serial = next_.fetch_add(1, std::memory_order_relaxed);
  reasons_[serial % kKept].store(0, std::memory_order_release);
  return serial;
}

void SessionEnds::End(uint64_t serial, CloseReason reason) {
  const auto told = static_cast<uint8_t>(static_cast<int>(reason) + 1);
  if (reasons_[serial % kKept].exchange(told, std::memory_order_acq_rel) != 0) {
    laws_.Broken("L9", "a session got OnClose twice");
  }
  ended_.Add();
}

std::optional<CloseReason> SessionEnds::Find(uint64_t serial) const {
  const int told = reasons_[serial % kKept].load(std::memory_order_acquire);
  if (told == 0) return std::nullopt;
  return static_cast<CloseReason>(told - 1);
}

std::string Greeting(uint64_t serial) { return absl::StrFormat("%016x\n", serial); }

std::optional<uint64_t> ParseGreeting(std::string_view greeting) {
  uint64_t serial = 0;
  if (greeting.size() != kGreetingBytes || greeting.back() != '\n') return std::nullopt;
  if (!absl::SimpleHexAtoi(ToAbsl(greeting.substr(0, kGreetingBytes - 1)), &serial)) {
    return std::nullopt;
  }
  return serial;
}

void EchoSession::OnOpen() {
  serial_ = ends_->Begin();
  CheckWrite(*stress_, Write(Greeting(serial_)));
}
void EchoSession::OnData(Input& in) { CheckWrite(*stress_, Write(in.TakeAll())); }
void EchoSession::OnClose(CloseReason reason) { ends_->End(serial_, reason); }

void LineEchoSession::OnOpen() {
  serial_ = ends_->Begin();
  Say(Greeting(serial_));
}
void LineEchoSession::OnLine(std::string_view line) {
  if (line == kThrowLine) {
    Say(kThrowAnswer);
    if (serial_ % 2 == 0) throw std::runtime_error("a line said so");
    throw serial_;
  }
  std::string text(line);
  text += '\n';
  Say(text);
}
void LineEchoSession::OnLongLine() { Say(kLongLineAnswer); }
void LineEchoSession::OnClose(CloseReason reason) { ends_->End(serial_, reason); }
void LineEchoSession::Say(std::string_view text) { CheckWrite(*stress_, Write(text)); }

}  // namespace sluice::stress
