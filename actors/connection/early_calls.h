// EarlyCalls is what a session has called before it has a connection, in its constructor; it takes
// effect when the connection is there.
//
// Owner:  the session; made by the first such call, gone when the connection is there or will never
//         be.
// Thread: its worker's.
// Bound:  output_bytes_max of output, charged to the budget.
// Errors: as the connection's: a Write is answered here, by the same rule.
#ifndef SLUICE_ACTORS_CONNECTION_EARLY_CALLS_H_
#define SLUICE_ACTORS_CONNECTION_EARLY_CALLS_H_

#include <cstddef>
#include <optional>
#include <string_view>

#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/core/mailbox/answer.h"
#include "sluice/core/memory/buffer.h"
#include "sluice/core/os/options.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

struct EarlyCalls {
  Answer Write(Worker& worker, std::string_view bytes);
  Answer Write(Worker& worker, const Bytes& payload);
  // There will be no connection: what was accepted is lost, and counted.
  void Drop(Worker& worker);

  OutputQueue output;
  std::optional<size_t> input_bytes_max;
  std::optional<CloseReason> abort;
  bool close = false;
  bool close_write = false;
  bool pause_reading = false;
  bool wants_writable = false;

 private:
  Answer MayWrite(Worker& worker, size_t bytes);
};

// Whether a connection takes so many bytes more behind those that wait, as far as room goes. By
// this rule a Write is answered before and after the connection is there.
Answer OutputTakes(const Options& options, size_t waiting, size_t bytes);

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_EARLY_CALLS_H_
