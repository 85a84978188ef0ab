// HandlerWatch lives as long as a handler of an actor runs, and finds breaches of L3 and L4:
// overlapping handlers, a handler on another worker's thread, a mailbox past its capacity.
#ifndef SLUICE_TESTS_STRESS_WATCH_H_
#define SLUICE_TESTS_STRESS_WATCH_H_

#include <atomic>

#include "absl/strings/str_cat.h"
#include "sluice/core/actor/actor.h"
#include "sluice/tests/stress/part.h"

namespace sluice::stress {

class HandlerWatch {
 public:
  struct State {
    std::atomic<bool> busy{false};  // Partner: the other handler, if there were one.
    int worker = -1;  // A plain int: ThreadSanitizer reports handlers that are not ordered.
  };
  HandlerWatch(State& state, const Slot* slot, Laws& laws) : state_(state), laws_(laws) {
    const Worker* here = Worker::Current();
    index_ = here == nullptr ? -1 : here->Index();
    if (state_.busy.exchange(true)) laws_.Broken("L4", "two handlers of one actor overlap");
    if (here != slot->worker) {
      laws_.Broken("L4", absl::StrCat("a handler of an actor of worker ", slot->worker->Index(),
                                      " runs on worker ", index_));
    }
    if (slot->mailbox.Held() > slot->mailbox.Capacity()) {
      laws_.Broken("L3", absl::StrCat("a mailbox holds ", slot->mailbox.Held(), " of ",
                                      slot->mailbox.Capacity()));
    }
    state_.worker = index_;
  }
  ~HandlerWatch() {
    if (state_.worker != index_) laws_.Broken("L4", "another handler ran inside of one");
    state_.busy.store(false);
  }

 private:
  State& state_;
  Laws& laws_;
  int index_ = -1;
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_WATCH_H_
