#include "sluice/sim/check/site.h"

#include <string>

namespace sluice::sim {

Options SmallOptions(int workers) {
  Options options;
  options.workers = workers;
  options.memory_bytes_max = 64 * 1024 * 1024;
  options.max_connections = 64;
  options.actors_max = 4'096;
  options.log_level = "off";
  return options;
}

Site::Site(Simulation& simulation, const Options& options)
    : Site(simulation, simulation.os(), options) {}

Site::Site(Simulation& simulation, SimOs& os, const Options& options)
    : simulation_(simulation), os_(os), laws_(simulation), runtime_(options, os) {
  laws_.Watch(runtime_);
}

Site::~Site() { End(); }

bool Site::Start() {
  const absl::Status started = runtime_.Start();
  if (started.ok()) return true;
  if (simulation_.faults.no_thread == 0 && simulation_.faults.no_descriptor == 0) {
    simulation_.Broken("start", std::string(started.message()));
  }
  return false;
}

void Site::End(absl::Duration drain_timeout) {
  if (ended_) return;
  ended_ = true;
  runtime_.Drain(drain_timeout);
  laws_.AtEnd(runtime_);
}

}  // namespace sluice::sim
