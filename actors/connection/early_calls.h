// EarlyCalls keeps the calls that a session makes in its constructor, before it has a connection.
// They take effect when there is a connection.
//
// Owner:  the session; made by the first such call, destroyed when the connection has taken the
//         calls over, or will never exist.
// Thread: its worker's.
// Bound:  output_bytes_max of output, charged to the budget, and FileRange::kRangesMax ranges.
// Errors: as the connection's: Write answers by the same rule.
#ifndef SLUICE_ACTORS_CONNECTION_EARLY_CALLS_H_
#define SLUICE_ACTORS_CONNECTION_EARLY_CALLS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/core/mailbox/answer.h"
#include "sluice/core/memory/buffer.h"
#include "sluice/core/os/open_file.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

struct EarlyCalls {
  Answer Write(Worker& worker, std::string_view bytes);
  Answer Write(Worker& worker, const Bytes& payload);
  Answer SendFile(Worker& worker, const SharedFile& file, int64_t offset, int64_t bytes);
  // There will be no connection: accepted bytes are counted as lost.
  void Drop(Worker& worker);

  OutputQueue output;
  int ranges = 0;  // Ranges of files in `output`.
  std::optional<size_t> input_bytes_max;
  std::optional<CloseReason> abort;
  bool close = false;
  bool close_write = false;
  bool close_when_done = false;
  bool wants_writable = false;

 private:
  bool Closed() const { return close || close_write || abort.has_value(); }
  Answer MayWrite(Worker& worker, size_t bytes);
};

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_EARLY_CALLS_H_
