// Result is the line of JSON that a load prints: figures by name.
//
// Owner: a load. Thread: one. Bound: none is needed. Errors: none.
#ifndef SLUICE_BENCH_LOAD_RESULT_H_
#define SLUICE_BENCH_LOAD_RESULT_H_

#include <cstdint>
#include <functional>
#include <string>

#include "sluice/bench/load/latency.h"
#include "sluice/bench/load/server.h"

namespace sluice::bench {

class Result {
 public:
  void Add(const std::string& name, int64_t figure);
  void Add(const std::string& name, double figure);
  void Add(const std::string& name, const Latency& latency);  // p50, p99 and p999.
  // Runs `work`, and adds what it cost the server: `operations`, `wall_seconds`,
  // `processor_seconds`, `sleeps` and `peak_bytes`.
  void Measure(const Server& server, int64_t operations, const std::function<void()>& work);
  void Print() const;

 private:
  void AddText(const std::string& name, const std::string& text);

  std::string members_;
};

}  // namespace sluice::bench

#endif  // SLUICE_BENCH_LOAD_RESULT_H_
