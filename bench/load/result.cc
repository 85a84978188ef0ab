#include "sluice/bench/load/result.h"

#include <cstdio>

namespace sluice::bench {

void Result::AddText(const std::string& name, const std::string& text) {
  members_ += (members_.empty() ? "\"" : ", \"") + name + "\": " + text;
}

void Result::Add(const std::string& name, int64_t figure) { AddText(name, std::to_string(figure)); }

void Result::Add(const std::string& name, double figure) {
  char text[64];
  std::snprintf(text, sizeof text, "%.9g", figure);
  AddText(name, text);
}

void Result::Add(const std::string& name, const Latency& latency) {
  AddText(name, "{\"p50\": " + std::to_string(latency.Percentile(0.5)) +
                    ", \"p99\": " + std::to_string(latency.Percentile(0.99)) +
                    ", \"p999\": " + std::to_string(latency.Percentile(0.999)) + "}");
}

void Result::Measure(const Server& server, int64_t operations, const std::function<void()>& work) {
  const int64_t start_ns = NowNs();
  const int64_t processor_ns = server.ProcessorNs();
  const int64_t sleeps = server.Sleeps();
  work();
  const int64_t processor_end_ns = server.ProcessorNs();
  const int64_t end_ns = NowNs();
  Add("operations", operations);
  Add("wall_seconds", static_cast<double>(end_ns - start_ns) / 1e9);
  Add("processor_seconds", static_cast<double>(processor_end_ns - processor_ns) / 1e9);
  Add("sleeps", server.Sleeps() - sleeps);
  Add("peak_bytes", server.PeakBytes());
}

void Result::Print() const { std::printf("{%s}\n", members_.c_str()); }

}  // namespace sluice::bench
