// Flags are the arguments `--name=value` of a load, or of a bare server.
//
// Owner: main(). Thread: one. Errors: a line on stderr, and the program ends.
#ifndef SLUICE_BENCH_LOAD_FLAGS_H_
#define SLUICE_BENCH_LOAD_FLAGS_H_

#include <cstdint>
#include <map>
#include <string>

namespace sluice::bench {

// Prints the line to stderr and ends the program.
[[noreturn]] void Die(const std::string& line);

class Flags {
 public:
  Flags(int argc, char** argv, int first);  // Reads argv[first] and all behind it.

  // Each returns the value of `--name=`, or `otherwise` if there is no such flag.
  std::string Text(const std::string& name, const std::string& otherwise = "") const;
  int64_t Number(const std::string& name, int64_t otherwise) const;  // At least 1.

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_FLAGS_H_
