// LateStore is an actor that answers its questions when the test says so.
#ifndef SLUICE_TESTS_SUPPORT_LATE_STORE_H_
#define SLUICE_TESTS_SUPPORT_LATE_STORE_H_

#include <string>
#include <utility>
#include <vector>

#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/promise.h"

namespace sluice::testing {

struct Get {
  using Reply = std::string;
};

class LateStore : public Actor {
 public:
  using Open = std::vector<Promise<std::string>>;  // The questions, in the order of their arrival.
  explicit LateStore(Open* open) : open_(*open) {}
  void On(Get, Promise<std::string> promise) { open_.push_back(std::move(promise)); }

 private:
  Open& open_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_LATE_STORE_H_
