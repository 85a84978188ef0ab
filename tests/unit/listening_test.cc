// Where an acceptor listens, and connections that are made to it: addresses, files of UNIX sockets,
// refusals.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "gtest/gtest.h"
#include "sluice/actors/acceptor.h"
#include "sluice/actors/connector.h"
#include "sluice/tests/support/acceptor_rig.h"

namespace sluice::testing {
namespace {

// --- Addresses.

TEST(Listening, ServesSeveralSocketsOfOneLimit) {
  AcceptorRig rig(AcceptorRig::Small(3, AtLimit::kRefuse),
                  "127.0.0.1:0,[::1]:0,unix:@sluice-acceptor-test");
  for (size_t i = 0; i < 3; ++i) {
    const int client = rig.Connect(rig.Where(i));
    rig.Settle();
    EXPECT_EQ(rig.Heard(client), "hi") << rig.Where(i);
  }
  const int refused = rig.Connect(rig.Where(2));
  rig.Settle();
  EXPECT_EQ(rig.Heard(refused), "EOF");
}

class Deaf : public Session {
  void OnData(Input& in) override { in.TakeAll(); }
};

TEST(Listening, IsSaidBeforeTheRunWithThePortThatItGot) {
  Options options;
  options.workers = 1;
  options.max_connections = 3;
  Runtime runtime(options);
  const std::string name = "unix:@sluice-listening-test-" + std::to_string(getpid());
  runtime.Listen<Deaf>("127.0.0.1:0,[::1]:0");
  runtime.Listen<Deaf>(name);
  ASSERT_TRUE(runtime.status().ok()) << runtime.status();
  ASSERT_EQ(runtime.Listening().size(), 3u);
  for (int i : {0, 1}) EXPECT_NE(Address::Parse(runtime.Listening()[i])->port(), 0);
  EXPECT_EQ(runtime.Listening()[2], name);
}

class UnixFile : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = "/tmp/sluiceXXXXXX";  // Not TEST_TMPDIR: a socket's path has at most 107 bytes.
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
    path_ = folder_ + "/s";
  }
  void TearDown() override {
    ::unlink(path_.c_str());
    ::rmdir(folder_.c_str());
  }
  absl::StatusOr<ListeningSocket> Open() {
    return OpenListening(LinuxOs(), *Address::Parse("unix:" + path_), Options());
  }
  bool Exists() const {
    struct stat file;
    return ::lstat(path_.c_str(), &file) == 0;
  }
  std::string folder_, path_;
};

TEST_F(UnixFile, AStaleFileThatNobodyServesIsReplaced) {
  {
    const auto killed = Open();
    ASSERT_TRUE(killed.ok()) << killed.status();
  }  // Its file stays.
  ASSERT_TRUE(Exists());
  const auto again = Open();
  EXPECT_TRUE(again.ok()) << again.status();
}

TEST_F(UnixFile, AServedOneIsLeftAlone) {
  const auto first = Open();
  ASSERT_TRUE(first.ok());
  const auto second = Open();
  EXPECT_FALSE(second.ok());
  EXPECT_NE(second.status().message().find(path_), absl::string_view::npos) << second.status();
  EXPECT_TRUE(Exists());
}

TEST_F(UnixFile, AFileThatIsNoSocketIsNeverRemoved) {
  const int file = ::open(path_.c_str(), O_CREAT | O_WRONLY, 0600);
  ASSERT_GE(file, 0);
  ::close(file);
  EXPECT_FALSE(Open().ok());
  EXPECT_TRUE(Exists());
}

TEST_F(UnixFile, IsRemovedWithItsAcceptor) {
  {
    AcceptorRig rig(AcceptorRig::Small(3, AtLimit::kRefuse), "unix:" + path_);
    EXPECT_TRUE(Exists());
  }
  EXPECT_FALSE(Exists());
}

TEST(Listening, AnAddressInUseIsOneClearErrorAndLeavesNothingBehind) {
  AcceptorRig rig(AcceptorRig::Small(3, AtLimit::kRefuse));
  Runtime other(AcceptorRig::Small(3, AtLimit::kRefuse));
  other.Listen<Greeter>("127.0.0.1:0," + rig.Where(0));
  EXPECT_FALSE(other.status().ok());
  EXPECT_NE(other.status().message().find(rig.Where(0)), absl::string_view::npos) << other.status();
}

// --- Outgoing connections, which share its file.

class Caller : public Session {
 public:
  explicit Caller(std::string* heard) : heard_(*heard) {}
  void OnOpen() override { heard_ += "open "; }
  void OnData(Input& in) override { heard_ += in.TakeAll(); }
  void OnClose(CloseReason reason) override { heard_ += CloseReasonName(reason); }

 private:
  std::string& heard_;
};

TEST(Connecting, AConnectThatIsRefusedAtOnceIsToldAsRefused) {
  std::string path = "/tmp/sluice-nobody-serves-this";
  for (const std::string& address :
       {std::string("127.0.0.1:1"), "unix:" + path, std::string("[::1]:1")}) {
    std::string heard;
    AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse));
    Worker& worker = rig.runtime.worker(0);
    worker.Enter();
    Slot* slot = worker.AllocateSlot();
    worker.Open(slot, 16);
    ConnectOn(
        worker, *Address::Parse(address), absl::Seconds(5),
        [&](Worker& w, Slot* s) { internal::Construct<Caller>(w, s, &heard); }, slot);
    worker.Leave();
    rig.Settle();
    EXPECT_EQ(heard, "connect failed") << address;
  }
}

TEST(Connecting, AConnectReachesAnAcceptor) {
  std::string heard;
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse));
  Worker& worker = rig.runtime.worker(0);
  worker.Enter();
  Slot* slot = worker.AllocateSlot();
  worker.Open(slot, 16);
  ConnectOn(
      worker, *Address::Parse(rig.Where(0)), absl::Seconds(5),
      [&](Worker& w, Slot* s) { internal::Construct<Caller>(w, s, &heard); }, slot);
  worker.Leave();
  rig.Settle();
  EXPECT_EQ(heard, "open hi");
}

}  // namespace
}  // namespace sluice::testing
