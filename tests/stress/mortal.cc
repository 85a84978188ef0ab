#include "sluice/tests/stress/mortal.h"

#include <stdexcept>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace sluice::stress {

namespace {

constexpr int kLastWords = 2;
constexpr int kGrandchildren = 2;

bool HasChildren(Death death) {
  return death == Death::kHasChildren || death == Death::kHasChildrenThrows;
}

}  // namespace

bool Mortal::Fails(Death death) {
  switch (death) {
    case Death::kThrowsStd:
    case Death::kThrowsOther:
    case Death::kThrowsInConstructor:
    case Death::kThrowsOtherInConstructor:
    case Death::kThrowsInStart:
    case Death::kThrowsInStop:
    case Death::kThrowsInTimer:
    case Death::kHasChildrenThrows:
      return true;
    case Death::kStops:
    case Death::kStopsInStart:
    case Death::kWaitsForParent:
    case Death::kHasChildren:
      break;
  }
  return false;
}

Mortal::Mortal(SpawnsPart* part, uint64_t serial, Death death, int lives,
               Recipient<LastWord> mourner, Alive siblings)
    : part_(part),
      serial_(serial),
      death_(death),
      lives_(lives),
      mourner_(mourner),
      siblings_(std::move(siblings)),
      children_(HasChildren(death) ? std::make_shared<Count>() : nullptr) {
  if (death == Death::kThrowsInConstructor) throw std::runtime_error("not born");
  if (death == Death::kThrowsOtherInConstructor) throw serial;
  part_->constructed.Add();
  if (siblings_ != nullptr) siblings_->Add(1);
}

Mortal::~Mortal() {
  part_->destroyed.Add();
  if (siblings_ != nullptr) siblings_->Add(-1);
  if (children_ != nullptr && children_->Get() != 0) {
    part_->stress.laws.Broken("L8", "an actor has ended before its children");
  }
}

void Mortal::OnStart() {
  HandlerWatch watch(watch_, slot(), part_->stress.laws);
  if (children_ != nullptr) {
    for (int i = 0; i < kGrandchildren; ++i) {
      SpawnOptions where;
      where.worker = (worker().Index() + i) % runtime().WorkerCount();
      const Ref<Mortal> child = SpawnWith<Mortal>(where, part_, serial_, Death::kWaitsForParent,
                                                  1 << 30, Recipient<LastWord>(), children_);
      if (!child) part_->refused.Add();
    }
  }
  // If the actor ends first, the timer must not fire: it would use freed memory.
  After(absl::Milliseconds(50), [this] { lives_ += 0; });
  if (death_ == Death::kThrowsInStart) throw std::runtime_error("did not start");
  if (death_ == Death::kStopsInStart) Stop("started, and that was all");
  if (death_ == Death::kThrowsInTimer) {
    After(absl::Milliseconds(2), [] { throw std::runtime_error("a timer failed"); });
  }
}

void Mortal::OnStop() {
  HandlerWatch watch(watch_, slot(), part_->stress.laws);
  if (death_ == Death::kThrowsInStop) throw std::runtime_error("did not stop well");
}

void Mortal::On(Hello hello) {
  HandlerWatch watch(watch_, slot(), part_->stress.laws);
  if (hello.to != serial_) {
    part_->stress.laws.Broken("L10", absl::StrCat("a message for actor ", hello.to,
                                                  " reached actor ", serial_, " in its slot"));
  }
  if (death_ != Death::kWaitsForParent && death_ != Death::kThrowsInTimer && --lives_ <= 0) Die();
}

// The mailbox closes with this handler: while the last words wait for an actor, that actor cannot
// wait for this one.
void Mortal::Die() {
  // Send answers kClosed if the mourner has ended, too.
  for (int i = 0; i < kLastWords; ++i) (void)Send(mourner_, LastWord{serial_});
  if (death_ == Death::kThrowsStd || death_ == Death::kHasChildrenThrows) {
    throw std::runtime_error("it was time");
  }
  if (death_ == Death::kThrowsOther) throw serial_;
  Stop("it was time");
}

}  // namespace sluice::stress
