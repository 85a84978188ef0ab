#include "sluice/core/memory/buffer.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace sluice {
namespace {

// Sizes of an owned chunk, as the allocator takes it. Small at first: a tiny remainder must not
// cost a slow peer's connection 16 KiB. Large later: a long queue has few parts.
constexpr size_t kChunkBytesMin = 512;
constexpr size_t kChunkBytesMax = 16 * 1024;
constexpr size_t kMallocHeaderBytes = 8;

// A smaller input block is not worth a shrink.
constexpr size_t kShrinkBytesMin = 4096;

constexpr size_t RoundUp(size_t value, size_t step) { return (value + step - 1) / step * step; }

}  // namespace

// ---- Bytes

Bytes Bytes::Copy(std::string_view bytes) {
  return bytes.empty() ? Bytes() : Bytes(NewBlock(bytes, nullptr));
}

std::optional<Bytes> Bytes::Copy(std::string_view bytes, Budget& budget) {
  if (bytes.empty()) return Bytes();
  if (!budget.Take(sluice::AllocatedBytes(sizeof(Block) + bytes.size()))) return std::nullopt;
  return Bytes(NewBlock(bytes, &budget));
}

Bytes::Block* Bytes::NewBlock(std::string_view bytes, Budget* budget) {
  void* memory = ::operator new(sizeof(Block) + bytes.size());
  Block* block = new (memory) Block{1, bytes.size(), budget};
  std::memcpy(block->data(), bytes.data(), bytes.size());
  return block;
}

void Bytes::Drop() {
  if (block_->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  Budget* budget = block_->budget;
  const int64_t charge = AllocatedBytes();
  block_->~Block();
  ::operator delete(block_);
  if (budget != nullptr) budget->Give(charge);  // After the free: the ceiling is never understated.
}

int64_t Bytes::AllocatedBytes() const {
  return block_ == nullptr ? 0 : sluice::AllocatedBytes(sizeof(Block) + block_->size);
}

// ---- OutputQueue

static_assert(sizeof(Bytes) == 8 && sizeof(OutputQueue) <= 24 && sizeof(InputBuffer) <= 16);

// Owned bytes follow the chunk; a shared payload does not, and then `request` is the bare chunk.
struct OutputQueue::Chunk {
  char* data() { return reinterpret_cast<char*>(this + 1); }
  bool Owned() const { return request > sizeof(Chunk); }
  // A PartChunk: its bytes are nowhere in memory.
  bool IsPart() const { return end == 0; }
  size_t Room() const { return Owned() ? request - sizeof(Chunk) - end : 0; }
  const char* first() { return (Owned() ? data() : shared.view().data()) + begin; }

  Chunk* next;
  Bytes shared;
  size_t begin;
  size_t end;
  size_t request;  // The size asked of the allocator.
};

// Looks like a chunk of no bytes: it has no room, and no charge of its own.
struct OutputQueue::PartChunk : Chunk {
  std::unique_ptr<OutputPart> part;
};

int64_t OutputQueue::Charge(const Chunk& chunk) {
  if (chunk.IsPart()) {
    return AllocatedBytes(sizeof(PartChunk)) +
           static_cast<const PartChunk&>(chunk).part->HeldBytes();
  }
  return AllocatedBytes(chunk.request) +
         (chunk.shared.SelfCharged() ? 0 : chunk.shared.AllocatedBytes());
}

size_t OutputQueue::NextRequest(size_t bytes, size_t before) {
  const size_t fitting =
      RoundUp(std::min(bytes, kChunkBytesMax) + sizeof(Chunk) + kMallocHeaderBytes, kChunkBytesMin);
  const size_t growing = before == 0 ? 0 : 2 * (before + kMallocHeaderBytes);
  return std::clamp(std::max(fitting, growing), kChunkBytesMin, kChunkBytesMax) -
         kMallocHeaderBytes;
}

bool OutputQueue::AppendCopy(std::string_view bytes, Lease& lease, Charging how) {
  const size_t in_last = last_ == nullptr ? 0 : std::min(last_->Room(), bytes.size());
  const size_t before = last_ != nullptr && last_->Owned() ? last_->request : 0;

  // Charges for all bytes before it appends any. Only the first new chunk grows ahead of need.
  int64_t charge = 0;
  size_t request = before;
  for (size_t left = bytes.size() - in_last; left > 0;) {
    request = NextRequest(left, charge == 0 ? before : 0);
    charge += AllocatedBytes(request);
    left -= std::min(left, request - sizeof(Chunk));
  }
  if (charge > 0 && !lease.Charge(charge, how)) return false;

  if (in_last > 0) {
    std::memcpy(last_->data() + last_->end, bytes.data(), in_last);
    last_->end += in_last;
    size_ += in_last;
    bytes.remove_prefix(in_last);
  }
  for (bool first = true; !bytes.empty(); first = false) {
    request = NextRequest(bytes.size(), first ? before : 0);
    const size_t taken = std::min(bytes.size(), request - sizeof(Chunk));
    Chunk* chunk = new (::operator new(request)) Chunk{nullptr, Bytes(), 0, taken, request};
    std::memcpy(chunk->data(), bytes.data(), taken);
    Link(chunk);
    bytes.remove_prefix(taken);
  }
  return true;
}

bool OutputQueue::AppendShared(Bytes bytes, size_t offset, Lease& lease, Charging how) {
  const size_t size = bytes.size();
  SLUICE_CHECK(offset <= size);
  if (offset == size) return true;
  const int64_t charge =
      AllocatedBytes(sizeof(Chunk)) + (bytes.SelfCharged() ? 0 : bytes.AllocatedBytes());
  if (!lease.Charge(charge, how)) return false;
  Link(new (::operator new(sizeof(Chunk)))
           Chunk{nullptr, std::move(bytes), offset, size, sizeof(Chunk)});
  return true;
}

bool OutputQueue::AppendPart(std::unique_ptr<OutputPart> part, Lease& lease, Charging how) {
  SLUICE_CHECK(part->BytesLeft() > 0);
  if (!lease.Charge(AllocatedBytes(sizeof(PartChunk)) + part->HeldBytes(), how)) return false;
  Link(new PartChunk{{nullptr, Bytes(), 0, 0, sizeof(Chunk)}, std::move(part)});
  return true;
}

void OutputQueue::Link(Chunk* chunk) {
  chunk->next = last_ == nullptr ? chunk : std::exchange(last_->next, chunk);
  last_ = chunk;
  size_ += chunk->end - chunk->begin;
}

int OutputQueue::Parts(iovec* parts, int parts_max) const {
  if (last_ == nullptr) return 0;
  int count = 0;
  for (Chunk* chunk = last_->next; count < parts_max && !chunk->IsPart(); chunk = chunk->next) {
    parts[count].iov_base = const_cast<char*>(chunk->first());
    parts[count].iov_len = chunk->end - chunk->begin;
    ++count;
    if (chunk == last_) break;
  }
  return count;
}

void OutputQueue::Consume(size_t bytes, Lease& lease) {
  SLUICE_CHECK(bytes <= size_);
  while (bytes > 0) {
    Chunk* first = last_->next;
    SLUICE_CHECK(!first->IsPart());
    const size_t taken = std::min(bytes, first->end - first->begin);
    bytes -= taken;
    size_ -= taken;
    first->begin += taken;
    if (first->begin == first->end) DropFirst(lease);
  }
}

OutputPart* OutputQueue::FrontPart() const {
  if (last_ == nullptr || !last_->next->IsPart()) return nullptr;
  return static_cast<PartChunk*>(last_->next)->part.get();
}

bool OutputQueue::ConsumePart(int64_t bytes, Lease& lease) {
  OutputPart* const part = FrontPart();
  SLUICE_CHECK(part != nullptr && bytes <= part->bytes_left_);
  part->bytes_left_ -= bytes;
  if (part->bytes_left_ > 0) return false;
  DropFirst(lease);
  return true;
}

int64_t OutputQueue::PartBytes() const {
  if (last_ == nullptr) return 0;
  int64_t bytes = 0;
  const Chunk* chunk = last_;
  do {
    chunk = chunk->next;
    if (chunk->IsPart()) bytes += static_cast<const PartChunk*>(chunk)->part->BytesLeft();
  } while (chunk != last_);
  return bytes;
}

void OutputQueue::Clear(Lease& lease) {
  while (last_ != nullptr) {
    size_ -= last_->next->end - last_->next->begin;
    DropFirst(lease);
  }
}

void OutputQueue::DropFirst(Lease& lease) {
  Chunk* first = last_->next;
  if (first == last_) {
    last_ = nullptr;
  } else {
    last_->next = first->next;
  }
  const int64_t charge = Charge(*first);
  if (first->IsPart()) {
    delete static_cast<PartChunk*>(first);
  } else {
    first->~Chunk();
    ::operator delete(first);
  }
  lease.Refund(charge);
}

int64_t OutputQueue::ChargedBytes() const {
  if (last_ == nullptr) return 0;
  int64_t charged = Charge(*last_);
  for (const Chunk* chunk = last_->next; chunk != last_; chunk = chunk->next) {
    charged += Charge(*chunk);
  }
  return charged;
}

int64_t OutputQueue::HeldBytes() const {
  if (last_ == nullptr) return 0;
  int64_t held = 0;
  size_t seen = 0;
  const Chunk* chunk = last_;
  for (int walked = 0; walked < kChunksWalkedMax; ++walked) {
    chunk = chunk->next;
    held += Charge(*chunk);
    if (!chunk->Owned() && !chunk->IsPart() && chunk->shared.SelfCharged()) {
      held += chunk->shared.AllocatedBytes() / std::max<int64_t>(1, chunk->shared.Holders());
    }
    seen += chunk->end - chunk->begin;
    if (chunk == last_) return held;
  }
  if (seen == 0) return held;  // Parts alone.
  return held + static_cast<int64_t>(static_cast<double>(held) * (size_ - seen) / seen);
}

void OutputQueue::CheckInvariants() const {
  SLUICE_CHECK(last_ != nullptr || size_ == 0);
  if (last_ == nullptr) return;
  size_t size = 0;
  const Chunk* chunk = last_;
  do {
    chunk = chunk->next;
    if (chunk->IsPart()) {
      SLUICE_CHECK(static_cast<const PartChunk*>(chunk)->part->BytesLeft() > 0);
      continue;
    }
    SLUICE_CHECK(chunk->begin < chunk->end);
    SLUICE_CHECK(chunk->end <=
                 (chunk->Owned() ? chunk->request - sizeof(Chunk) : chunk->shared.size()));
    SLUICE_CHECK(chunk->request + kMallocHeaderBytes <= kChunkBytesMax);
    size += chunk->end - chunk->begin;
  } while (chunk != last_);
  SLUICE_CHECK(size == size_);
}

// ---- InputBuffer

size_t InputBuffer::Capacity(size_t bytes) {
  constexpr size_t kOverheadBytes = sizeof(Block) + kMallocHeaderBytes;
  return RoundUp(bytes + kOverheadBytes, 64) - kOverheadBytes;
}

InputBuffer::Block* InputBuffer::NewBlock(size_t capacity, std::string_view bytes) {
  Block* block = new (::operator new(sizeof(Block) + capacity)) Block{capacity, 0, bytes.size()};
  bytes.copy(block->data(), bytes.size());  // Not memcpy: an empty view may have a null pointer.
  return block;
}

bool InputBuffer::Append(std::string_view bytes, Lease& lease, Charging how) {
  if (bytes.empty()) return true;
  const size_t held = size();
  if (block_ != nullptr && block_->capacity - block_->end < bytes.size() &&
      block_->capacity - held >= bytes.size() && block_->begin >= held) {
    // There is room at the front, and fewer bytes move than were consumed: still O(1) a byte.
    std::memcpy(block_->data(), block_->data() + block_->begin, held);
    block_->begin = 0;
    block_->end = held;
  }
  if (block_ == nullptr || block_->capacity - block_->end < bytes.size()) {
    // Twice the held bytes, so that a frame that comes byte by byte is not copied for each byte.
    // Exact at first, as most buffers keep one remainder only.
    const size_t capacity = Capacity(std::max(held + bytes.size(), 2 * held));
    // Old and new block exist side by side for a moment, and both are charged.
    if (!lease.Charge(AllocatedBytes(sizeof(Block) + capacity), how)) return false;
    Block* grown = NewBlock(capacity, view());
    Clear(lease);
    block_ = grown;
  }
  std::memcpy(block_->data() + block_->end, bytes.data(), bytes.size());
  block_->end += bytes.size();
  return true;
}

void InputBuffer::Consume(size_t bytes, Lease& lease) {
  SLUICE_CHECK(bytes <= size());
  if (bytes == 0) return;
  block_->begin += bytes;
  if (block_->begin == block_->end) {
    Clear(lease);
  } else if (block_->capacity >= kShrinkBytesMin && size() <= block_->capacity / 8) {
    // A few bytes remain of a large frame, and perhaps no more bytes come for hours. Old and new
    // block exist side by side for a moment, and only the old one is charged: a charge could be
    // refused, and Consume() must not fail.
    const int64_t charge = ChargedBytes();
    Block* shrunk = NewBlock(Capacity(size()), view());
    ::operator delete(std::exchange(block_, shrunk));
    lease.Refund(charge - ChargedBytes());
  }
}

void InputBuffer::Clear(Lease& lease) {
  if (block_ == nullptr) return;
  const int64_t charge = ChargedBytes();
  ::operator delete(std::exchange(block_, nullptr));
  lease.Refund(charge);
}

int64_t InputBuffer::ChargedBytes() const {
  return block_ == nullptr ? 0 : AllocatedBytes(sizeof(Block) + block_->capacity);
}

void InputBuffer::CheckInvariants() const {
  if (block_ == nullptr) return;
  SLUICE_CHECK(block_->begin < block_->end);
  SLUICE_CHECK(block_->end <= block_->capacity);
}

}  // namespace sluice
