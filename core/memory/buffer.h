// Bytes, OutputQueue and InputBuffer hold the bytes of a connection on their way: a payload that
// many share, bytes that the kernel did not take yet, bytes that a session did not consume yet.
//
// Owner:  Bytes the holders of its references; the two buffers their connection.
// Thread: Bytes any, its bytes never change; the two buffers their worker's only.
// Bound:  the buffers' owner bounds their size. All they allocate is charged to a Lease first, as
//         the allocator takes it, and refunded as soon as it is freed. Empty buffers allocate
//         nothing.
// Errors: an append with a refused charge answers false and appends nothing at all.
#ifndef SLUICE_CORE_MEMORY_BUFFER_H_
#define SLUICE_CORE_MEMORY_BUFFER_H_

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "sluice/core/base/check.h"
#include "sluice/core/memory/budget.h"

namespace sluice {

// An immutable block of bytes; a copy of the handle is one more reference to the same block.
class Bytes {
 public:
  Bytes() = default;  // No bytes, no block.
  Bytes(const Bytes& other) : block_(other.block_) {
    // Relaxed: the copying thread holds a reference already, so the block is alive and stays so.
    if (block_ != nullptr) block_->references.fetch_add(1, std::memory_order_relaxed);
  }
  Bytes(Bytes&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Bytes& operator=(Bytes other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Bytes() {
    if (block_ != nullptr) Drop();
  }

  static Bytes Copy(std::string_view bytes);  // Not charged: each holder answers for it.
  // Charged to `budget`, which outlives every reference. The last reference gives the charge back,
  // on any thread. nullopt: the budget is spent.
  [[nodiscard]] static std::optional<Bytes> Copy(std::string_view bytes, Budget& budget);

  std::string_view view() const {
    return block_ == nullptr ? std::string_view() : std::string_view(block_->data(), block_->size);
  }
  size_t size() const { return block_ == nullptr ? 0 : block_->size; }
  bool empty() const { return size() == 0; }
  // Bytes that the allocator takes for the block, its header included; 0 when there is none.
  int64_t AllocatedBytes() const;
  // How many handles hold the block. A moment old.
  int64_t Holders() const {
    return block_ == nullptr ? 0 : block_->references.load(std::memory_order_relaxed);
  }
  // True when the block pays for itself: the holder of a reference must not charge it again.
  bool SelfCharged() const { return block_ == nullptr || block_->budget != nullptr; }

 private:
  struct Block {
    char* data() { return reinterpret_cast<char*>(this + 1); }

    // Partner: the same count in other threads' copies. Decrements release, so that each holder's
    // reads come before the free. The last decrement acquires, so that the free comes after all of
    // them.
    std::atomic<int64_t> references;
    size_t size;
    Budget* budget;  // Null: not charged.
  };

  explicit Bytes(Block* block) : block_(block) {}
  static Block* NewBlock(std::string_view bytes, Budget* budget);
  void Drop();

  Block* block_ = nullptr;
};

// A part of the output whose bytes are not in memory (a range of a file): its owner sends them in a
// way of its own.
class OutputPart {
 public:
  explicit OutputPart(int64_t bytes) : bytes_left_(bytes) {}
  virtual ~OutputPart() = default;
  OutputPart(const OutputPart&) = delete;
  OutputPart& operator=(const OutputPart&) = delete;
  virtual int64_t HeldBytes() const = 0;  // What the allocator takes for it; never changes.
  int64_t BytesLeft() const { return bytes_left_; }

 private:
  friend class OutputQueue;
  int64_t bytes_left_;  // Above 0 in a queue.
};

// Bytes that the kernel has not taken yet: a FIFO of copied bytes, gathered into chunks, of shared
// payloads, and of parts whose bytes are not in memory.
class OutputQueue {
 public:
  OutputQueue() = default;
  ~OutputQueue() { SLUICE_CHECK(Empty(), "Clear it first: its charges need a lease"); }
  OutputQueue(const OutputQueue&) = delete;
  OutputQueue& operator=(const OutputQueue&) = delete;

  [[nodiscard]] bool AppendCopy(std::string_view bytes, Lease& lease,
                                Charging how = Charging::kBudget);
  // Appends from `offset` on. The block is charged here only when it is not self-charged.
  [[nodiscard]] bool AppendShared(Bytes bytes, size_t offset, Lease& lease,
                                  Charging how = Charging::kBudget);

  [[nodiscard]] bool AppendPart(std::unique_ptr<OutputPart> part, Lease& lease,
                                Charging how = Charging::kBudget);

  // Fills at most `parts_max` parts from the front, up to an OutputPart; answers how many. Valid
  // until the next change.
  int Parts(iovec* parts, int parts_max) const;
  // From the front. Requires: so many bytes lie there before an OutputPart.
  void Consume(size_t bytes, Lease& lease);
  OutputPart* FrontPart() const;  // nullptr: bytes in memory are at the front, or none.
  // Takes bytes of the part at the front. True: it was the last of them, and the part is gone.
  bool ConsumePart(int64_t bytes, Lease& lease);
  void Clear(Lease& lease);
  // Takes all that `other` holds, with its charges. Requires: this queue is empty.
  void TakeFrom(OutputQueue& other) {
    SLUICE_CHECK(Empty());
    last_ = std::exchange(other.last_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }

  size_t size() const { return size_; }  // Of bytes in memory.
  bool Empty() const { return last_ == nullptr; }
  int64_t PartBytes() const;     // Of the parts that are not in memory. Walks the chunks.
  int64_t ChargedBytes() const;  // Walks the chunks: for figures and tests.
  // Bytes that the end of this queue would free: ChargedBytes, and its share of the self-charged
  // blocks. An estimate past the first kChunksWalkedMax chunks.
  int64_t HeldBytes() const;
  void CheckInvariants() const;

 private:
  static constexpr int kChunksWalkedMax = 256;
  struct Chunk;
  struct PartChunk;

  static int64_t Charge(const Chunk& chunk);
  // Bytes to request from the allocator for the next chunk, when `bytes` are to be copied behind a
  // chunk with a request of `before` (0: none). Its capacity may be less than `bytes`.
  static size_t NextRequest(size_t bytes, size_t before);
  void Link(Chunk* chunk);
  void DropFirst(Lease& lease);

  Chunk* last_ = nullptr;  // Circular: its next is the first.
  size_t size_ = 0;
};

// Bytes that a session has not consumed, in one contiguous piece.
class InputBuffer {
 public:
  InputBuffer() = default;
  ~InputBuffer() { SLUICE_CHECK(block_ == nullptr, "Clear it first: its charge needs a lease"); }
  InputBuffer(const InputBuffer&) = delete;
  InputBuffer& operator=(const InputBuffer&) = delete;

  [[nodiscard]] bool Append(std::string_view bytes, Lease& lease, Charging how = Charging::kBudget);
  std::string_view view() const {  // Valid until the next change.
    return block_ == nullptr
               ? std::string_view()
               : std::string_view(block_->data() + block_->begin, block_->end - block_->begin);
  }
  void Consume(size_t bytes, Lease& lease);  // From the front. Requires: bytes <= size().
  void Clear(Lease& lease);

  size_t size() const { return block_ == nullptr ? 0 : block_->end - block_->begin; }
  bool Empty() const { return block_ == nullptr; }
  int64_t ChargedBytes() const;
  void CheckInvariants() const;

 private:
  struct Block {
    char* data() { return reinterpret_cast<char*>(this + 1); }

    size_t capacity;
    size_t begin;
    size_t end;
  };

  // At least `bytes`, rounded up to use the bytes that the allocator would waste.
  static size_t Capacity(size_t bytes);
  static Block* NewBlock(size_t capacity, std::string_view bytes);

  Block* block_ = nullptr;  // Null if and only if there are no bytes.
};

}  // namespace sluice

#endif  // SLUICE_CORE_MEMORY_BUFFER_H_
