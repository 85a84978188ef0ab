#include "sluice/core/worker/running.h"

#include "absl/strings/str_cat.h"
#include "sluice/core/base/demangle.h"
#include "sluice/core/slot/actor_extra.h"

namespace sluice {

std::string NameOfActor(const Slot* slot) {
  if (slot == nullptr) return "no actor";
  if (slot->extra != nullptr && !slot->extra->name.empty()) return slot->extra->name;
  const char* type = TypeNameOf(slot->actor);
  if (type == nullptr && slot->extra != nullptr && slot->extra->restart != nullptr) {
    type = slot->extra->restart->type;
  }
  return absl::StrCat(type != nullptr ? Demangle(type) : "actor", "#", slot->id);
}

std::string Running::Text() const {
  const Slot* slot = slot_.load(std::memory_order_relaxed);
  const MessageOps* ops = ops_.load(std::memory_order_relaxed);
  const char* what = what_.load(std::memory_order_relaxed);
  const char* type = type_.load(std::memory_order_relaxed);
  if (slot == nullptr) return "work between two handlers";
  if (ops != nullptr) type = ops->actor == nullptr ? nullptr : ops->actor();
  const std::string handler = ops != nullptr    ? absl::StrCat("On(", Demangle(ops->name()), ")")
                              : what != nullptr ? what
                                                : "a handler";
  return absl::StrCat(handler, " of ", type == nullptr ? "actor" : Demangle(type), "#", slot->id);
}

}  // namespace sluice
