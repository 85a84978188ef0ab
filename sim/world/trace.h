// Trace records a simulation: a hash of every event (law L11: one seed, one hash), and on demand
// the events as readable lines.
//
//   t=1000.436200ms server/thread 1: send(9) = 5 "hello"
//
// Owner:  the Simulation.
// Thread: the simulation's.
// Bound:  the newest kLinesMax lines in memory; a file takes all.
// Errors: EndFile() says why a file is incomplete.
#ifndef SLUICE_SIM_WORLD_TRACE_H_
#define SLUICE_SIM_WORLD_TRACE_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "sluice/core/base/language.h"

namespace sluice::sim {

class Trace {
 public:
  static constexpr size_t kLinesMax = 2'000;

  Trace() = default;
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  // Hashed values contain no memory address and nothing else that differs between two builds.
  void Add(uint64_t value) {
    hash_ = (hash_ ^ value) * 0x9E3779B97F4A7C15u;
    hash_ ^= hash_ >> 29;
  }
  void Add(std::string_view bytes);
  void CountEvent() { ++events_; }

  // Keeps lines from now on. Without this call no line is even built.
  void KeepLines() { keeps_lines_ = true; }
  absl::Status WriteTo(const std::string& path);
  absl::Status EndFile();
  bool KeepsLines() const { return keeps_lines_; }
  void Line(std::string line);  // Requires: KeepsLines().
  // The last line for LastLines(); only a file takes later ones.
  void LastLine(std::string line);

  uint64_t Hash() const { return hash_; }
  int64_t Events() const { return events_; }
  std::string LastLines(size_t most) const;

 private:
  uint64_t hash_ = 0x243F6A8885A308D3u;  // Hash of no events.
  int64_t events_ = 0;
  bool keeps_lines_ = false;
  bool had_last_ = false;
  std::deque<std::string> lines_;
  std::FILE* file_ = nullptr;
  std::string path_;
  absl::Status file_status_;
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_WORLD_TRACE_H_
