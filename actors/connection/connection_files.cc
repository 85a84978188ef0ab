// Files in a connection's output: a range is sent from memory, or waits until the blocking pool has
// read the next chunk of it.
#include <algorithm>
#include <cerrno>

#include "sluice/actors/connection/connection.h"
#include "sluice/actors/connection/file_range.h"
#include "sluice/core/base/plant.h"

namespace sluice {

Answer Connection::SendFile(const SharedFile& file, int64_t offset, int64_t bytes) {
  const Answer answer = outgoing_.MaySendFile(file, offset, bytes);
  if (answer != Answer::kAccepted || bytes == 0) return answer;
  if (outgoing_.Gathering()) FlushGather();
  Worker& w = worker();
  if (!outgoing_.AppendFile(file, offset, bytes, w.lease())) return Answer::kOverloaded;
  counters_->bytes_accepted.Add(bytes);
  w.descriptors().FlushAfterSlice(this);
  return Answer::kAccepted;
}

// Sends at most `most` bytes of the range at the front. Answers how many have left; 0: none now.
int64_t Connection::SendRange(int64_t most) {
  FileRange& range = *outgoing_.FrontFile();
  if (IsConnecting() || range.Waits()) return 0;
  Worker& w = worker();
  most = std::min(most, range.BytesLeft());
  if (range.InMemoryBytes(w.NowMs()) == 0 && !LookForRange(range, most)) return 0;
  most = std::min(most, range.InMemoryBytes(w.NowMs()));
  outgoing_.PostponeStall(range.TakeWaitedMs(w.NowMs()));
  const int64_t sent = stream_->SendFile(range.Descriptor(), range.Offset(), most);
  if (sent > 0) {
    NoteSent(sent);
    SentOfRange(sent);
    return sent;
  }
  const int error = static_cast<int>(-sent);
  if (error == 0) {
    FileFailed(FileRange::kTooShort);
  } else if (error == EAGAIN || ReasonOf(error) != CloseReason::kError) {
    outgoing_.Refused(error == EAGAIN ? 0 : error);
  } else {
    FileFailed(error);  // A socket has none of these.
  }
  return 0;
}

// True: the bytes are in memory. Otherwise the pool is asked for them, or the file is at fault.
bool Connection::LookForRange(FileRange& range, int64_t bytes) {
  Worker& w = worker();
  int in_memory = w.os().FileInMemory(range.Descriptor(), range.Offset(), bytes);
  SLUICE_PLANT(cold_file_unfetched, if (in_memory == 0) in_memory = 1);
  if (in_memory > 0) {
    range.NoteInMemory(bytes, w.NowMs());
  } else if (in_memory < 0) {
    FileFailed(-in_memory);
  } else {
    range.Fetch(w, slot_, w.NowMs());
    if (!range.Fetching()) ArmTimer();
  }
  return in_memory > 0;
}

void Connection::SentOfRange(int64_t bytes) {
  const int64_t left = outgoing_.FrontFile()->BytesLeft();
  outgoing_.SentOfFile(bytes, worker().lease());
  // A long file takes longer than close_timeout, and a peer that takes a byte now and then must not
  // hold the connection: each chunk has that time.
  constexpr int64_t kChunk = FileRange::kChunkBytes;
  if (Closing() && (bytes == left || (left - bytes) / kChunk != left / kChunk)) {
    deadlines_.BeginClose(worker().NowMs());
  }
}

// Noted, as a failed write is: the connection ends at the end of the slice.
void Connection::FileFailed(int error) {
  FileRange& range = *outgoing_.FrontFile();
  SLUICE_PLANT(
      short_file_unnoticed, if (error == FileRange::kTooShort) {
        counters_->bytes_lost.Add(range.BytesLeft());
        return SentOfRange(range.BytesLeft());
      });
  range.SetFault(error);
  outgoing_.Refused(error);
}

void Connection::FileFetched(int64_t result) {
  FileRange* const range = outgoing_.FrontFile();
  SLUICE_CHECK(range != nullptr && range->Fetching());
  const int64_t now_ms = worker().NowMs();
  if (result > 0) {
    range->NoteInMemory(result, now_ms);
  } else if (result == FileRange::kNotRun) {
    range->FetchLater(now_ms);
  } else {
    FileFailed(result == 0 ? FileRange::kTooShort : static_cast<int>(-result));
  }
  ArmTimer();  // The peer's time runs again; or the pool is asked again.
  worker().descriptors().FlushAfterSlice(this);
}

// The pool had no room.
void Connection::RetryFetch() {
  if (FileRange* const range = outgoing_.FrontFile(); range != nullptr) range->Retry();
  FlushOutput();
  OutputMoved();
}

}  // namespace sluice
