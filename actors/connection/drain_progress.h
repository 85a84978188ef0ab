// DrainProgress is how far a drain has come on one connection: with its input, and with its
// session's OnDrain. Each of the two goes one way only, and either may be ahead.
//
// Owner:  the Connection.
// Thread: the worker's.
// Bound:  one byte.
// Errors: none. Input that ends before the drain has begun is a broken invariant.
#ifndef SLUICE_ACTORS_CONNECTION_DRAIN_PROGRESS_H_
#define SLUICE_ACTORS_CONNECTION_DRAIN_PROGRESS_H_

#include <cstdint>

#include "sluice/core/base/check.h"

namespace sluice {

class DrainProgress {
 public:
  bool Begun() const { return input_ != Input::kNoDrain; }
  // True: the drain begins now. False: it had begun.
  bool Begin() {
    if (Begun()) return false;
    input_ = Input::kReads;
    return true;
  }
  // True: input that was sent before the drain is still read.
  bool Reads() const { return input_ == Input::kReads; }
  // True: no more input is read.
  bool InputOver() const { return input_ == Input::kOver; }
  void EndInput() {
    SLUICE_CHECK(Begun());
    input_ = Input::kOver;
  }

  // The worker has asked for the session's OnDrain.
  void AskGoodBye() {
    if (good_bye_ == GoodBye::kNotAsked) good_bye_ = GoodBye::kDue;
  }
  bool GoodByeAsked() const { return good_bye_ != GoodBye::kNotAsked; }
  // True: OnDrain was asked for, and was not called yet.
  bool GoodByeDue() const { return good_bye_ == GoodBye::kDue; }
  bool GoodByeCalled() const { return good_bye_ == GoodBye::kCalled; }
  void CalledGoodBye() { good_bye_ = GoodBye::kCalled; }

 private:
  enum class Input : uint8_t {
    kNoDrain,
    kReads,  // Until the peer has ended or is silent, or the worker says that time is over.
    kOver,
  };
  enum class GoodBye : uint8_t {
    kNotAsked,
    kDue,     // OnDrain follows the end of the input.
    kCalled,  // OnDrain was called.
  };

  Input input_ : 4 = Input::kNoDrain;
  GoodBye good_bye_ : 4 = GoodBye::kNotAsked;
};
static_assert(sizeof(DrainProgress) == 1);

}  // namespace sluice

#endif  // SLUICE_ACTORS_CONNECTION_DRAIN_PROGRESS_H_
