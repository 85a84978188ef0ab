#include "sluice/core/runtime/names.h"

#include "absl/strings/str_cat.h"
#include "sluice/core/base/strings.h"

namespace sluice {

absl::Status Names::Add(std::string_view name, Slot* slot, uint32_t generation,
                        const std::type_info& type) {
  if (name.empty()) return absl::InvalidArgumentError("cannot register an actor without a name");
  if (slot == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot register \"", ToAbsl(name), "\": the Ref is empty"));
  }
  const Named added{slot, generation, &type};
  if (!added.Lives()) {
    return absl::NotFoundError(
        absl::StrCat("cannot register \"", ToAbsl(name), "\": the actor has ended"));
  }
  std::lock_guard<std::mutex> lock(lock_);
  auto found = names_.find(ToAbsl(name));
  if (found != names_.end()) {
    if (found->second.Lives()) {
      return absl::AlreadyExistsError(
          absl::StrCat("the name \"", ToAbsl(name), "\" is taken by a live actor"));
    }
    found->second = added;
    return absl::OkStatus();
  }
  if (names_.size() >= names_max_) {
    // Names of actors that have ended make room.
    absl::erase_if(names_, [](const auto& entry) { return !entry.second.Lives(); });
    if (names_.size() >= names_max_) {
      return absl::ResourceExhaustedError(
          absl::StrCat("names_max = ", names_max_, " names are taken"));
    }
  }
  names_.emplace(std::string(name), added);
  return absl::OkStatus();
}

std::pair<Slot*, uint32_t> Names::Find(std::string_view name, const std::type_info& type) const {
  std::lock_guard<std::mutex> lock(lock_);
  const auto found = names_.find(ToAbsl(name));
  if (found == names_.end() || *found->second.type != type || !found->second.Lives()) {
    return {nullptr, 0};
  }
  return {found->second.slot, found->second.generation};
}

void Names::Remove(std::string_view name) {
  std::lock_guard<std::mutex> lock(lock_);
  const auto found = names_.find(ToAbsl(name));
  if (found != names_.end()) names_.erase(found);
}

size_t Names::Count() const {
  std::lock_guard<std::mutex> lock(lock_);
  return names_.size();
}

}  // namespace sluice
