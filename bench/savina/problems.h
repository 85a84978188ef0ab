// The parts of the Savina benchmarks that are plain computation, and their right results.
//
// Owner:  none; functions and values.
// Thread: any.
// Bound:  boards of at most 16 queens.
// Errors: none.
#ifndef SLUICE_BENCH_SAVINA_PROBLEMS_H_
#define SLUICE_BENCH_SAVINA_PROBLEMS_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <vector>

#include "bench/savina/savina.h"

namespace bench {

// --- Chameneos.

enum class Color : uint8_t { kBlue, kRed, kYellow };
inline Color Complement(Color mine, Color other) {
  if (mine == other) return mine;
  return static_cast<Color>(3 - static_cast<int>(mine) - static_cast<int>(other));
}

// --- Sieve.

// The primes that a filter keeps. Numbers come in rising order.
class LocalPrimes {
 public:
  bool Divide(int64_t number) const {
    for (const int64_t prime : primes_) {
      if (number % prime == 0) return true;
    }
    return false;
  }
  bool IsFull() const { return static_cast<int64_t>(primes_.size()) == kPrimesInFilter; }
  void Add(int64_t prime) { primes_.push_back(prime); }
  int64_t Count() const { return static_cast<int64_t>(primes_.size()); }

 private:
  std::vector<int64_t> primes_;
};

inline int64_t PrimesBelow(int64_t end) {
  std::vector<bool> composite(static_cast<size_t>(end));
  int64_t count = 0;
  for (int64_t i = 2; i < end; ++i) {
    if (composite[static_cast<size_t>(i)]) continue;
    ++count;
    for (int64_t j = i * i; j < end; j += i) composite[static_cast<size_t>(j)] = true;
  }
  return count;
}

// --- N queens.

inline constexpr int64_t kQueensSolutions[] = {
    1, 1, 0, 0, 2, 10, 4, 40, 92, 352, 724, 2'680, 14'200, 73'712, 365'596, 2'279'184};

// Queens on a board that has the least size with so many solutions.
inline int QueensFor(int64_t solutions) {
  const auto found = std::find_if(std::begin(kQueensSolutions) + 4, std::end(kQueensSolutions) - 1,
                                  [&](int64_t its) { return its >= solutions; });
  return static_cast<int>(found - std::begin(kQueensSolutions));
}
inline int64_t SolutionsFor(int64_t asked) { return kQueensSolutions[QueensFor(asked)]; }

struct Board {
  std::array<int8_t, 16> column;  // Of the queen in each row.
  int32_t rows = 0;
  bool Takes(int8_t next) const {
    for (int row = 0; row < rows; ++row) {
      const int apart = std::abs(column[static_cast<size_t>(row)] - next);
      if (apart == 0 || apart == rows - row) return false;
    }
    return true;
  }
};
// What a worker finds out about a board: solutions, or the boards with one more queen.
struct Solved {
  int64_t solutions = 0;
  std::vector<Board> boards;
};
inline int64_t SolveAlone(Board& board, int size) {
  if (board.rows == size) return 1;
  int64_t solutions = 0;
  for (int8_t next = 0; next < size; ++next) {
    if (!board.Takes(next)) continue;
    board.column[static_cast<size_t>(board.rows++)] = next;
    solutions += SolveAlone(board, size);
    --board.rows;
  }
  return solutions;
}
inline Solved Solve(Board board, int size) {
  Solved solved;
  if (board.rows >= kQueensAlone) {
    solved.solutions = SolveAlone(board, size);
    return solved;
  }
  for (int8_t next = 0; next < size; ++next) {
    if (!board.Takes(next)) continue;
    Board more = board;
    more.column[static_cast<size_t>(more.rows++)] = next;
    solved.boards.push_back(more);
  }
  return solved;
}

// --- All pairs.

using Block = std::vector<int64_t>;  // kBlock rows of kBlock distances.
using BlockPtr = std::shared_ptr<const Block>;

// Blocks in each direction, so that the cube of the vertices is at least `relaxations`.
inline int64_t BlocksFor(int64_t relaxations) {
  int64_t blocks = 1;
  while (blocks * blocks * blocks * kBlock * kBlock * kBlock < relaxations) ++blocks;
  return blocks;
}
inline int64_t RelaxationsFor(int64_t asked) {
  const int64_t vertices = BlocksFor(asked) * kBlock;
  return vertices * vertices * vertices;
}
inline int64_t Distance(int64_t from, int64_t to) {
  return from == to ? 0 : 1 + (from * 7'919 + to * 104'729) % 1'000;
}
inline Block FirstBlock(int64_t row, int64_t column) {
  Block block;
  for (int64_t i = 0; i < kBlock; ++i) {
    for (int64_t j = 0; j < kBlock; ++j) {
      block.push_back(Distance(row * kBlock + i, column * kBlock + j));
    }
  }
  return block;
}
// The paths through vertex `k`, which is in `in_row`'s columns and `in_column`'s rows.
inline Block Relax(const Block& block, const Block& in_row, const Block& in_column, int64_t k) {
  Block next(block.size());
  const int64_t* const through = &in_column[static_cast<size_t>(k % kBlock * kBlock)];
  for (int64_t i = 0; i < kBlock; ++i) {
    const int64_t to_k = in_row[static_cast<size_t>(i * kBlock + k % kBlock)];
    for (int64_t j = 0; j < kBlock; ++j) {
      const auto at = static_cast<size_t>(i * kBlock + j);
      next[at] = std::min(block[at], to_k + through[j]);
    }
  }
  return next;
}
inline int64_t SumOf(const Block& block) {
  int64_t sum = 0;
  for (const int64_t distance : block) sum += distance;
  return sum;
}
// The sum of all distances, by one loop.
inline int64_t AllPairsSum(int64_t vertices) {
  std::vector<int64_t> distance;
  for (int64_t i = 0; i < vertices; ++i) {
    for (int64_t j = 0; j < vertices; ++j) distance.push_back(Distance(i, j));
  }
  for (int64_t k = 0; k < vertices; ++k) {
    for (int64_t i = 0; i < vertices; ++i) {
      const int64_t to_k = distance[static_cast<size_t>(i * vertices + k)];
      for (int64_t j = 0; j < vertices; ++j) {
        int64_t& found = distance[static_cast<size_t>(i * vertices + j)];
        found = std::min(found, to_k + distance[static_cast<size_t>(k * vertices + j)]);
      }
    }
  }
  return SumOf(distance);
}

}  // namespace bench

#endif  // SLUICE_BENCH_SAVINA_PROBLEMS_H_
