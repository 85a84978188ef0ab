#include "sluice/actors/early_calls.h"

#include "sluice/core/runtime.h"

namespace sluice {

ConnectionLedger::Cell& CountersOf(Worker& worker) {
  Runtime& runtime = worker.runtime();
  return runtime.Attachment<ConnectionLedger>(runtime.WorkerCount()).At(worker.Index());
}

Answer EarlyCalls::MayWrite(Worker& worker, size_t bytes) {
  if (close || close_write || abort.has_value()) return Answer::kClosed;
  const auto bytes_max = static_cast<size_t>(worker.options().output_bytes_max);
  if (bytes > bytes_max) return Answer::kOverloaded;  // Not even when all else has left.
  if (output.size() + bytes > bytes_max) {
    wants_writable = true;
    return Answer::kFull;
  }
  return Answer::kAccepted;
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
