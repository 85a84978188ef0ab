// Births and deaths: parents spawn children here and elsewhere that die in every possible way; they
// are monitored, and get messages while they live and long after.
//
// Checks L8 (each Down once, after the last message; a dead actor answers closed; children end
// before their parents; no actor is left) and L10 (a message never reaches the next actor in the
// slot).
#ifndef SLUICE_TESTS_STRESS_SPAWNS_PART_H_
#define SLUICE_TESTS_STRESS_SPAWNS_PART_H_

#include <string>
#include <vector>

#include "sluice/tests/stress/part.h"

namespace sluice::stress {

class SpawnsPart : public Part {
 public:
  explicit SpawnsPart(Stress& s) : stress(s) {}
  std::string Name() const override { return "spawns"; }
  void Prepare() override;
  bool Done() override;
  std::string State() override;
  int64_t Progress() const override { return constructed.Get(); }
  void CheckDone() override;
  std::vector<Rate> Rates() const override;

  Stress& stress;
  Count constructed, destroyed, refused, monitors, downs, demonitored, closed, last_words,
      nurseries_done;

 private:
  int64_t nurseries_ = 0;
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_SPAWNS_PART_H_
