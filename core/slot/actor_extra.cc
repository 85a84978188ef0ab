#include "sluice/core/slot/actor_extra.h"

#include <tuple>

#include "sluice/core/slot/slot.h"

namespace sluice {

Watcher::Watcher(Slot* watching, MonitorId id)
    : slot(watching), generation(watching->generation), slot_id(watching->id), monitor(id) {}

bool operator<(const Watcher& a, const Watcher& b) {
  return std::tie(a.slot_id, a.generation, a.monitor, a.slot) <
         std::tie(b.slot_id, b.generation, b.monitor, b.slot);
}

}  // namespace sluice
