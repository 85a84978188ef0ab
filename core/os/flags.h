// ParseFlags reads a command line by Abseil's flags, and answers --help, -h and --version.
// ByteCount and TimeSpan are flag values in the usual notation (64MiB, 5s).
//
// Owner:  none; functions and values.
// Thread: the main thread, before others start.
// Bound:  none.
// Errors: a wrong flag prints one line on stderr and ends the process with code 1.
#ifndef SLUICE_CORE_OS_FLAGS_H_
#define SLUICE_CORE_OS_FLAGS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/core/base/language.h"

namespace sluice {

// Answers the arguments that are no flags. --help, -h and --version print on stdout and end the
// process with code 0, also beside a wrong flag. `usage` describes the program, unless the program
// has called absl::SetProgramUsageMessage itself. May be called again.
std::vector<std::string> ParseFlags(int argc, char** argv, std::string_view usage);

// The value of a flag: 67108864, 65536K, 64M, 64MB, 64MiB, 1GB, 1TB, in either case. Each unit is
// 1,024 of the one before.
struct ByteCount {
  int64_t bytes = 0;
};
bool AbslParseFlag(absl::string_view text, ByteCount* value, std::string* error);
std::string AbslUnparseFlag(ByteCount value);

// The value of a flag: 200ms, 5s, 2m, 1h30m, inf; a number without a unit is seconds.
struct TimeSpan {
  absl::Duration value;
};
bool AbslParseFlag(absl::string_view text, TimeSpan* span, std::string* error);
std::string AbslUnparseFlag(TimeSpan span);

}  // namespace sluice

#endif  // SLUICE_CORE_OS_FLAGS_H_
