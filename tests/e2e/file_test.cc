// Tests of SendFile over real sockets, with real files: whole files at slow readers, from the disk
// and from memory, to many at once; and a file that is cut short under way.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/os/open_file.h"
#include "sluice/protocols/line_session.h"
#include "sluice/sluice.h"
#include "sluice/tests/e2e/client.h"

namespace sluice::e2e {
namespace {

constexpr int64_t kFileBytes = 6'500'000;

// A file of Pattern() that is gone after the test.
class PatternFile {
 public:
  explicit PatternFile(int64_t bytes) {
    const char* const folder = std::getenv("TEST_TMPDIR");
    path_ = std::string(folder == nullptr ? "/tmp" : folder) + "/file.XXXXXX";
    const int fd = mkstemp(path_.data());
    const std::string text = Pattern(0, static_cast<size_t>(bytes));
    EXPECT_EQ(write(fd, text.data(), text.size()), bytes);
    EXPECT_EQ(fsync(fd), 0);
    close(fd);
    absl::StatusOr<SharedFile> file = OpenFile::ForReading(path_);
    EXPECT_TRUE(file.ok()) << file.status();
    if (file.ok()) file_ = *std::move(file);
  }
  ~PatternFile() { unlink(path_.c_str()); }
  PatternFile(const PatternFile&) = delete;
  PatternFile& operator=(const PatternFile&) = delete;
  const SharedFile& file() const { return file_; }
  const std::string& path() const { return path_; }
  // The kernel drops it from memory (not if that is where it is stored).
  void MakeCold() { EXPECT_EQ(posix_fadvise(file_->Descriptor(), 0, 0, POSIX_FADV_DONTNEED), 0); }

 private:
  std::string path_;
  SharedFile file_;
};

// Answers each line with it, the file, and a dot.
class Sends : public LineSession {
 public:
  explicit Sends(SharedFile file) : LineSession(100), file_(std::move(file)) {}
  void OnLine(std::string_view line) override {
    WriteOrAbort(line);
    EXPECT_EQ(SendFile(file_, 0, file_->Bytes()), Answer::kAccepted);
    WriteOrAbort(".");
  }

 private:
  const SharedFile file_;
};

// The same, as a task that opens the file for each line.
class Serves : public TaskSession {
 public:
  explicit Serves(std::string path) : path_(std::move(path)) {}
  Task<> Serve() override {
    while (const auto line = co_await Line()) {
      if (!co_await Write(*line)) break;
      auto opened = RunBlocking([path = path_] { return OpenFile::ForReading(path); });
      const absl::StatusOr<SharedFile> file = co_await opened;
      if (!file.ok() || !co_await SendFile(*file, 0, (*file)->Bytes())) break;
      if (!co_await Write(".")) break;
    }
  }

 private:
  const std::string path_;
};

class Files : public ::testing::Test {
 protected:
  Files() : file_(kFileBytes), runtime_(SmallOptions()) {
    folder_ = std::string("/tmp/sluice_files_") + std::to_string(getpid());
    runtime_.Listen<Sends>("127.0.0.1:0", file_.file());
    runtime_.Listen<Serves>("127.0.0.1:0", file_.path());
    runtime_.Listen<Sends>("unix:@" + folder_, file_.file());
    EXPECT_TRUE(runtime_.Start().ok());
    addresses_ = runtime_.Listening();
  }
  ~Files() override { runtime_.Drain(absl::Seconds(5)); }

  static Options SmallOptions() {
    Options options;
    options.workers = 2;
    options.memory_bytes_max = 64 * 1024 * 1024;
    options.max_connections = 256;
    options.log_level = "warning";
    return options;
  }
  ConnectionLedger::Totals Ledger() {
    return runtime_.Attachment<ConnectionLedger>(runtime_.WorkerCount()).Sum();
  }
  static ::testing::AssertionResult ReadAnswer(Client& client, std::string_view line) {
    const std::string got = client.ReadExactly(line.size() + kFileBytes + 1);
    return SameBytes(std::string(line) + Pattern(0, kFileBytes) + ".", got);
  }

  PatternFile file_;
  Runtime runtime_;
  std::string folder_;
  std::vector<std::string> addresses_;
};

TEST_F(Files, SlowReaderThatHalfClosedGetsAllOfPipelinedFiles) {
  for (const std::string& address : addresses_) {
    Client client(address, {.receive_buffer_bytes = 20'000});
    ASSERT_TRUE(client.Send("one\ntwo\n"));
    client.ShutdownWrite();
    EXPECT_TRUE(ReadAnswer(client, "one"));
    EXPECT_TRUE(ReadAnswer(client, "two"));
    EXPECT_EQ(client.ReadUntilEof(), "");
    EXPECT_EQ(client.end(), End::kEof);
  }
  EXPECT_EQ(Ledger().bytes_lost, 0);
}

TEST_F(Files, ColdFileIsReadByThePool) {
  file_.MakeCold();
  Client client(addresses_[0]);
  ASSERT_TRUE(client.Send("\n"));
  EXPECT_TRUE(ReadAnswer(client, ""));
  EXPECT_GT(runtime_.blocking().Counts().finished, 0);
}

TEST_F(Files, HundredClientsShareOneOpenFile) {
  std::vector<Client> clients;
  for (int i = 0; i < 100; ++i) {
    clients.emplace_back(addresses_[static_cast<size_t>(i % 2)]);
    ASSERT_TRUE(clients.back().Send(std::to_string(i) + "\n"));
  }
  // Two read at once.
  std::thread half([&] {
    for (int i = 0; i < 100; i += 2) {
      EXPECT_TRUE(ReadAnswer(clients[static_cast<size_t>(i)], std::to_string(i)));
      clients[static_cast<size_t>(i)].Close();
    }
  });
  for (int i = 1; i < 100; i += 2) {
    EXPECT_TRUE(ReadAnswer(clients[static_cast<size_t>(i)], std::to_string(i)));
    clients[static_cast<size_t>(i)].Close();
  }
  half.join();
}

TEST_F(Files, FileThatIsCutShortUnderWayEndsInAReset) {
  Client client(addresses_[0], {.receive_buffer_bytes = 20'000});
  ASSERT_TRUE(client.Send("\n"));
  EXPECT_TRUE(client.ReadPattern(100'000));
  ASSERT_EQ(truncate(file_.path().c_str(), 4'000'000), 0);
  const std::string rest = client.ReadUntilEof();
  EXPECT_EQ(client.end(), End::kReset);
  ASSERT_LE(rest.size(), 4'000'000u - 100'000u);
  EXPECT_TRUE(SameBytes(Pattern(100'000, rest.size()), rest));
  EXPECT_EQ(Ledger().closed[static_cast<size_t>(CloseReason::kFileFailed)], 1);
}

// sendfile() to a peer that is gone raises SIGPIPE, which would end this process.
TEST_F(Files, PeerThatIsGoneEndsItsConnectionOnly) {
  for (const std::string& address : addresses_) {
    for (int i = 0; i < 10; ++i) {
      Client client(address);
      ASSERT_TRUE(client.Send("1\n2\n3\n"));
      EXPECT_EQ(client.ReadExactly(1), "1");
      i % 2 == 0 ? client.Reset() : client.Close();
    }
    Client client(address);
    ASSERT_TRUE(client.Send("still here\n"));
    EXPECT_TRUE(ReadAnswer(client, "still here"));
  }
}

TEST_F(Files, DrainSendsTheFileToItsEnd) {
  Client client(addresses_[0], {.receive_buffer_bytes = 20'000});
  ASSERT_TRUE(client.Send("\n"));
  EXPECT_TRUE(client.ReadPattern(50'000));
  std::thread drain([this] { runtime_.Drain(absl::Seconds(60)); });
  EXPECT_TRUE(client.ReadPattern(kFileBytes - 50'000));
  EXPECT_EQ(client.ReadUntilEof(), ".");
  EXPECT_EQ(client.end(), End::kEof);
  client.Close();
  drain.join();
}

TEST(OpenFile, NamesWhatCannotBeSent) {
  EXPECT_EQ(OpenFile::ForReading("/nowhere/at/all").status().message(),
            "cannot open /nowhere/at/all: No such file or directory");
  EXPECT_EQ(OpenFile::ForReading("/").status().message(), "cannot send /: it is no file");
  EXPECT_EQ(OpenFile::ForReading("/dev/null").status().message(),
            "cannot send /dev/null: it is no file");
}

}  // namespace
}  // namespace sluice::e2e
