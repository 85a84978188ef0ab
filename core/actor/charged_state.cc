#include "sluice/core/actor/charged_state.h"

#include <algorithm>

#include "sluice/core/base/check.h"

namespace sluice {

bool ChargedState::Set(int64_t bytes) {
  SLUICE_CHECK(worker_.desk().OnWorker(), "ChargedState is used on another thread than its actor");
  bytes = std::max<int64_t>(bytes, 0);
  if (bytes > bytes_ && !worker_.lease().Charge(bytes - bytes_)) return false;
  if (bytes < bytes_) worker_.lease().Refund(bytes_ - bytes);
  bytes_ = bytes;
  return true;
}

}  // namespace sluice
