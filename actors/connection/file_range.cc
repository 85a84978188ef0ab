#include "sluice/actors/connection/file_range.h"

#include <algorithm>
#include <memory>
#include <typeinfo>

#include "absl/status/status.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/core/actor/blocking_pool.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/os/os.h"
#include "sluice/core/slot/shared.h"

namespace sluice {

namespace {

// To a connection: what became of its order. One for each order, of which it has one at a time.
struct FileFetchedControl {
  int64_t result;
  void Run(Worker&, Slot* slot, uint32_t generation) const {
    // The session may have ended, and its connection goes on; or the slot has another one by now.
    bool here = slot->generation == generation && slot->io != nullptr;
    SLUICE_PLANT(fetched_by_stranger, here = slot->io != nullptr);
    if (here) static_cast<Connection*>(slot->io)->FileFetched(result);
  }
};

class FetchTask final : public internal::BlockingTask {
 public:
  FetchTask(Os& os, SharedFile file, int64_t offset, int64_t bytes, Slot* slot)
      : BlockingTask(typeid(FileRange).name()),
        os_(os),
        file_(std::move(file)),
        offset_(offset),
        bytes_(bytes),
        slot_(slot),
        generation_(slot->generation) {}
  ~FetchTask() override { Say(FileRange::kNotRun); }
  void Fail(absl::Status) override { Say(FileRange::kNotRun); }
  void Forget() override { said_ = true; }

 private:
  void Call() override { result_ = os_.FileFetch(file_->Descriptor(), offset_, bytes_); }
  void Threw(absl::Status) override {}
  void Answer() override { Say(result_); }
  void Say(int64_t result) {
    if (std::exchange(said_, true)) return;
    Worker::Post(*slot_->worker, slot_, generation_, FileFetchedControl{result});
  }

  Os& os_;
  const SharedFile file_;
  const int64_t offset_;
  const int64_t bytes_;
  Slot* const slot_;
  const uint32_t generation_;
  int64_t result_ = FileRange::kNotRun;
  bool said_ = false;
};

bool Submit(Worker& worker, std::unique_ptr<internal::BlockingTask> task) {
  BlockingPool& pool = *worker.shared().blocking;
  const auto [gate, generation] = pool.GateOf(worker);
  internal::BlockingTask* const sent = task.get();
  internal::BlockingCall call{std::move(task), sizeof(FetchTask)};
  // Not Send: a full pool would park the session.
  const Answer answer = gate == nullptr
                            ? Answer::kOverloaded
                            : worker.TrySend(gate, generation, &internal::kBlockingCallOps, call);
  if (answer == Answer::kAccepted) {
    sent->Accepted(pool.state());
    return true;
  }
  call.task->Forget();
  return false;
}

}  // namespace

void FileRange::Fetch(Worker& worker, Slot* slot, int64_t now_ms) {
  if (waits_since_ms_ < 0) waits_since_ms_ = now_ms;
  auto task = std::make_unique<FetchTask>(worker.os(), file_, Offset(),
                                          std::min(BytesLeft(), kChunkBytes), slot);
  if (Submit(worker, std::move(task))) {
    state_ = State::kFetching;
  } else {
    FetchLater(now_ms);
  }
}

void FileRange::NoteInMemory(int64_t bytes, int64_t now_ms) {
  state_ = State::kInMemory;
  in_memory_end_ = Offset() + bytes;
  at_ms_ = now_ms;
}

void FileRange::FetchLater(int64_t now_ms) {
  state_ = State::kLater;
  at_ms_ = now_ms + kRetryMs;
}

}  // namespace sluice
