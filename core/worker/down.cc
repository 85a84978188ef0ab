#include "sluice/core/worker/down.h"

#include <utility>

#include "sluice/core/base/plant.h"
#include "sluice/core/slot/actor_base.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

void HandleDown(void* actor, Envelope& e) {
  ActorBase* self = static_cast<ActorBase*>(actor);
  DownNotice& notice = e.Get<DownNotice>();
  // A monitor that was taken back while its Down was on the way is not notified.
  if (e.target->extra == nullptr) return;
  auto& watching = e.target->extra->watching;
  auto found = watching.find(notice.monitor);
  if (found == watching.end() || found->second.taken_back) return;
  DownListener* const listener = found->second.listener;
  watching.erase(found);
  Down down{notice.monitor, notice.reason, ""};
  try {
    if (notice.text != nullptr) down.text = *notice.text;
  } catch (...) {
    // No memory for the text: the monitor is notified without it.
  }
  if (listener != nullptr) return listener->Told(std::move(down));
  SLUICE_PLANT(double_down, if (down.reason == EndReason::kFailed) self->OnDown(down));
  self->OnDown(down);
}

const MessageOps kDownOps = {
    MessageKind::kReserved,
    &HandleDown,
    Envelope::DestroyOf<DownNotice>(),
    Envelope::RelocateOf<DownNotice>(),
    [] { return typeid(Down).name(); },
};
static_assert(Envelope::kInline<DownNotice>);

}  // namespace

DownText MakeDownText(std::string_view text) noexcept {
  try {
    return text.empty() ? nullptr : std::make_shared<const std::string>(text);
  } catch (...) {
    return nullptr;  // No memory for the text: the monitor is notified without it.
  }
}

void TellDown(const Watcher& watcher, EndReason reason, DownText text) {
  Worker::SendReserved(watcher.slot, watcher.generation, &kDownOps,
                       DownNotice{watcher.monitor, reason, std::move(text)});
}

}  // namespace sluice
