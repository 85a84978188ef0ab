// Mortal is an actor that dies in the way that its constructor is given.
#ifndef SLUICE_TESTS_STRESS_MORTAL_H_
#define SLUICE_TESTS_STRESS_MORTAL_H_

#include <cstdint>
#include <memory>

#include "sluice/core/actor/actor.h"
#include "sluice/tests/stress/spawns_part.h"
#include "sluice/tests/stress/watch.h"

namespace sluice::stress {

struct Hello {
  uint64_t to;  // Serial number of the intended actor.
};
struct LastWord {
  uint64_t from;
};

enum class Death : uint8_t {
  kStops,
  kThrowsStd,
  kThrowsOther,  // Not a std::exception.
  kThrowsInConstructor,
  kThrowsOtherInConstructor,
  kThrowsInStart,
  kStopsInStart,
  kThrowsInStop,
  kThrowsInTimer,
  kWaitsForParent,  // Ended by its parent's end, or by an order.
  kHasChildren,     // Stops, and its children end with it.
  kHasChildrenThrows,
};
inline constexpr int kDeathCount = 12;

class Mortal : public Actor {
 public:
  // How many children of one actor are alive; shared, as the parent that is checked may be gone.
  using Alive = std::shared_ptr<Count>;

  Mortal(SpawnsPart* part, uint64_t serial, Death death, int lives, Recipient<LastWord> mourner,
         Alive siblings = nullptr);
  ~Mortal() override;
  void OnStart() override;
  void OnStop() override;
  void On(Hello hello);

  // True: its end has the reason `failed`, unless it was ordered to stop before.
  static bool Fails(Death death);

 private:
  void Die();

  SpawnsPart* const part_;
  const uint64_t serial_;
  const Death death_;
  int lives_;
  const Recipient<LastWord> mourner_;
  const Alive siblings_;
  const Alive children_;
  HandlerWatch::State watch_;
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_MORTAL_H_
