#include "sluice/core/memory/buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "sluice/core/memory/budget.h"

namespace sluice::testing::buffer_test {
namespace {

constexpr int64_t kAmple = int64_t{1} << 30;

static_assert(sizeof(Bytes) == 8);
static_assert(sizeof(OutputQueue) <= 24);
static_assert(sizeof(InputBuffer) <= 16);

// Each byte depends on its position, so that a swap or a gap shows.
std::string Pattern(size_t size, uint64_t start = 0) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((start + i) * 131 >> 3);
  return bytes;
}

std::string Contents(const OutputQueue& queue) {
  static std::vector<iovec> parts(10'000);
  const int count = queue.Parts(parts.data(), static_cast<int>(parts.size()));
  std::string contents;
  for (int i = 0; i < count; ++i) {
    EXPECT_GT(parts[i].iov_len, 0u);
    contents.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
  }
  return contents;
}

// Bytes that the budget counts as charged, without those that lie idle in the lease.
int64_t Charged(const Budget& budget, const Lease& lease) {
  return budget.UsedBytes() - lease.LeftBytes();
}

// ---- Bytes

TEST(Bytes, CopyHoldsTheBytesInItsOwnBlock) {
  std::string text = "sluice";
  const Bytes bytes = Bytes::Copy(text);
  text.assign("xxxxxx");
  EXPECT_EQ(bytes.view(), "sluice");
  EXPECT_EQ(bytes.size(), 6u);
  EXPECT_FALSE(bytes.SelfCharged());
}

TEST(Bytes, NoBytesNeedNoBlock) {
  const Bytes none;
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.view(), "");
  EXPECT_EQ(none.AllocatedBytes(), 0);
  EXPECT_TRUE(none.SelfCharged());
  EXPECT_EQ(Bytes::Copy("").AllocatedBytes(), 0);
  Budget budget(1);
  EXPECT_TRUE(Bytes::Copy("", budget).has_value());
  EXPECT_EQ(budget.UsedBytes(), 0);
}

TEST(Bytes, HandlesShareOneBlock) {
  Bytes first = Bytes::Copy("sluice");
  Bytes second = first;
  EXPECT_EQ(first.view().data(), second.view().data());
  Bytes third = std::move(first);
  EXPECT_TRUE(first.empty());  // NOLINT: what a moved-from Bytes holds is the promise here.
  second = Bytes();
  const Bytes& same = third;
  third = same;  // Self-assignment keeps the block.
  EXPECT_EQ(third.view(), "sluice");
}

TEST(Bytes, TheLastReferenceGivesTheChargeBack) {
  Budget budget(10'000);
  std::optional<Bytes> first = Bytes::Copy(Pattern(1000), budget);
  ASSERT_TRUE(first.has_value());
  EXPECT_TRUE(first->SelfCharged());
  EXPECT_EQ(budget.UsedBytes(), first->AllocatedBytes());
  EXPECT_GE(first->AllocatedBytes(), 1000 + 8);
  Bytes second = *first;
  EXPECT_EQ(budget.UsedBytes(), second.AllocatedBytes());  // Charged once, however many hold it.
  first.reset();
  EXPECT_GT(budget.UsedBytes(), 0);
  second = Bytes();
  EXPECT_EQ(budget.UsedBytes(), 0);
}

TEST(Bytes, ACopyIsRefusedWhenTheBudgetIsSpent) {
  Budget budget(1000);
  EXPECT_FALSE(Bytes::Copy(Pattern(1000), budget).has_value());  // The header does not fit.
  EXPECT_EQ(budget.UsedBytes(), 0);
  EXPECT_TRUE(Bytes::Copy(Pattern(900), budget).has_value());
  EXPECT_EQ(budget.UsedBytes(), 0);
}

TEST(Bytes, ThreadsFreeASharedBlockOnceAfterReads) {
  constexpr int kThreads = 4;
  Budget budget(1'000'000);
  for (int round = 0; round < 200; ++round) {
    const std::string text = Pattern(64, round);
    std::optional<Bytes> shared = Bytes::Copy(text, budget);
    ASSERT_TRUE(shared.has_value());
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&wrong, &text, mine = *shared]() mutable {
        for (int i = 0; i < 100; ++i) {
          Bytes copy = mine;
          if (copy.view() != text) ++wrong;
        }
        mine = Bytes();
      });
    }
    shared.reset();  // Any of them may be the last.
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(wrong, 0);
    ASSERT_EQ(budget.UsedBytes(), 0);
  }
}

// ---- OutputQueue

TEST(OutputQueue, AllocatesAndChargesNothingWhenEmpty) {
  Budget budget(kAmple);
  Lease lease(budget, 1);
  OutputQueue queue;
  iovec part;
  EXPECT_TRUE(queue.AppendCopy("", lease));
  EXPECT_TRUE(queue.AppendShared(Bytes(), 0, lease));
  EXPECT_TRUE(queue.AppendShared(Bytes::Copy("all sent"), 8, lease));
  EXPECT_TRUE(queue.Empty());
  EXPECT_EQ(queue.Parts(&part, 1), 0);
  EXPECT_EQ(queue.ChargedBytes(), 0);
  EXPECT_EQ(budget.UsedBytes(), 0);
  queue.Consume(0, lease);
  queue.Clear(lease);
}

TEST(OutputQueue, ATinyRemainderCostsAtMostOneSmallChunk) {
  Budget budget(kAmple);
  Lease lease(budget, 1);
  OutputQueue queue;
  ASSERT_TRUE(queue.AppendCopy("x", lease));
  EXPECT_EQ(queue.ChargedBytes(), 512);
  queue.Clear(lease);
}

TEST(OutputQueue, SmallWritesGrowChunksToSixteenKibibytes) {
  Budget budget(kAmple);
  Lease lease(budget, 1);
  OutputQueue queue;
  std::string expected;
  int parts_before = 0;
  std::vector<iovec> parts(100);
  int64_t charged_before = 0;
  int64_t chunk_before = 0;
  while (expected.size() < 200'000) {
    const std::string text = Pattern(37, expected.size());
    ASSERT_TRUE(queue.AppendCopy(text, lease));
    expected += text;
    const int count = queue.Parts(parts.data(), 100);
    if (count > parts_before) {
      const int64_t chunk = queue.ChargedBytes() - charged_before;
      EXPECT_EQ(chunk, chunk_before == 0 ? 512 : std::min<int64_t>(2 * chunk_before, 16 * 1024));
      chunk_before = chunk;
      charged_before = queue.ChargedBytes();
      parts_before = count;
    }
  }
  EXPECT_EQ(chunk_before, 16 * 1024);
  EXPECT_EQ(Contents(queue), expected);
  queue.CheckInvariants();
  queue.Clear(lease);
}

TEST(OutputQueue, ALargeWriteWastesLessThanOneSmallChunk) {
  Budget budget(kAmple);
  Lease lease(budget, 1);
  for (size_t size : {1, 463, 464, 465, 5'000, 16'000, 16'384, 17'000, 100'000, 1'000'000}) {
    OutputQueue queue;
    const std::string text = Pattern(size);
    ASSERT_TRUE(queue.AppendCopy(text, lease));
    EXPECT_EQ(queue.size(), size);
    EXPECT_EQ(Contents(queue), text);
    const int64_t headers = 48 * static_cast<int64_t>(size / 16'000 + 1);
    EXPECT_LT(queue.ChargedBytes(), static_cast<int64_t>(size) + headers + 512) << size;
    queue.CheckInvariants();
    queue.Clear(lease);
  }
}

TEST(OutputQueue, KeepsTheOrderOfCopiedAndSharedBytes) {
  Budget budget(kAmple);
  Lease lease(budget, 1);
  OutputQueue queue;
  ASSERT_TRUE(queue.AppendCopy("one ", lease));
  ASSERT_TRUE(queue.AppendShared(Bytes::Copy("skipped two "), 8, lease));
  ASSERT_TRUE(queue.AppendCopy("three ", lease));
  ASSERT_TRUE(queue.AppendCopy("four", lease));
  EXPECT_EQ(Contents(queue), "one two three four");
  iovec parts[2];
  EXPECT_EQ(queue.Parts(parts, 2), 2);  // From the front, as many as asked for.
  EXPECT_EQ(parts[1].iov_len, 4u);
  queue.Consume(6, lease);  // Into the middle of the shared part.
  EXPECT_EQ(Contents(queue), "o three four");
  queue.Clear(lease);
}

TEST(OutputQueue, SharedPayloadIsNotCopiedAndIsReleased) {
  Budget budget(kAmple);
  Lease lease(budget, 1);
  OutputQueue queue;
  std::optional<Bytes> bytes = Bytes::Copy(Pattern(5000), budget);
  ASSERT_TRUE(bytes.has_value());
  const int64_t payload = bytes->AllocatedBytes();
  const void* data = bytes->view().data();
  ASSERT_TRUE(queue.AppendShared(*std::exchange(bytes, std::nullopt), 0, lease));
  iovec part;
  ASSERT_EQ(queue.Parts(&part, 1), 1);
  EXPECT_EQ(part.iov_base, data);
  EXPECT_LE(queue.ChargedBytes(), 64);  // The entry; the payload pays for itself.
  EXPECT_EQ(Charged(budget, lease), payload + queue.ChargedBytes());
  queue.Consume(4999, lease);
  EXPECT_EQ(Charged(budget, lease), payload + queue.ChargedBytes());
  queue.Consume(1, lease);
  EXPECT_EQ(Charged(budget, lease), 0);
}

TEST(OutputQueue, UnchargedPayloadIsChargedToTheQueue) {
  Budget budget(kAmple);
  Lease lease(budget, 1);
  OutputQueue queue;
  const Bytes bytes = Bytes::Copy(Pattern(5000));
  ASSERT_TRUE(queue.AppendShared(bytes, 0, lease));
  EXPECT_GE(queue.ChargedBytes(), bytes.AllocatedBytes());
  EXPECT_EQ(Charged(budget, lease), queue.ChargedBytes());
  queue.Clear(lease);
  EXPECT_EQ(Charged(budget, lease), 0);
}

TEST(OutputQueue, ARefusedAppendAppendsAndChargesNothingAtAll) {
  Budget budget(4096);
  Lease lease(budget, 1);
  OutputQueue queue;
  ASSERT_TRUE(queue.AppendCopy("kept", lease));  // A chunk of 512 bytes, with room left.
  const int64_t charged = queue.ChargedBytes();
  EXPECT_FALSE(queue.AppendCopy(Pattern(5000), lease));  // The chunk has room for its first bytes.
  EXPECT_FALSE(queue.AppendShared(Bytes::Copy(Pattern(5000)), 0, lease));
  EXPECT_EQ(Contents(queue), "kept");
  EXPECT_EQ(queue.ChargedBytes(), charged);
  EXPECT_EQ(Charged(budget, lease), charged);
  EXPECT_TRUE(queue.AppendCopy(Pattern(100), lease));  // Room in a chunk is paid for already.
  queue.Clear(lease);
}

TEST(OutputQueue, OverdraftLetsAppendsExceedASpentBudget) {
  Budget budget(4096);
  Lease lease(budget, 1);
  ASSERT_TRUE(lease.Charge(4096));
  OutputQueue queue;
  const Bytes bytes = Bytes::Copy("shared");
  EXPECT_FALSE(queue.AppendCopy("copied", lease));
  EXPECT_FALSE(queue.AppendShared(bytes, 0, lease));
  EXPECT_TRUE(queue.AppendCopy("copied", lease, Charging::kOverdraft));
  EXPECT_TRUE(queue.AppendShared(bytes, 0, lease, Charging::kOverdraft));
  EXPECT_EQ(Contents(queue), "copiedshared");
  const std::string large(static_cast<size_t>(Lease::kOverdraftBytesMax), 'x');
  EXPECT_FALSE(queue.AppendCopy(large, lease, Charging::kOverdraft));
  queue.Clear(lease);
  EXPECT_EQ(lease.LeftBytes(), 0);
  lease.Refund(4096);
}

TEST(OutputQueue, AnEmptiedChunkIsFreedAtOnce) {
  Budget budget(kAmple);
  Lease lease(budget, 1);
  OutputQueue queue;
  const std::string text = Pattern(100'000);
  ASSERT_TRUE(queue.AppendCopy(text, lease));
  int64_t charged = queue.ChargedBytes();
  for (size_t consumed = 0; consumed < text.size();) {
    iovec part;
    ASSERT_EQ(queue.Parts(&part, 1), 1);
    queue.Consume(part.iov_len, lease);
    consumed += part.iov_len;
    EXPECT_LT(queue.ChargedBytes(), charged);
    charged = queue.ChargedBytes();
    EXPECT_EQ(Charged(budget, lease), charged);
    EXPECT_EQ(Contents(queue), std::string_view(text).substr(consumed));
  }
  EXPECT_EQ(Charged(budget, lease), 0);
}

TEST(L1Ledger, OutputQueueMatchesAStringAndChargesExactly) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    std::mt19937_64 draw(seed);
    // Some budgets are too small, so the run includes refusals.
    Budget budget(seed % 3 == 0 ? 60'000 : kAmple);
    Lease lease(budget, 1);
    OutputQueue queue;
    std::string expected;
    uint64_t written = 0;
    for (int step = 0; step < 300; ++step) {
      const uint64_t what = draw() % 8;
      const size_t size = draw() % (draw() % 32 == 0 ? 40'000 : 600);
      const Charging how = draw() % 4 == 0 ? Charging::kOverdraft : Charging::kBudget;
      if (what <= 2) {
        const std::string text = Pattern(size, written);
        if (queue.AppendCopy(text, lease, how)) expected += text, written += size;
      } else if (what == 3) {
        const std::string text = Pattern(size, written);
        const size_t offset = draw() % (size + 1);
        std::optional<Bytes> bytes = Bytes::Copy(text);
        if (draw() % 2 == 0) bytes = Bytes::Copy(text, budget);
        if (bytes.has_value() && queue.AppendShared(*bytes, offset, lease, how)) {
          expected += text.substr(offset);
          written += size;
        }
      } else if (what <= 6) {
        const size_t taken = std::min(expected.size(), size);
        queue.Consume(taken, lease);
        expected.erase(0, taken);
      } else if (draw() % 16 == 0) {
        queue.Clear(lease);
        expected.clear();
      }
      ASSERT_EQ(queue.size(), expected.size());
      ASSERT_EQ(Contents(queue), expected);
      ASSERT_GE(Charged(budget, lease), queue.ChargedBytes());  // More: self-charged payloads.
      queue.CheckInvariants();
    }
    queue.Clear(lease);
    ASSERT_EQ(Charged(budget, lease), 0);
  }
}

// ---- InputBuffer

TEST(InputBuffer, AllocatesAndChargesNothingWhenEmpty) {
  Budget budget(kAmple);
  Lease lease(budget, 1);
  InputBuffer buffer;
  EXPECT_TRUE(buffer.Append("", lease));
  buffer.Consume(0, lease);
  buffer.Clear(lease);
  EXPECT_TRUE(buffer.Empty());
  EXPECT_EQ(buffer.view(), "");
  EXPECT_EQ(budget.UsedBytes(), 0);
  ASSERT_TRUE(buffer.Append("once", lease));
  EXPECT_GT(buffer.ChargedBytes(), 0);
  buffer.Consume(4, lease);
  EXPECT_EQ(buffer.ChargedBytes(), 0);
  EXPECT_EQ(Charged(budget, lease), 0);
}

TEST(InputBuffer, KeptBytesPrecedeNewerOnesInOnePiece) {
  Budget budget(kAmple);
  Lease lease(budget, 1);
  InputBuffer buffer;
  ASSERT_TRUE(buffer.Append("GET / HT", lease));
  buffer.Consume(4, lease);
  ASSERT_TRUE(buffer.Append("TP/1.1\r\n", lease));
  EXPECT_EQ(buffer.view(), "/ HTTP/1.1\r\n");
  buffer.Clear(lease);
}

TEST(InputBuffer, ASmallRemainderCostsASmallBlock) {
  Budget budget(kAmple);
  Lease lease(budget, 1);
  InputBuffer buffer;
  ASSERT_TRUE(buffer.Append("x", lease));
  EXPECT_LE(buffer.ChargedBytes(), 64);
  buffer.Clear(lease);
}

TEST(InputBuffer, FewBytesBehindLargeFrameFreeItsBlock) {
  Budget budget(kAmple);
  Lease lease(budget, 1);
  InputBuffer buffer;
  const std::string text = Pattern(1'000'000);
  ASSERT_TRUE(buffer.Append(text, lease));
  buffer.Consume(999'990, lease);
  EXPECT_EQ(buffer.view(), std::string_view(text).substr(999'990));
  EXPECT_LE(buffer.ChargedBytes(), 64);
  EXPECT_EQ(Charged(budget, lease), buffer.ChargedBytes());
  buffer.Clear(lease);
}

TEST(InputBuffer, ARefusedAppendKeepsWhatWasThere) {
  Budget budget(2'000);
  Lease lease(budget, 1);
  InputBuffer buffer;
  ASSERT_TRUE(buffer.Append("kept", lease));
  const int64_t charged = buffer.ChargedBytes();
  EXPECT_FALSE(buffer.Append(Pattern(3'000), lease));
  EXPECT_EQ(buffer.view(), "kept");
  EXPECT_EQ(Charged(budget, lease), charged);
  EXPECT_TRUE(buffer.Append(Pattern(3'000), lease, Charging::kOverdraft));
  EXPECT_EQ(buffer.view(), "kept" + Pattern(3'000));
  buffer.Clear(lease);
}

TEST(InputBuffer, TheRoomOfConsumedBytesIsUsedAgain) {
  Budget budget(2'000);
  Lease lease(budget, 1);
  InputBuffer buffer;
  std::string expected = Pattern(1'000);
  ASSERT_TRUE(buffer.Append(expected, lease));
  const int64_t charged = buffer.ChargedBytes();
  for (int i = 0; i < 100; ++i) {
    buffer.Consume(700, lease);
    expected.erase(0, 700);
    // A larger block would not fit the budget beside this one.
    ASSERT_TRUE(buffer.Append(Pattern(700, i), lease));
    expected += Pattern(700, i);
    ASSERT_EQ(buffer.view(), expected);
    ASSERT_EQ(buffer.ChargedBytes(), charged);
  }
  buffer.Clear(lease);
}

TEST(InputBuffer, BytesOneByOneAreRarelyCopied) {
  Budget budget(kAmple);
  Lease lease(budget, 1);
  InputBuffer buffer;
  int moves = 0;
  for (int i = 0; i < 100'000; ++i) {
    const char* before = buffer.view().data();
    ASSERT_TRUE(buffer.Append("x", lease));
    if (buffer.view().data() != before) ++moves;
  }
  EXPECT_LE(moves, 20);
  EXPECT_LE(buffer.ChargedBytes(), 2 * 100'000 + 4096);
  buffer.Clear(lease);
}

TEST(L1Ledger, InputBufferMatchesAStringAndChargesExactly) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    std::mt19937_64 draw(seed);
    Budget budget(seed % 3 == 0 ? 60'000 : kAmple);
    Lease lease(budget, 1);
    InputBuffer buffer;
    std::string expected;
    uint64_t written = 0;
    for (int step = 0; step < 500; ++step) {
      const size_t size = draw() % (draw() % 64 == 0 ? 30'000 : 300);
      const Charging how = draw() % 4 == 0 ? Charging::kOverdraft : Charging::kBudget;
      if (draw() % 2 == 0) {
        const std::string text = Pattern(size, written);
        if (buffer.Append(text, lease, how)) expected += text, written += size;
      } else if (draw() % 64 == 0) {
        buffer.Clear(lease);
        expected.clear();
      } else {
        const size_t taken = std::min(expected.size(), size);
        buffer.Consume(taken, lease);
        expected.erase(0, taken);
      }
      ASSERT_EQ(buffer.view(), expected);
      ASSERT_EQ(buffer.size(), expected.size());
      ASSERT_EQ(buffer.Empty(), expected.empty());
      ASSERT_EQ(Charged(budget, lease), buffer.ChargedBytes());
      buffer.CheckInvariants();
    }
    buffer.Clear(lease);
    ASSERT_EQ(Charged(budget, lease), 0);
  }
}

}  // namespace
}  // namespace sluice::testing::buffer_test
