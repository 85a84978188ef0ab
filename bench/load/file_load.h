#ifndef SLUICE_BENCH_LOAD_FILE_LOAD_H_
#define SLUICE_BENCH_LOAD_FILE_LOAD_H_

#include "sluice/bench/load/flags.h"
#include "sluice/bench/load/result.h"

namespace sluice::bench {

// --file=PATH --connections=4 --operations=BYTES: each byte that is sent to bench/servers/file.cc
// brings the file, and each of its bytes is compared. An operation is a byte of a file.
void RunFileLoad(const Flags& flags, Result& result);

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_FILE_LOAD_H_
