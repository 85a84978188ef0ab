#include "sluice/core/mailbox/envelope.h"

#include <array>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/memory/budget.h"

namespace sluice::testing::envelope_test {
namespace {

// Counts its living objects, to show that each message is destroyed once.
template <size_t kPad>
struct Counted {
  explicit Counted(int* alive_count) : alive(alive_count) { ++*alive; }
  Counted(Counted&& other) noexcept : alive(other.alive), value(other.value) { ++*alive; }
  ~Counted() { --*alive; }
  int* alive;
  int value = 0;
  std::array<char, kPad> pad = {};
};

template <class M>
const MessageOps kOps = {
    MessageKind::kUser,        [](void*, Envelope&) {}, Envelope::DestroyOf<M>(),
    Envelope::RelocateOf<M>(), [] { return "M"; },
};

template <class M>
class EnvelopeOf : public ::testing::Test {};
using Kinds = ::testing::Types<Counted<1>, Counted<20>, Counted<21>, Counted<200>>;
TYPED_TEST_SUITE(EnvelopeOf, Kinds);

TYPED_TEST(EnvelopeOf, AMessageIsDestroyedOnceHoweverOftenItMoves) {
  int alive = 0;
  {
    TypeParam message(&alive);
    message.value = 7;
    Envelope first;
    first.charge = 5;
    first.Put(&kOps<TypeParam>, std::move(message));
    EXPECT_EQ(alive, 2);
    Envelope second(std::move(first));
    EXPECT_EQ(first.Ops(), nullptr);
    Envelope third;
    third = std::move(second);
    EXPECT_EQ(alive, 2);
    EXPECT_EQ(third.Get<TypeParam>().value, 7);
    EXPECT_EQ(third.charge, 5u);
    Envelope other;
    other.Put(&kOps<TypeParam>, TypeParam(&alive));
    EXPECT_EQ(alive, 3);
    other = std::move(third);  // Destroys the message that `other` held.
    EXPECT_EQ(alive, 2);
    other.Clear();
    other.Clear();
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 0);
}

TEST(Envelope, TooLargeForInlineIsChargedItsBox) {
  static_assert(Envelope::kInline<std::array<char, 96>>);
  static_assert(!Envelope::kInline<std::array<char, 97>>);
  struct alignas(16) Wide {
    char c;
  };
  static_assert(!Envelope::kInline<Wide>);
  EXPECT_EQ(Envelope::BytesOf(std::array<char, 96>()), AllocatedBytes(128));
  EXPECT_EQ(Envelope::BytesOf(std::array<char, 97>()), AllocatedBytes(128) + AllocatedBytes(97));
}

TEST(Envelope, EachLengthMovesWithAllItsBytes) {
  const auto moves = [](auto bytes) {
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i + 1);
    using M = decltype(bytes);
    Envelope first;
    first.Put(&kOps<M>, M(bytes));
    Envelope second(std::move(first));
    Envelope third;
    third = std::move(second);
    EXPECT_EQ(third.Get<M>(), bytes) << bytes.size();
  };
  moves(std::array<char, 1>());
  moves(std::array<char, 32>());
  moves(std::array<char, 33>());
  moves(std::array<char, 64>());
  moves(std::array<char, 96>());
  moves(std::array<char, 97>());
}

TEST(EnvelopeList, IsAFifoThatCanBeReused) {
  std::vector<Envelope> envelopes(3);
  EnvelopeList list;
  for (int round = 0; round < 2; ++round) {
    EXPECT_TRUE(list.Empty());
    EXPECT_EQ(list.Front(), nullptr);
    list.Push(&envelopes[0]);
    list.Push(&envelopes[1]);
    EXPECT_EQ(list.Pop(), &envelopes[0]);
    list.Push(&envelopes[2]);
    EXPECT_EQ(list.Front(), &envelopes[1]);
    EXPECT_EQ(list.Pop(), &envelopes[1]);
    EXPECT_EQ(list.Pop(), &envelopes[2]);
  }
}

TEST(EnvelopePool, GivesBackWhatABurstTook) {
  EnvelopePool pool;
  std::vector<Envelope*> taken;
  for (uint32_t i = 0; i < 2 * EnvelopePool::kKeptMax; ++i) taken.push_back(pool.Get());
  for (Envelope* envelope : taken)
    pool.Put(envelope);  // asan reports envelopes that leak or are freed twice.
  Envelope* again = pool.Get();
  EXPECT_EQ(again->Ops(), nullptr);
  pool.Put(again);
}

}  // namespace
}  // namespace sluice::testing::envelope_test
