// Savina's benchmarks that compute: sieve, all-pairs shortest paths, n queens.
#include <array>
#include <caf/all.hpp>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "bench/program/message.h"
#include "bench/program/watch.h"
#include "bench/savina/benchmarks.h"
#include "bench/savina/caf/support.h"
#include "bench/savina/problems.h"
#include "bench/savina/savina.h"

namespace bench::parallel {

struct More {};
struct Number {
  int64_t number;
};
struct NoMore {
  int64_t primes;
};
struct Neighbours {
  std::vector<caf::actor> row;
  std::vector<caf::actor> column;
};
struct Step {
  int64_t k;
  int64_t row;
  int64_t column;
  BlockPtr block;
};
struct BlockSum {
  int64_t sum;
};
struct Task {
  Board board;
};

}  // namespace bench::parallel

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::parallel::More)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::parallel::Number)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::parallel::NoMore)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::parallel::Neighbours)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::parallel::Step)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::parallel::BlockSum)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::parallel::Task)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(bench::Solved)

namespace bench {
namespace parallel {

// --- Sieve.

class Filter : public caf::event_based_actor {
 public:
  // `wanted`: primes in all filters.
  Filter(caf::actor_config& config, Watch* watch, int64_t wanted)
      : event_based_actor(config), watch_(*watch), wanted_(wanted) {}
  caf::behavior make_behavior() override {
    return {[this](Number number) {
              if (primes_.Divide(number.number)) return;
              if (!primes_.IsFull()) {
                primes_.Add(number.number);
                return;
              }
              if (!next_) next_ = spawn<Filter>(&watch_, wanted_);
              send(next_, number);
            },
            [this](NoMore no_more) {
              no_more.primes += primes_.Count();
              if (next_) return send(next_, no_more);
              ExpectNumber("primes", no_more.primes, wanted_);
              watch_.End();
            }};
  }

 private:
  Watch& watch_;
  const int64_t wanted_;
  LocalPrimes primes_;
  caf::actor next_;
};

class Numbers : public caf::event_based_actor {
 public:
  Numbers(caf::actor_config& config, Watch* watch, caf::actor first)
      : event_based_actor(config), watch_(*watch), first_(std::move(first)) {}
  caf::behavior make_behavior() override {
    send(first_, Number{2});
    send(this, More{});
    return {[this](More more) {
      for (int i = 0; i < 64 && next_ < watch_.Operations(); ++i, next_ += 2) {
        send(first_, Number{next_});
      }
      if (next_ < watch_.Operations()) {
        send(this, more);
      } else {
        send(first_, NoMore{0});
      }
    }};
  }

 private:
  Watch& watch_;
  const caf::actor first_;
  int64_t next_ = 3;
};

// --- All pairs.

class Total : public caf::event_based_actor {
 public:
  Total(caf::actor_config& config, Watch* watch, int64_t blocks, int64_t wanted)
      : event_based_actor(config), watch_(*watch), blocks_(blocks), wanted_(wanted) {}
  caf::behavior make_behavior() override {
    return {[this](BlockSum block) {
      sum_ += block.sum;
      if (++counted_ < blocks_ * blocks_) return;
      ExpectNumber("the sum of all distances", sum_, wanted_);
      watch_.End();
    }};
  }

 private:
  Watch& watch_;
  const int64_t blocks_;
  const int64_t wanted_;
  int64_t counted_ = 0;
  int64_t sum_ = 0;
};

class BlockActor : public caf::event_based_actor {
 public:
  BlockActor(caf::actor_config& config, caf::actor total, int64_t row, int64_t column,
             int64_t blocks)
      : event_based_actor(config),
        total_(std::move(total)),
        row_(row),
        column_(column),
        blocks_(blocks),
        block_(std::make_shared<const Block>(FirstBlock(row, column))) {}
  caf::behavior make_behavior() override {
    return {[this](const Neighbours& neighbours) {
              neighbours_ = neighbours;
              Tell();
            },
            [this](const Step& step) {
              Inputs& inputs = inputs_[static_cast<size_t>(step.k % 2)];
              ++inputs.count;
              if (step.row == row_ && step.column == step.k / kBlock) inputs.in_row = step.block;
              if (step.column == column_ && step.row == step.k / kBlock) {
                inputs.in_column = step.block;
              }
              GoOn();
            }};
  }

 private:
  struct Inputs {
    int64_t count = 0;
    BlockPtr in_row;
    BlockPtr in_column;
  };
  void Tell() {
    const Step step{k_, row_, column_, block_};
    for (const caf::actor& neighbour : neighbours_.row) send(neighbour, step);
    for (const caf::actor& neighbour : neighbours_.column) send(neighbour, step);
    told_ = true;
    GoOn();
  }
  void GoOn() {
    Inputs& inputs = inputs_[static_cast<size_t>(k_ % 2)];
    if (!told_ || inputs.count < 2 * (blocks_ - 1)) return;
    const BlockPtr& in_row = column_ == k_ / kBlock ? block_ : inputs.in_row;
    const BlockPtr& in_column = row_ == k_ / kBlock ? block_ : inputs.in_column;
    block_ = std::make_shared<const Block>(Relax(*block_, *in_row, *in_column, k_));
    inputs = {};
    told_ = false;
    if (++k_ < blocks_ * kBlock) {
      Tell();
    } else {
      send(total_, BlockSum{SumOf(*block_)});
    }
  }

  const caf::actor total_;
  const int64_t row_;
  const int64_t column_;
  const int64_t blocks_;
  Neighbours neighbours_;
  BlockPtr block_;
  int64_t k_ = 0;
  bool told_ = false;
  std::array<Inputs, 2> inputs_;
};

// --- N queens.

class Solver : public caf::event_based_actor {
 public:
  Solver(caf::actor_config& config, int size) : event_based_actor(config), size_(size) {}
  caf::behavior make_behavior() override {
    return {[this](const Task& task) { return Solve(task.board, size_); }};
  }

 private:
  const int size_;
};

class Chief : public caf::event_based_actor {
 public:
  Chief(caf::actor_config& config, Watch* watch)
      : event_based_actor(config), watch_(*watch), size_(QueensFor(watch->Operations())) {}
  caf::behavior make_behavior() override {
    boards_.push_back(Board());
    for (int64_t i = 0; i < kQueensWorkers; ++i) {
      const caf::actor solver = spawn<Solver>(size_);
      for (int64_t j = 0; j < kBoardsPerWorker; ++j) idle_.push_back(solver);
    }
    GiveOut();
    return {};
  }

 private:
  void GiveOut() {
    while (!boards_.empty() && !idle_.empty()) {
      const caf::actor solver = idle_.back();
      idle_.pop_back();
      ++under_way_;
      request(solver, caf::infinite, Task{boards_.back()})
          .then([this, solver](const Solved& solved) {
            --under_way_;
            idle_.push_back(solver);
            solutions_ += solved.solutions;
            boards_.insert(boards_.end(), solved.boards.begin(), solved.boards.end());
            GiveOut();
          });
      boards_.pop_back();
    }
    if (under_way_ > 0) return;
    ExpectNumber("solutions", solutions_, watch_.Operations());
    watch_.End();
  }

  Watch& watch_;
  const int size_;
  std::vector<Board> boards_;
  std::vector<caf::actor> idle_;
  int64_t under_way_ = 0;
  int64_t solutions_ = 0;
};

}  // namespace parallel

void Sieve(Watch& watch, int workers) {
  const int64_t wanted = PrimesBelow(watch.Operations());
  RunAll(watch, workers, [&](caf::actor_system& system) {
    system.spawn<parallel::Numbers>(&watch, system.spawn<parallel::Filter>(&watch, wanted));
  });
}

void AllPairs(Watch& watch, int workers) {
  const int64_t blocks = BlocksFor(watch.Operations());
  const int64_t wanted = AllPairsSum(blocks * kBlock);
  RunAll(watch, workers, [&](caf::actor_system& system) {
    const caf::actor total = system.spawn<parallel::Total>(&watch, blocks, wanted);
    std::vector<caf::actor> all;
    for (int64_t i = 0; i < blocks * blocks; ++i) {
      all.push_back(system.spawn<parallel::BlockActor>(total, i / blocks, i % blocks, blocks));
    }
    const auto at = [&](int64_t row, int64_t column) {
      return all[static_cast<size_t>(row * blocks + column)];
    };
    for (int64_t row = 0; row < blocks; ++row) {
      for (int64_t column = 0; column < blocks; ++column) {
        parallel::Neighbours neighbours;
        for (int64_t i = 0; i < blocks; ++i) {
          if (i != column) neighbours.row.push_back(at(row, i));
          if (i != row) neighbours.column.push_back(at(i, column));
        }
        caf::anon_send(at(row, column), std::move(neighbours));
      }
    }
  });
}

void NQueens(Watch& watch, int workers) {
  RunAll(watch, workers, [&](caf::actor_system& system) { system.spawn<parallel::Chief>(&watch); });
}

}  // namespace bench
