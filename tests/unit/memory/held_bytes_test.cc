// Tests of HeldBytes: it is compared with what the allocator was really asked for.
#include "sluice/core/memory/held_bytes.h"

#include <any>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <forward_list>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/container/node_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/memory/budget.h"
#include "sluice/core/memory/buffer.h"

namespace {
// What this thread has asked the allocator for and not given back, as the allocator takes it.
thread_local int64_t allocated_bytes = 0;
constexpr size_t kHeader = 16;  // Before each block: the size that was asked for.
}  // namespace

void* operator new(size_t size) {
  char* block = static_cast<char*>(std::malloc(kHeader + size));
  if (block == nullptr) std::abort();
  std::memcpy(block, &size, sizeof(size));
  allocated_bytes += sluice::AllocatedBytes(size);
  return block + kHeader;
}
void operator delete(void* p) noexcept {
  if (p == nullptr) return;
  char* block = static_cast<char*>(p) - kHeader;
  size_t size;
  std::memcpy(&size, block, sizeof(size));
  allocated_bytes -= sluice::AllocatedBytes(size);
  std::free(block);
}
void operator delete(void* p, size_t) noexcept { operator delete(p); }

namespace sluice::testing::held_bytes_test {
namespace {

struct Measured {
  int64_t asked;  // What the allocator took meanwhile.
  int64_t held;   // HeldBytes.
};
template <class T>
Measured Measure(auto make) {
  const int64_t before = allocated_bytes;
  const T made = make();
  return {allocated_bytes - before, HeldBytes(made)};
}
template <class T>
void ExpectExact(auto make) {
  const Measured bytes = Measure<T>(make);
  EXPECT_EQ(bytes.held, bytes.asked) << typeid(T).name();
}
template <class T>
void ExpectWithinAThird(auto make) {
  const Measured bytes = Measure<T>(make);
  EXPECT_GE(bytes.held, bytes.asked * 2 / 3) << typeid(T).name() << " " << bytes.asked;
  EXPECT_LE(bytes.held, bytes.asked * 4 / 3) << typeid(T).name() << " " << bytes.asked;
}

std::string Long(int i) { return absl::StrCat("a text that does not fit into a string ", i); }

template <class T>
T Make(int i) {
  if constexpr (std::is_same_v<T, std::string>) {
    return Long(i);
  } else {
    return i;
  }
}

// A container of `count` elements, made one by one.
template <class C>
auto Filled(int count) {
  return [count] {
    C c;
    for (int i = 0; i < count; ++i) {
      // Not in order: a B-tree would fill its nodes otherwise.
      const int key = static_cast<int>(static_cast<unsigned>(i) * 2'654'435'761u % 1'000'003u);
      if constexpr (requires { typename C::mapped_type; }) {
        c.emplace(Make<typename C::key_type>(key), Make<typename C::mapped_type>(key));
      } else if constexpr (requires { typename C::key_type; }) {
        c.insert(Make<typename C::key_type>(key));
      } else if constexpr (requires { c.pop_back(); }) {
        c.push_back(Make<typename C::value_type>(key));
      } else {
        c.push_front(Make<typename C::value_type>(key));
      }
    }
    return c;
  };
}
template <class C>
void ExpectExactWhenFilled() {
  for (int count : {0, 1, 2, 3, 7, 100, 1000}) ExpectExact<C>(Filled<C>(count));
}
template <class C>
void ExpectNearWhenFilled() {
  for (int count : {0, 1, 2, 3, 7, 20, 40, 100, 1000}) ExpectWithinAThird<C>(Filled<C>(count));
}

TEST(HeldBytes, OfStringsIsWhatTheAllocatorTook) {
  ExpectExact<std::string>([] { return std::string("short"); });
  ExpectExact<std::string>([] { return Long(1); });
  ExpectExact<std::wstring>([] { return std::wstring(100, L'x'); });
  ExpectExact<Bytes>([] { return Bytes::Copy("bytes"); });
  EXPECT_GE(HeldBytes(absl::Cord(std::string(10'000, 'x'))), 10'000);
  EXPECT_EQ(HeldBytes(42), 0);
  EXPECT_EQ(HeldBytes(absl::Now()), 0);
  EXPECT_EQ(HeldBytes(absl::Seconds(1)), 0);
  EXPECT_EQ(HeldBytes(std::string_view("view")), 0);
}

TEST(HeldBytes, OfSequencesIsWhatTheAllocatorTook) {
  ExpectExactWhenFilled<std::vector<int>>();
  ExpectExactWhenFilled<std::vector<std::string>>();
  ExpectExactWhenFilled<std::list<int>>();
  ExpectExactWhenFilled<std::list<std::string>>();
  ExpectExactWhenFilled<std::forward_list<int>>();
  ExpectExactWhenFilled<absl::InlinedVector<int, 4>>();
  ExpectExactWhenFilled<absl::InlinedVector<std::string, 2>>();
  ExpectNearWhenFilled<std::deque<int>>();
  ExpectNearWhenFilled<std::deque<std::string>>();
  ExpectExact<std::vector<bool>>([] { return std::vector<bool>(1'000); });
}

TEST(HeldBytes, OfTreesIsWhatTheAllocatorTook) {
  ExpectExactWhenFilled<std::set<int>>();
  ExpectExactWhenFilled<std::multiset<std::string>>();
  ExpectExactWhenFilled<std::map<int, std::string>>();
  ExpectExactWhenFilled<std::multimap<std::string, int>>();
  ExpectNearWhenFilled<absl::btree_set<int>>();
  ExpectNearWhenFilled<absl::btree_multiset<std::string>>();
  ExpectNearWhenFilled<absl::btree_map<int, std::string>>();
  ExpectNearWhenFilled<absl::btree_multimap<std::string, int>>();
}

TEST(HeldBytes, OfHashTablesIsWhatTheAllocatorTook) {
  ExpectNearWhenFilled<std::unordered_set<int>>();
  ExpectNearWhenFilled<std::unordered_multiset<std::string>>();
  ExpectNearWhenFilled<std::unordered_map<int, std::string>>();
  ExpectNearWhenFilled<std::unordered_multimap<std::string, int>>();
  ExpectNearWhenFilled<absl::flat_hash_set<int>>();
  ExpectNearWhenFilled<absl::flat_hash_map<int, std::string>>();
  ExpectNearWhenFilled<absl::flat_hash_map<std::string, int>>();
  ExpectNearWhenFilled<absl::node_hash_map<int, std::string>>();
  ExpectNearWhenFilled<absl::node_hash_map<std::string, int>>();
}

TEST(HeldBytes, OfPointersIsWhatTheyPointTo) {
  ExpectExact<std::unique_ptr<std::string>>([] { return std::make_unique<std::string>(Long(1)); });
  ExpectExact<std::unique_ptr<int>>([] { return std::unique_ptr<int>(); });
  ExpectExact<std::shared_ptr<std::string>>([] { return std::make_shared<std::string>(Long(1)); });
  ExpectExact<std::shared_ptr<const std::array<char, 100>>>(
      [] { return std::make_shared<std::array<char, 100>>(); });
  ExpectExact<std::shared_ptr<int>>([] { return std::shared_ptr<int>(); });
  // Each holder of a shared one counts it.
  const auto one = std::make_shared<std::string>(Long(1));
  const std::vector<std::shared_ptr<std::string>> three(3, one);
  EXPECT_EQ(HeldBytes(three), AllocatedBytes(3 * sizeof(one)) + 3 * HeldBytes(one));
}

TEST(HeldBytes, OfValuesInOthersIsTheirs) {
  ExpectExact<std::optional<std::string>>([] { return std::optional<std::string>(Long(1)); });
  ExpectExact<std::optional<std::string>>([] { return std::optional<std::string>(); });
  using Variant = std::variant<int, std::string, std::vector<int>>;
  ExpectExact<Variant>([] { return Variant(7); });
  ExpectExact<Variant>([] { return Variant(Long(1)); });
  ExpectExact<Variant>([] { return Variant(std::vector<int>(100)); });
  using Pair = std::pair<const std::string, std::vector<int>>;
  ExpectExact<Pair>([] { return Pair(Long(1), std::vector<int>(9)); });
  using Tuple = std::tuple<int, std::string, std::unique_ptr<int>>;
  ExpectExact<Tuple>([] { return Tuple(1, Long(1), std::make_unique<int>(7)); });
  ExpectExact<std::array<std::string, 2>>([] {
    return std::array<std::string, 2>{Long(1), Long(2)};
  });
  ExpectExact<absl::StatusOr<std::string>>([] { return absl::StatusOr<std::string>(Long(1)); });
  ExpectExact<absl::Status>([] { return absl::OkStatus(); });
  ExpectExact<absl::Status>([] { return absl::CancelledError(""); });
  ExpectExact<absl::Status>([] { return absl::InternalError(Long(1)); });
  ExpectExact<absl::StatusOr<int>>(
      [] { return absl::StatusOr<int>(absl::InternalError(Long(1))); });
}

struct Empty {};
struct Line {
  std::string text;
};
struct Node {
  int number = 0;
  std::string text;
  std::vector<Node> children;
  std::unique_ptr<Node> next;
};
struct Everything {
  const int constant = 7;
  unsigned bits : 3 = 0;
  unsigned more_bits : 4 = 0;
  std::string texts[2];
  Line line;
  std::map<int, Line> lines;
  std::optional<Line> maybe;
  std::variant<int, Line> either;
  std::pair<Line, int> both;
  Empty empty;
  std::string_view view;
  int* pointer = nullptr;
  absl::Time time;
  std::unique_ptr<Line> owned;
  std::shared_ptr<const Line> shared;
  absl::Cord sixteenth;
};

TEST(HeldBytes, OfAnAggregateIsThatOfItsMembers) {
  ExpectExact<Line>([] { return Line{Long(1)}; });
  ExpectExact<Node>([] {
    Node node;
    node.text = Long(1);
    node.children.resize(3);
    node.children[1].text = Long(2);
    node.next = std::make_unique<Node>();
    node.next->children.resize(2);
    return node;
  });
  ExpectExact<Everything>([] {
    Everything all;
    all.texts[1] = Long(1);
    all.line.text = Long(2);
    all.lines[7].text = Long(3);
    all.lines[8].text = "short";
    all.maybe = Line{Long(4)};
    all.either = Line{Long(5)};
    all.both.first.text = Long(6);
    all.owned = std::make_unique<Line>(Line{Long(7)});
    all.shared = std::make_shared<Line>(Line{Long(8)});
    return all;
  });
}

struct Liar {
  std::string text;
  int64_t HeldBytes() const { return 7; }
};
struct Plain {  // Without a destructor, and yet.
  int64_t bytes;
  int64_t HeldBytes() const { return bytes; }
};
struct OfTheirs {
  Liar liar;
  std::vector<Plain> plain;
};

TEST(HeldBytes, AFunctionOfTheClassWins) {
  EXPECT_EQ(HeldBytes(Liar{Long(1)}), 7);
  EXPECT_EQ(HeldBytes(OfTheirs{Liar{Long(1)}, {Plain{5}}}), 7 + AllocatedBytes(8) + 5);
  EXPECT_EQ(HeldBytes(std::vector<Plain>{Plain{5}, Plain{6}}), AllocatedBytes(16) + 11);
}

template <class T>
constexpr bool kKnown = Message<T>;
struct Derived : Line {
  int number = 0;
};
struct Refers {
  std::string& text;
  std::string other;
};
struct Calls {
  std::function<void()> call;
};
struct Ring {
  std::shared_ptr<Ring> next;
};
struct Chain {
  std::shared_ptr<const Node> nodes;  // They hold each other, but not by a shared_ptr.
};
struct Seventeen {
  std::string a;
  int b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q;
};
class Hidden {
 private:
  std::string text_;
};

TEST(HeldBytes, WhatCannotBeCountedIsRefused) {
  EXPECT_FALSE(kKnown<std::function<void()>>);
  EXPECT_FALSE(kKnown<std::any>);
  EXPECT_FALSE(kKnown<Calls>);
  EXPECT_FALSE(kKnown<std::vector<Calls>>);
  EXPECT_FALSE(kKnown<std::unique_ptr<int[]>>);
  EXPECT_FALSE(kKnown<std::shared_ptr<void>>);
  EXPECT_FALSE(kKnown<Derived>);
  EXPECT_FALSE(kKnown<Refers>);
  EXPECT_FALSE(kKnown<Seventeen>);
  EXPECT_FALSE(kKnown<Hidden>);
  EXPECT_FALSE(kKnown<Ring>);
  EXPECT_TRUE(kKnown<Chain>);
  EXPECT_TRUE(kKnown<Node>);
}

}  // namespace
}  // namespace sluice::testing::held_bytes_test
