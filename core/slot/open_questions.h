// OpenQuestions are the open questions and blocking calls of one actor, each with its deadline as a
// timer of its own: to ask allocates nothing once the places are there.
//
// Owner:  ActorExtra.
// Thread: the worker's.
// Bound:  asks_max, which the caller checks. Places are kept for the next questions; when no
//         question is open, all but a few go back.
// Errors: none: the id of a question that is closed finds nothing.
#ifndef SLUICE_CORE_SLOT_OPEN_QUESTIONS_H_
#define SLUICE_CORE_SLOT_OPEN_QUESTIONS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "sluice/core/base/check.h"
#include "sluice/core/mailbox/answer.h"
#include "sluice/core/slot/actor_timer.h"

namespace sluice {

// Armed for the question's deadline.
class OpenQuestion final : public ActorTimer {
 public:
  // Called once, with the reply (a StatusOr<R>* behind void*) or with the status that says why
  // there is none. Empty once the deadline has answered, while the question waits for the late
  // reply.
  using Callback = absl::AnyInvocable<void(void* reply, const absl::Status& status)>;

  explicit OpenQuestion(Slot* slot) : ActorTimer(slot) {}
  void OnTimer(Worker& worker) override;

  Callback callback;
  // How often its deadline was deferred, because mail was there that could not be taken in yet.
  uint8_t looks = 0;

 private:
  friend class OpenQuestions;
  uint32_t place_ = 0;
  uint32_t next_free_ = 0;
};

class OpenQuestions {
 public:
  bool Empty() const { return open_ == 0; }
  size_t Size() const { return open_; }
  OpenQuestion& Open(Slot* slot) {
    if (first_free_ == kNone) {
      first_free_ = static_cast<uint32_t>(places_.size());
      places_.push_back(std::make_unique<OpenQuestion>(slot));
      places_.back()->place_ = first_free_;
      places_.back()->next_free_ = kNone;
    }
    OpenQuestion& question = *places_[first_free_];
    first_free_ = question.next_free_;
    ++open_;
    number_ = (number_ + 1) & kNumberMask;
    question.SetId(kQuestionBit | number_ << 32 | question.place_);
    return question;
  }
  // nullptr: no question of this id is open.
  OpenQuestion* Find(AskId id) {
    const auto place = static_cast<uint32_t>(id);
    if (place >= places_.size() || places_[place]->id() != id) return nullptr;
    return places_[place].get();
  }
  // Requires: not armed, and its callback was taken.
  void Close(OpenQuestion& question) {
    SLUICE_CHECK(!question.Armed() && question.callback == nullptr && question.id() != 0);
    question.SetId(0);
    question.due = false;
    question.looks = 0;
    question.next_free_ = first_free_;
    first_free_ = question.place_;
    if (--open_ > 0 || places_.size() <= kPlacesKept) return;
    places_.clear();
    places_.shrink_to_fit();
    first_free_ = kNone;
  }
  // The ids of the open questions, in the order in which they were asked.
  std::vector<AskId> Ids() const;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint64_t kNumberMask = INT32_MAX;
  static constexpr size_t kPlacesKept = 16;

  std::vector<std::unique_ptr<OpenQuestion>> places_;
  uint32_t first_free_ = kNone;
  uint32_t open_ = 0;
  // Of the last question. After 2^31 questions the numbers begin again: no question that is still
  // open has its place twice.
  uint64_t number_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLOT_OPEN_QUESTIONS_H_
