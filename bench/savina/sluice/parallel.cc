// Savina's benchmarks that compute: sieve, all-pairs shortest paths, n queens.
#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "bench/program/message.h"
#include "bench/program/watch.h"
#include "bench/savina/benchmarks.h"
#include "bench/savina/problems.h"
#include "bench/savina/savina.h"
#include "bench/savina/sluice/support.h"
#include "bench/sluice/support.h"
#include "sluice/sluice.h"

namespace bench {
namespace parallel {

// --- Sieve. Each filter passes on what none of its primes divides.

struct Number {
  int64_t number;
};
struct NoMore {
  int64_t primes;  // Of the filters before.
};

class Filter : public sluice::Actor {
 public:
  // `wanted`: primes in all filters.
  Filter(Watch* watch, int64_t wanted, int64_t depth)
      : watch_(*watch), wanted_(wanted), depth_(depth) {}
  void On(Number number) {
    if (primes_.Divide(number.number)) return;
    if (!primes_.IsFull()) {
      primes_.Add(number.number);
      return;
    }
    if (!next_) {
      next_ = SpawnWith<Filter>(InTurn(runtime(), depth_ + 1), &watch_, wanted_, depth_ + 1);
    }
    MustBe(Send(next_, number));
  }
  void On(NoMore no_more) {
    no_more.primes += primes_.Count();
    if (next_) {
      MustBe(Send(next_, no_more));
      return;
    }
    ExpectNumber("primes", no_more.primes, wanted_);
    watch_.End();
  }

 private:
  Watch& watch_;
  const int64_t wanted_;
  const int64_t depth_;
  LocalPrimes primes_;
  sluice::Ref<Filter> next_;
};

struct More {};

// In bursts, between which the filters of its worker run.
class Numbers : public sluice::Actor {
 public:
  Numbers(Watch* watch, sluice::Ref<Filter> first) : watch_(*watch), first_(first) {}
  void OnStart() override {
    MustBe(Send(first_, Number{2}));
    On(More{});
  }
  void On(More more) {
    for (int i = 0; i < 64 && next_ < watch_.Operations(); ++i, next_ += 2) {
      MustBe(Send(first_, Number{next_}));
    }
    if (next_ < watch_.Operations()) {
      MustBe(Send(RefOf(this), more));
    } else {
      MustBe(Send(first_, NoMore{0}));
    }
  }

 private:
  Watch& watch_;
  const sluice::Ref<Filter> first_;
  int64_t next_ = 3;
};

// --- All pairs.

// An actor has a block of the distances, and gets those of its row and column before each step. A
// neighbour is at most one step ahead.

class BlockActor;
struct Neighbours {
  std::vector<sluice::Ref<BlockActor>> row;
  std::vector<sluice::Ref<BlockActor>> column;
};
struct Step {
  int64_t k;  // The vertex of the step that comes next.
  int64_t row;
  int64_t column;
  BlockPtr block;
};
struct BlockSum {
  int64_t sum;
};

class Total : public sluice::Actor {
 public:
  Total(Watch* watch, int64_t blocks, int64_t wanted)
      : watch_(*watch), blocks_(blocks), wanted_(wanted) {}
  void On(BlockSum block) {
    sum_ += block.sum;
    if (++counted_ < blocks_ * blocks_) return;
    ExpectNumber("the sum of all distances", sum_, wanted_);
    watch_.End();
  }

 private:
  Watch& watch_;
  const int64_t blocks_;
  const int64_t wanted_;
  int64_t counted_ = 0;
  int64_t sum_ = 0;
};

class BlockActor : public sluice::Actor {
 public:
  BlockActor(sluice::Ref<Total> total, int64_t row, int64_t column, int64_t blocks)
      : total_(total),
        row_(row),
        column_(column),
        blocks_(blocks),
        block_(std::make_shared<const Block>(FirstBlock(row, column))) {}
  void On(Neighbours neighbours) {
    neighbours_ = std::move(neighbours);
    Tell();
  }
  void On(Step step) {
    Inputs& inputs = inputs_[static_cast<size_t>(step.k % 2)];
    ++inputs.count;
    if (step.row == row_ && step.column == step.k / kBlock) inputs.in_row = step.block;
    if (step.column == column_ && step.row == step.k / kBlock) inputs.in_column = step.block;
    GoOn();
  }

 private:
  struct Inputs {
    int64_t count = 0;
    BlockPtr in_row;
    BlockPtr in_column;
  };
  void Tell() {
    const Step step{k_, row_, column_, block_};
    for (const auto& neighbour : neighbours_.row) MustBe(Send(neighbour, step));
    for (const auto& neighbour : neighbours_.column) MustBe(Send(neighbour, step));
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
      MustBe(Send(total_, BlockSum{SumOf(*block_)}));
    }
  }

  const sluice::Ref<Total> total_;
  const int64_t row_;
  const int64_t column_;
  const int64_t blocks_;
  Neighbours neighbours_;
  BlockPtr block_;
  int64_t k_ = 0;
  bool told_ = false;  // The neighbours have this actor's block for step k_.
  std::array<Inputs, 2> inputs_;
};

// --- N queens. The answers are replies, which have their place: no two actors wait for each other.

struct Task {
  using Reply = Solved;
  Board board;
};

class Solver : public sluice::Actor {
 public:
  explicit Solver(int size) : size_(size) {}
  Solved On(const Task& task) { return Solve(task.board, size_); }

 private:
  const int size_;
};

class Chief : public sluice::Actor {
 public:
  explicit Chief(Watch* watch) : watch_(*watch), size_(QueensFor(watch->Operations())) {}
  void OnStart() override {
    boards_.push_back(Board());
    for (int64_t i = 0; i < kQueensWorkers; ++i) {
      const auto solver = SpawnWith<Solver>(InTurn(runtime(), i), size_);
      for (int64_t j = 0; j < kBoardsPerWorker; ++j) idle_.push_back(solver);
    }
    GiveOut();
  }

 private:
  void GiveOut() {
    while (!boards_.empty() && !idle_.empty()) {
      const auto solver = idle_.back();
      idle_.pop_back();
      ++under_way_;
      MustBe(Ask(solver, Task{boards_.back()}, absl::InfiniteDuration(),
                 [this, solver](absl::StatusOr<Solved> solved) {
                   --under_way_;
                   idle_.push_back(solver);
                   if (solved.ok()) Add(*solved);
                 }));
      boards_.pop_back();
    }
    if (under_way_ > 0) return;
    ExpectNumber("solutions", solutions_, watch_.Operations());
    watch_.End();
  }
  void Add(const Solved& solved) {
    solutions_ += solved.solutions;
    boards_.insert(boards_.end(), solved.boards.begin(), solved.boards.end());
    GiveOut();
  }

  Watch& watch_;
  const int size_;
  std::vector<Board> boards_;
  std::vector<sluice::Ref<Solver>> idle_;
  int64_t under_way_ = 0;
  int64_t solutions_ = 0;
};

}  // namespace parallel

void Sieve(Watch& watch, int workers) {
  const int64_t wanted = PrimesBelow(watch.Operations());
  RunAll(watch, workers, [&](sluice::Runtime& runtime) {
    runtime.Spawn<parallel::Numbers>(&watch, runtime.Spawn<parallel::Filter>(&watch, wanted, 0));
  });
}

void AllPairs(Watch& watch, int workers) {
  const int64_t blocks = BlocksFor(watch.Operations());
  const int64_t wanted = AllPairsSum(blocks * kBlock);
  using parallel::BlockActor;
  RunAll(watch, workers, [&](sluice::Runtime& runtime) {
    const auto total = runtime.Spawn<parallel::Total>(&watch, blocks, wanted);
    std::vector<sluice::Ref<BlockActor>> all;
    for (int64_t i = 0; i < blocks * blocks; ++i) {
      all.push_back(runtime.Spawn<BlockActor>(total, i / blocks, i % blocks, blocks));
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
        MustBe(at(row, column).TrySend(std::move(neighbours)));
      }
    }
  });
}

void NQueens(Watch& watch, int workers) {
  RunAll(watch, workers, [&](sluice::Runtime& runtime) { runtime.Spawn<parallel::Chief>(&watch); });
}

}  // namespace bench
