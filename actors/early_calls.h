// EarlyCalls is what a session has called before it has a connection, in its constructor; it takes
// effect when the connection is there.
//
// Owner:  the session; made by the first such call, gone when the connection is there or will never
//         be.
// Thread: its worker's.
// Bound:  output_bytes_max of output, charged to the budget.
// Errors: as the connection's: a Write is answered here, by the same rule.
#ifndef SLUICE_ACTORS_EARLY_CALLS_H_
#define SLUICE_ACTORS_EARLY_CALLS_H_

#include <cstddef>
#include <optional>
#include <string_view>

#include "sluice/actors/connection_ledger.h"
#include "sluice/core/answer.h"
#include "sluice/core/buffer.h"
#include "sluice/core/worker.h"

namespace sluice {

struct EarlyCalls {
  Answer Write(Worker& worker, std::string_view bytes);
  Answer Write(Worker& worker, const Bytes& payload);
  // There will be no connection: what was accepted is lost, and counted.
  void Drop(Worker& worker);

  OutputQueue output;
  size_t input_bytes_max = 0;  // 0: as the options say.
  std::optional<CloseReason> abort;
  bool close = false;
  bool close_write = false;
  bool pause_reading = false;
  bool wants_writable = false;

 private:
  Answer MayWrite(Worker& worker, size_t bytes);
};

ConnectionLedger::Cell& CountersOf(Worker& worker);

}  // namespace sluice

#endif  // SLUICE_ACTORS_EARLY_CALLS_H_
