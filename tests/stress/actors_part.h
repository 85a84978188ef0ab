// Messages: many actors on all workers send to each other, parked or not, and ask. Sends that may
// park go from lower to higher numbers only, so the program itself makes no cycle of waits; TrySend
// goes anywhere. Two non-worker threads send as well.
//
// Checks L1, L2 (each pair of sender and receiver counts), L3, L4, and each answer of an Ask once.
#ifndef SLUICE_TESTS_STRESS_ACTORS_PART_H_
#define SLUICE_TESTS_STRESS_ACTORS_PART_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sluice/core/actor/actor.h"
#include "sluice/tests/stress/part.h"

namespace sluice::stress {

class Node;

// For each pair: how many messages were accepted, and how many arrived. A cell has one writer.
class PairCounts {
 public:
  PairCounts(uint32_t senders, uint32_t receivers)
      : receivers_(receivers), cells_(size_t{senders} * receivers) {}
  uint64_t Get(uint32_t from, uint32_t to) const {
    return cells_[size_t{from} * receivers_ + to].load(std::memory_order_relaxed);
  }
  void Add(uint32_t from, uint32_t to) {
    cells_[size_t{from} * receivers_ + to].store(Get(from, to) + 1, std::memory_order_relaxed);
  }
  int64_t Sum() const {
    uint64_t sum = 0;
    for (const auto& cell : cells_) sum += cell.load(std::memory_order_relaxed);
    return static_cast<int64_t>(sum);
  }

 private:
  const uint32_t receivers_;
  // Relaxed: a sender's cell is its next number, a receiver's cell the number that it expects; the
  // run adds them up.
  std::vector<std::atomic<uint64_t>> cells_;
};

class ActorsPart : public Part {
 public:
  static constexpr uint32_t kOutsideThreads = 2;

  explicit ActorsPart(Stress& stress);
  ~ActorsPart() override;
  std::string Name() const override { return "actors"; }
  void Prepare() override;
  void Start() override;
  bool Done() override;
  std::string State() override;
  int64_t Progress() const override { return received.Sum(); }
  void CheckDone() override;
  std::vector<Rate> Rates() const override;

  Stress& stress;
  const uint32_t node_count;
  std::vector<Ref<Node>> nodes;  // Complete before the workers run.
  PairCounts sent;
  PairCounts received;
  Count asked, answered, deadlines, parcels_bytes, refused, nodes_done;

 private:
  void SendFromOutside(uint32_t index);
  std::vector<std::thread> outside_;
  Count outside_done_;
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_ACTORS_PART_H_
