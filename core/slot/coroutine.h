// Coroutine is a task that an actor runs, seen from outside: the frame that runs next, and where it
// waits.
//
// States: it runs (`next` is taken), it waits (no `next`, not ended), it has ended.
//
// Owner:  the class derived from it; the actor lists it while it has not ended.
// Thread: the worker's, within handlers of the actor.
// Bound:  its frames are charged to the budget (core/memory/frame_pool.h).
// Errors: an exception that leaves its outermost frame is kept there; Ended() deals with it.
#ifndef SLUICE_CORE_SLOT_COROUTINE_H_
#define SLUICE_CORE_SLOT_COROUTINE_H_

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>

#include "sluice/core/base/intrusive_list.h"
#include "sluice/core/slot/slot.h"

namespace sluice {

struct CoroutineTag {};
class Coroutine;
using Coroutines = IntrusiveList<Coroutine, CoroutineTag>;

// The place of a co_await in the source. As a default argument SLUICE_HERE is the caller's place.
// (Not an aggregate: g++ 12 would take the place of the default argument itself.)
struct Where {
  constexpr Where(const char* of_file, int of_line) : file(of_file), line(of_line) {}
  const char* file;
  int line;
};
#define SLUICE_HERE ::sluice::Where(__builtin_FILE(), __builtin_LINE())

// What a coroutine waits for, for the dump. Lives in the frame that waits.
struct WaitPlace {
  explicit WaitPlace(Where of) : where(of) {}
  const Where where;
  // Set by Coroutine::WaitsAt.
  const char* what;    // Stays while this waits.
  const Slot* target;  // The actor that it waits for; nullptr: none.
  int64_t since_ns;
};

// The coroutines of a worker that run now, one inside the other, and those that run behind them.
struct CoroutineRuns {
  int running = 0;
  Coroutine* first_behind = nullptr;
};

class Coroutine : public ListNode<CoroutineTag> {
 public:
  // The actor's list, and the runs of its worker. Requires: it is listed nowhere.
  void JoinList(Coroutines& list, CoroutineRuns& runs) {
    list_ = &list;
    runs_ = &runs;
    list.PushBack(*this);
  }
  void LeaveList() {
    if (list_ != nullptr) list_->RemoveIfLinked(*this);
  }

  // Runs it from `frame` until it waits or has ended; then a coroutine that waited for its end, and
  // so on. If another coroutine of the worker runs (it has started or cancelled a task), this one
  // runs behind it: it may end what the other one is using. Requires: a handler of its actor runs.
  void Resume(std::coroutine_handle<> frame) {
    next_ = frame;
    if (runs_->running > 0) [[unlikely]]
      return RunBehindOthers();
    Begin();
  }
  // As Resume from its first frame, and at once: it is new, so nothing waits for it.
  void Begin();
  // Destroys its frames, and with them all that they own; it does not go on any more.
  // Requires: it does not run.
  virtual void Cancel() = 0;

  // For frames: the frame that runs next. A frame that waits sets none.
  void SetNext(std::coroutine_handle<> next) { next_ = next; }
  void SetEnded() { ended_ = true; }
  // `place` stays where it is while this waits.
  void WaitsAt(WaitPlace& place, const char* what, int64_t now_ns, const Slot* target = nullptr) {
    place.what = what;
    place.target = target;
    place.since_ns = now_ns;
    place_ = &place;
  }
  bool Running() const { return running_; }
  Slot* slot() const { return slot_; }
  // "waits 1200 ms for an answer of actor#7, at FILE:LINE"
  std::string Text(int64_t now_ms) const;

 protected:
  explicit Coroutine(Slot* slot = nullptr) : slot_(slot) {}
  ~Coroutine();
  void SetSlot(Slot* slot) { slot_ = slot; }
  // Its frames are destroyed: if it was to go on behind a running coroutine, it does not.
  void DoNotGoOn();

 private:
  // Called once, when the outermost frame has returned or thrown. Answers the coroutine that waited
  // for this, to run next; nullptr: none. May destroy this object, and may throw.
  virtual Coroutine* Ended() = 0;
  void RunBehindOthers();
  void RunFrames(CoroutineRuns& runs);
  Coroutine* End();
  static void RunOn(Coroutine* next, CoroutineRuns& runs);
  static void RunBehind(CoroutineRuns& runs, std::exception_ptr error);

  Slot* slot_;
  Coroutines* list_ = nullptr;
  CoroutineRuns* runs_ = nullptr;  // Its worker's.
  std::coroutine_handle<> next_;
  Coroutine* behind_ = nullptr;       // The next one that waits for the end of a running one.
  const WaitPlace* place_ = nullptr;  // Where it waits; valid while it does.
  bool running_ = false;
  bool ended_ = false;
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_COROUTINE_H_
