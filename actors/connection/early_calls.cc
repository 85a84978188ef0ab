#include "sluice/actors/connection/early_calls.h"

#include "sluice/actors/connection/outgoing.h"

namespace sluice {

Answer EarlyCalls::MayWrite(Worker& worker, size_t bytes) {
  if (close || close_write || abort.has_value()) return Answer::kClosed;
  const Answer answer = OutputTakes(worker.options(), output.size(), bytes);
  wants_writable |= answer == Answer::kFull;
  return answer;
}

Answer EarlyCalls::Write(Worker& worker, std::string_view bytes) {
  if (const Answer answer = MayWrite(worker, bytes.size()); answer != Answer::kAccepted) {
    return answer;
  }
  if (bytes.empty()) return Answer::kAccepted;
  if (!output.AppendCopy(bytes, worker.lease(), Charging::kOverdraft)) return Answer::kOverloaded;
  CountersOf(worker).bytes_accepted.Add(static_cast<int64_t>(bytes.size()));
  return Answer::kAccepted;
}

Answer EarlyCalls::Write(Worker& worker, const Bytes& payload) {
  if (const Answer answer = MayWrite(worker, payload.size()); answer != Answer::kAccepted) {
    return answer;
  }
  if (payload.empty()) return Answer::kAccepted;
  if (!output.AppendShared(payload, 0, worker.lease(), Charging::kOverdraft)) {
    return Answer::kOverloaded;
  }
  CountersOf(worker).bytes_accepted.Add(static_cast<int64_t>(payload.size()));
  return Answer::kAccepted;
}

void EarlyCalls::Drop(Worker& worker) {
  CountersOf(worker).bytes_lost.Add(static_cast<int64_t>(output.size()));
  output.Clear(worker.lease());
}

}  // namespace sluice
