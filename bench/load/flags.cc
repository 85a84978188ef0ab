#include "sluice/bench/load/flags.h"

#include <cstdio>
#include <cstdlib>

namespace sluice::bench {

void Die(const std::string& line) {
  std::fprintf(stderr, "%s\n", line.c_str());
  std::exit(1);
}

Flags::Flags(int argc, char** argv, int first) {
  for (int i = first; i < argc; ++i) {
    const std::string text = argv[i];
    const size_t equals = text.find('=');
    if (text.compare(0, 2, "--") != 0 || equals == std::string::npos) {
      Die("not --NAME=VALUE: " + text);
    }
    values_[text.substr(2, equals - 2)] = text.substr(equals + 1);
  }
}

std::string Flags::Text(const std::string& name, const std::string& otherwise) const {
  const auto found = values_.find(name);
  return found == values_.end() ? otherwise : found->second;
}

int64_t Flags::Number(const std::string& name, int64_t otherwise) const {
  const auto found = values_.find(name);
  if (found == values_.end()) return otherwise;
  const int64_t number = std::atoll(found->second.c_str());
  if (number < 1) Die("--" + name + " must be at least 1");
  return number;
}

}  // namespace sluice::bench
