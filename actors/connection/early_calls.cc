#include "sluice/actors/connection/early_calls.h"

#include <memory>

#include "sluice/actors/connection/file_range.h"
#include "sluice/actors/connection/outgoing.h"

namespace sluice {

Answer EarlyCalls::MayWrite(Worker& worker, size_t bytes) {
  if (Closed()) return Answer::kClosed;
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

Answer EarlyCalls::SendFile(Worker& worker, const SharedFile& file, int64_t offset, int64_t bytes) {
  if (Closed()) return Answer::kClosed;
  const Answer answer = OutputTakesFile(file, offset, bytes, ranges);
  wants_writable |= answer == Answer::kFull;
  if (answer != Answer::kAccepted || bytes == 0) return answer;
  if (!output.AppendPart(std::make_unique<FileRange>(file, offset, bytes), worker.lease(),
                         Charging::kOverdraft)) {
    return Answer::kOverloaded;
  }
  ++ranges;
  CountersOf(worker).bytes_accepted.Add(bytes);
  return Answer::kAccepted;
}

void EarlyCalls::Drop(Worker& worker) {
  CountersOf(worker).bytes_lost.Add(static_cast<int64_t>(output.size()) + output.PartBytes());
  output.Clear(worker.lease());
}

}  // namespace sluice
