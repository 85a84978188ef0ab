// Answers each byte with the file --file=PATH, in the way --how=:
//
// send: SendFile. task: the same, in a TaskSession. pool: the blocking pool reads pieces, and the
// session writes them. inline: the session itself reads, which no real server may do.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sluice/sluice.h"

ABSL_FLAG(std::string, file, "", "The file that answers each byte.");
ABSL_FLAG(std::string, how, "send", "How it is sent: send, task, pool or inline.");

namespace sluice::bench {
namespace {

constexpr int64_t kPieceBytes = 64 * 1024;

std::string PieceOf(const OpenFile& file, int64_t offset) {
  std::string piece(static_cast<size_t>(std::min(kPieceBytes, file.Bytes() - offset)), '\0');
  const ssize_t count = pread(file.Descriptor(), piece.data(), piece.size(), offset);
  piece.resize(static_cast<size_t>(std::max<ssize_t>(count, 0)));
  return piece;
}

class Sends : public Session {
 public:
  explicit Sends(SharedFile file) : file_(std::move(file)) {}
  void OnData(Input& in) override {
    in.Skip(1);
    if (SendFile(file_, 0, file_->Bytes()) != Answer::kAccepted) Abort();
  }

 private:
  const SharedFile file_;
};

class SendsInATask : public TaskSession {
 public:
  explicit SendsInATask(SharedFile file) : file_(std::move(file)) {}
  Task<> Serve() override {
    while (const auto some = co_await Read(1)) {
      if (!co_await SendFile(file_, 0, file_->Bytes())) break;
    }
  }

 private:
  const SharedFile file_;
};

class Writes : public Session {
 public:
  Writes(SharedFile file, bool pool) : file_(std::move(file)), pool_(pool) {}
  void OnData(Input& in) override {
    in.TakeAll();
    offset_ = 0;
    Next();
  }
  void OnWritable() override { piece_.empty() ? Next() : Put(std::exchange(piece_, "")); }

 private:
  void Next() {
    if (offset_ == file_->Bytes()) return;
    if (!pool_) return Put(PieceOf(*file_, offset_));
    const Answer answer =
        RunBlocking([file = file_, offset = offset_] { return PieceOf(*file, offset); },
                    [this](absl::StatusOr<std::string> piece) { Put(*std::move(piece)); });
    if (answer != Answer::kAccepted) Abort();
  }
  void Put(std::string piece) {
    if (OutputBytes() > 0) {
      piece_ = std::move(piece);
      return WantWritable();
    }
    offset_ += static_cast<int64_t>(piece.size());
    WriteOrAbort(piece);
    if (offset_ == file_->Bytes()) return;
    pool_ ? Next() : WantWritable();
  }

  const SharedFile file_;
  const bool pool_;
  int64_t offset_ = 0;
  std::string piece_;  // Waits for room.
};

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  using namespace sluice;
  using namespace sluice::bench;
  Runtime runtime(Options::FromFlags(argc, argv));
  const absl::StatusOr<SharedFile> file = OpenFile::ForReading(absl::GetFlag(FLAGS_file));
  const std::string how = absl::GetFlag(FLAGS_how);
  if (!file.ok()) {
    runtime.KeepError(file.status());
  } else if (how == "send") {
    runtime.Listen<Sends>("127.0.0.1:7022", *file);
  } else if (how == "task") {
    runtime.Listen<SendsInATask>("127.0.0.1:7022", *file);
  } else if (how == "pool" || how == "inline") {
    runtime.Listen<Writes>("127.0.0.1:7022", *file, how == "pool");
  } else {
    runtime.KeepError(absl::InvalidArgumentError("--how must be send, task, pool or inline"));
  }
  return runtime.RunUntilSignal();
}
