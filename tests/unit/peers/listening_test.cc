// Tests of listening addresses and of connects to them: addresses, files of UNIX sockets, refusals.
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <cstdlib>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "sluice/actors/connection/sockets.h"
#include "sluice/actors/peers/acceptor.h"
#include "sluice/actors/peers/connector.h"
#include "sluice/core/os/fd.h"
#include "sluice/core/os/os_linux.h"
#include "sluice/tests/support/acceptor_rig.h"

namespace sluice::testing::listening_test {
namespace {

// --- Addresses.

TEST(Listening, ServesSeveralSocketsOfOneLimit) {
  AcceptorRig rig(AcceptorRig::Small(3, AtLimit::kRefuse),
                  "127.0.0.1:0,[::1]:0," + AcceptorRig::NewAddress());
  for (size_t i = 0; i < 3; ++i) {
    const int client = rig.Connect(rig.Where(i));
    EXPECT_EQ(rig.WaitToHear(client), "hi") << rig.Where(i);
  }
  const int refused = rig.Connect(rig.Where(2));
  EXPECT_EQ(rig.WaitToHear(refused), "EOF");
}

class Deaf : public Session {
  void OnData(Input& in) override { in.TakeAll(); }
};

TEST(Listening, AddressesAndPortsAreKnownBeforeTheRun) {
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

TEST(Listening, WorksWhileTheRuntimeRunsFromAnyThread) {
  Options options;
  options.workers = 2;
  options.max_connections = 3;
  Runtime runtime(options);
  ASSERT_TRUE(runtime.Start().ok());
  constexpr int kThreads = 3;
  constexpr int kEach = 10;
  std::atomic<bool> done{false};
  std::thread reader([&] {
    while (!done) {
      for (const std::string& address : runtime.Listening()) {
        EXPECT_EQ(address.rfind("127.0.0.1:", 0), 0u);
      }
      EXPECT_GT(runtime.Ceiling().SumBytes(), 0);
    }
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) EXPECT_TRUE(runtime.Listen<Deaf>("127.0.0.1:0"));
    });
  }
  for (std::thread& thread : threads) thread.join();
  done = true;
  reader.join();
  const std::vector<std::string> listening = runtime.Listening();
  ASSERT_EQ(listening.size(), static_cast<size_t>(kThreads * kEach));
  for (const std::string& where : listening) {
    const Address to = *Address::Parse(where);
    const int fd = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::connect(fd, to.sockaddr(), to.size()), 0) << where;
    ::close(fd);
  }
  runtime.Drain(absl::Seconds(30));
}

TEST(Listening, ErrorDuringTheRunConcernsThatCallOnly) {
  Options options;
  options.workers = 1;
  options.max_connections = 3;
  Runtime runtime(options);
  ASSERT_TRUE(runtime.Start().ok());
  EXPECT_FALSE(runtime.Listen<Deaf>("127.0.0.1:none"));
  EXPECT_TRUE(runtime.status().ok()) << runtime.status();
  EXPECT_TRUE(runtime.Listen<Deaf>("127.0.0.1:0"));
  EXPECT_EQ(runtime.Listening().size(), 1u);
  runtime.Drain(absl::Seconds(30));
  EXPECT_FALSE(runtime.Listen<Deaf>("127.0.0.1:0"));  // No acceptor would serve it.
  EXPECT_TRUE(runtime.Listening().empty());
}

// Before the fix, each acceptor that had ended stayed listed for ever.
TEST(Listening, AnAddressIsListedWhileItsAcceptorListens) {
  Options options;
  options.workers = 2;
  options.max_connections = 3;
  Runtime runtime(options);
  const Ref<Acceptor> early = runtime.Listen<Deaf>("127.0.0.1:0");
  ASSERT_TRUE(runtime.Listen<Deaf>("127.0.0.1:0"));  // This acceptor stays.
  const std::string first = runtime.Listening()[0];
  const std::string second = runtime.Listening()[1];
  ASSERT_TRUE(runtime.Start().ok());
  early.Stop();
  EXPECT_TRUE(Eventually([&] { return runtime.Listening() == std::vector{second}; }));
  for (int round = 0; round < 3; ++round) {
    const Ref<Acceptor> again = runtime.Listen<Deaf>(first + ",[::1]:0");
    ASSERT_TRUE(again) << "round " << round;
    EXPECT_EQ(runtime.Listening().size(), 3u);
    EXPECT_EQ(runtime.Listening()[1], first);  // Listed in the order of the Listen() calls.
    again.Stop();
    EXPECT_TRUE(Eventually([&] { return runtime.Listening() == std::vector{second}; }));
    EXPECT_EQ(runtime.Dump().find("listening on " + first), std::string::npos) << runtime.Dump();
  }
  runtime.Drain(absl::Seconds(30));
  EXPECT_TRUE(runtime.Listening().empty());  // A drain closes the acceptors.
}

struct Break {};
class BreakableAcceptor : public Acceptor {
 public:
  using Acceptor::Acceptor;
  using Acceptor::On;
  void On(Break) { throw std::runtime_error("broken"); }
};

// --- --listen= of a program with several listeners.

std::string Listens(const std::string& given, const std::vector<std::string>& own) {
  Options options = AcceptorRig::Small(100, AtLimit::kRefuse);
  options.listen = given;
  Runtime runtime(options);
  for (const std::string& addresses : own) runtime.Listen<Deaf>(addresses);
  const absl::Status started = runtime.Start();
  const size_t count = runtime.Listening().size();
  runtime.Drain(absl::ZeroDuration());
  return started.ok() ? absl::StrCat("listens on ", count) : std::string(started.message());
}

TEST(Listening, EachListenerTakesTheAddressesOfItsName) {
  const std::vector<std::string> two = {"http=127.0.0.1:0", "admin=127.0.0.1:0,[::1]:0"};
  EXPECT_EQ(Listens("", two), "listens on 3");
  EXPECT_EQ(Listens("http=127.0.0.1:0,127.0.0.1:0,127.0.0.1:0", two), "listens on 5");
  EXPECT_EQ(Listens("admin=127.0.0.1:0,http=127.0.0.1:0", two), "listens on 2");
  EXPECT_EQ(Listens("127.0.0.1:0", {"127.0.0.1:0,[::1]:0", "admin=127.0.0.1:0"}), "listens on 2");
}

TEST(Listening, AnAddressForTwoListenersIsRefused) {
  EXPECT_EQ(Listens("", {"127.0.0.1:0", "127.0.0.1:0"}), "listens on 2");
  EXPECT_EQ(Listens("127.0.0.1:0", {"127.0.0.1:0", "127.0.0.1:0"}),
            "--listen=127.0.0.1:0 would be for two listeners of this program: let each call of "
            "Listen name its addresses, as in \"http=HOST:PORT\"");
  EXPECT_EQ(Listens("", {"a=127.0.0.1:0,b=127.0.0.1:0"}),
            "cannot listen on a=127.0.0.1:0,b=127.0.0.1:0: a call of Listen has one name; call it "
            "once for each");
}

TEST(Listening, AnAddressForNoListenerIsRefused) {
  EXPECT_EQ(Listens("htp=127.0.0.1:0", {"http=127.0.0.1:0", "admin=127.0.0.1:0"}),
            "--listen=htp=127.0.0.1:0 is for no listener of this program: write NAME=ADDRESS; its "
            "names are http, admin");
  EXPECT_EQ(Listens("127.0.0.1:0", {"http=127.0.0.1:0"}),
            "--listen=127.0.0.1:0 is for no listener of this program: write NAME=ADDRESS; its "
            "names are http");
  EXPECT_EQ(Listens("http=127.0.0.1:0", {"127.0.0.1:0"}),
            "--listen=http=127.0.0.1:0 is for no listener of this program: its listener has no "
            "name; give the address alone");
}

TEST(Listening, AnAcceptorThatHasFailedIsListedNoMore) {
  Options options;
  options.workers = 1;
  options.max_connections = 3;
  Runtime runtime(options);
  auto socket = OpenListening(runtime.os(), *Address::Parse("127.0.0.1:0"), options);
  ASSERT_TRUE(socket.ok()) << socket.status();
  const std::string where = socket->address.ToString();
  socket->listed = runtime.AddListening(where);
  ListeningSockets sockets(runtime.os());
  sockets.Add(*std::move(socket));
  const auto acceptor = runtime.SpawnWith<BreakableAcceptor>({}, std::move(sockets),
                                                             SessionFactory([](Worker&, Slot*) {}));
  ASSERT_TRUE(runtime.Start().ok());
  EXPECT_EQ(runtime.Listening(), std::vector{where});
  EXPECT_EQ(acceptor.TrySend(Break{}), Answer::kAccepted);
  EXPECT_TRUE(Eventually([&] { return runtime.Listening().empty(); }));
  runtime.Drain(absl::Seconds(30));
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
  }  // The socket's file stays.
  ASSERT_TRUE(Exists());
  const auto again = Open();
  EXPECT_TRUE(again.ok()) << again.status();
}

TEST_F(UnixFile, AServedFileIsLeftAlone) {
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

TEST_F(UnixFile, AnOldServersEndLeavesTheNewFile) {
  absl::StatusOr<ListeningSocket> next = absl::UnknownError("not yet");
  {
    AcceptorRig rig(AcceptorRig::Small(3, AtLimit::kRefuse), "unix:" + path_);
    // As a deployment does before it starts the next server.
    ASSERT_EQ(::unlink(path_.c_str()), 0);
    next = Open();
    ASSERT_TRUE(next.ok()) << next.status();
  }
  EXPECT_TRUE(Exists());
  EndListening(LinuxOs(), *next);
  EXPECT_FALSE(Exists());
}

TEST_F(UnixFile, IsRemovedAfterTheProcessChangesItsFolder) {
  const std::unique_ptr<char, decltype(&free)> before(::getcwd(nullptr, 0), &free);
  ASSERT_EQ(::chdir(folder_.c_str()), 0);
  auto socket = OpenListening(LinuxOs(), *Address::Parse("unix:s"), Options());
  ASSERT_EQ(::chdir(before.get()), 0);
  ASSERT_TRUE(socket.ok()) << socket.status();
  EXPECT_TRUE(Exists());
  EndListening(LinuxOs(), *socket);
  EXPECT_FALSE(Exists());
}

TEST_F(UnixFile, OneOfManyServersReplacesAStaleFile) {
  constexpr int kServers = 8;
  for (int round = 0; round < 50; ++round) {
    { ASSERT_TRUE(Open().ok()); }  // The socket's file stays.
    std::barrier start(kServers);
    std::vector<absl::StatusOr<ListeningSocket>> servers(kServers);
    std::vector<std::thread> threads;
    for (auto& server : servers) {
      threads.emplace_back([&] {
        start.arrive_and_wait();
        server = Open();
      });
    }
    for (std::thread& thread : threads) thread.join();
    int listening = 0;
    for (auto& server : servers) listening += server.ok();
    ASSERT_EQ(listening, 1) << "round " << round;
    for (auto& server : servers) {
      if (server.ok()) EndListening(LinuxOs(), *server);
    }
    ASSERT_FALSE(Exists());
  }
}

TEST_F(UnixFile, StaleFileInLockedFolderIsAnError) {
  { ASSERT_TRUE(Open().ok()); }
  const OwnedFd lock(LinuxOs(), ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(::flock(lock.Get(), LOCK_EX), 0);
  const auto refused = Open();
  EXPECT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("remove the file"), absl::string_view::npos)
      << refused.status();
  // When there is no file to replace, no lock is needed.
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  EXPECT_TRUE(Open().ok());
}

// Ends an old server just after bind() or after the look at its file, or leaves no descriptor for
// the look at the socket behind the file.
class LookingOs : public ForwardingOs {
 public:
  int Bind(int fd, const sockaddr* address, socklen_t size) override {
    const int result = ForwardingOs::Bind(fd, address, size);
    if (result == -EADDRINUSE && after_bind != nullptr) std::exchange(after_bind, nullptr)();
    return result;
  }
  int SocketFile(const std::string& path, FileId* file) override {
    const int result = ForwardingOs::SocketFile(path, file);
    if (after_look != nullptr) std::exchange(after_look, nullptr)();
    return result;
  }
  int SocketOpen(int family, int type) override {
    if (sockets_left-- == 0) return -EMFILE;
    return ForwardingOs::SocketOpen(family, type);
  }
  std::function<void()> after_bind, after_look;
  int sockets_left = -1;
};

TEST_F(UnixFile, AFileThatVanishesMeanwhileCausesNoRefusal) {
  for (const bool early : {true, false}) {
    auto old = Open();
    ASSERT_TRUE(old.ok()) << old.status();
    LookingOs os;
    (early ? os.after_bind : os.after_look) = [&] { EndListening(LinuxOs(), *old); };
    auto next = OpenListening(os, *Address::Parse("unix:" + path_), Options());
    EXPECT_TRUE(next.ok()) << next.status();
    ASSERT_TRUE(Exists());
    if (next.ok()) EndListening(os, *next);
  }
}

TEST_F(UnixFile, LackOfDescriptorsToCheckFileIsReported) {
  { ASSERT_TRUE(Open().ok()); }  // The socket's file stays.
  LookingOs os;
  os.sockets_left = 1;
  const auto refused = OpenListening(os, *Address::Parse("unix:" + path_), Options());
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("Too many open files"), absl::string_view::npos)
      << refused.status();
  EXPECT_EQ(refused.status().message().find("another socket"), absl::string_view::npos)
      << refused.status();
  EXPECT_TRUE(Exists());
}

TEST_F(UnixFile, HasTheModeThatTheOptionSays) {
  for (const int mode : {0600, 0660, 0777}) {
    Options options;
    options.unix_file_mode = mode;
    auto socket = OpenListening(LinuxOs(), *Address::Parse("unix:" + path_), options);
    ASSERT_TRUE(socket.ok()) << socket.status();
    struct stat file;
    ASSERT_EQ(::lstat(path_.c_str(), &file), 0);
    EXPECT_EQ(file.st_mode & 07777u, static_cast<mode_t>(mode));
    EndListening(LinuxOs(), *socket);
  }
  Options wrong;
  wrong.unix_file_mode = 01777;
  EXPECT_NE(wrong.Complete(LinuxOs()).message().find("unix_file_mode = 01777"),
            absl::string_view::npos);
}

TEST_F(UnixFile, AFailedBindIsAnErrorInWords) {
  const auto refused = OpenListening(LinuxOs(), *Address::Parse("unix:/proc/s"), Options());
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("cannot listen on unix:/proc/s: bind"),
            absl::string_view::npos)
      << refused.status();
}

TEST(Listening, AMappedAddressIsRefusedWithAdvice) {
  const auto refused =
      OpenListening(LinuxOs(), *Address::Parse("[::ffff:127.0.0.1]:7001"), Options());
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("write 127.0.0.1:7001"), absl::string_view::npos)
      << refused.status();
}

// Otherwise the program would report that it listens, and no acceptor would serve there.
TEST_F(UnixFile, AcceptorWithoutASlotIsACleanError) {
  Options options = AcceptorRig::Small(3, AtLimit::kRefuse);
  options.actors_max = 1;
  Runtime runtime(options);
  const Ref<Acceptor> first = runtime.Listen<Greeter>(AcceptorRig::NewAddress());
  EXPECT_TRUE(first && runtime.status().ok()) << runtime.status();
  const Ref<Acceptor> second = runtime.Listen<Greeter>("unix:" + path_);
  EXPECT_FALSE(second);
  EXPECT_TRUE(absl::IsResourceExhausted(runtime.status())) << runtime.status();
  for (const char* word : {"unix:", "actors_max"}) {
    EXPECT_NE(runtime.status().message().find(word), absl::string_view::npos) << runtime.status();
  }
  EXPECT_FALSE(Exists());
  EXPECT_EQ(runtime.Listening().size(), 1u);
}

TEST_F(UnixFile, IsRemovedWithItsAcceptor) {
  {
    AcceptorRig rig(AcceptorRig::Small(3, AtLimit::kRefuse), "unix:" + path_);
    EXPECT_TRUE(Exists());
  }
  EXPECT_FALSE(Exists());
}

TEST(Listening, AnAddressInUseIsOneCleanError) {
  AcceptorRig rig(AcceptorRig::Small(3, AtLimit::kRefuse));
  Runtime other(AcceptorRig::Small(3, AtLimit::kRefuse));
  other.Listen<Greeter>("127.0.0.1:0," + rig.Where(0));
  EXPECT_FALSE(other.status().ok());
  EXPECT_NE(other.status().message().find(rig.Where(0)), absl::string_view::npos) << other.status();
}

// --- Outgoing connections.

class Caller : public Session {
 public:
  explicit Caller(std::string* heard) : heard_(*heard) {}
  void OnOpen() override { heard_ += "open "; }
  void OnData(Input& in) override { heard_ += in.TakeAll(); }
  void OnClose(CloseReason reason) override { heard_ += CloseReasonName(reason); }

 private:
  std::string& heard_;
};

TEST(Connecting, AnImmediateRefusalIsReported) {
  std::string path = "/tmp/sluice-nobody-serves-this";
  for (const std::string& address :
       {std::string("127.0.0.1:1"), "unix:" + path, std::string("[::1]:1")}) {
    std::string heard;
    AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse));
    Worker& worker = rig.runtime.worker(0);
    worker.Enter();
    Slot* slot = worker.life().AllocateSlot();
    worker.life().Open(slot, 16);
    ConnectOn(
        worker, *Address::Parse(address), absl::Seconds(5),
        [&](Worker& w, Slot* s) { internal::Construct<Caller>(w, s, &heard); }, slot);
    worker.Leave();
    EXPECT_TRUE(Eventually([&] {
      rig.Settle();
      return heard != "";
    }));
    EXPECT_EQ(heard, "connect failed") << address;
  }
}

TEST(Connecting, AConnectReachesAnAcceptor) {
  std::string heard;
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse));
  Worker& worker = rig.runtime.worker(0);
  worker.Enter();
  Slot* slot = worker.life().AllocateSlot();
  worker.life().Open(slot, 16);
  ConnectOn(
      worker, *Address::Parse(rig.Where(0)), absl::Seconds(5),
      [&](Worker& w, Slot* s) { internal::Construct<Caller>(w, s, &heard); }, slot);
  worker.Leave();
  rig.Settle();
  EXPECT_EQ(heard, "open hi");
}

// Binds the socket to the port that it connects to, as the kernel may do by chance.
class SelfConnectOs : public FailingOs {
 public:
  int Connect(int fd, const sockaddr* address, socklen_t size) override {
    EXPECT_EQ(::bind(fd, address, size), 0);
    return FailingOs::Connect(fd, address, size);
  }
};

// A port of this machine on which no server listens.
std::string DeadPort(const std::string& host) {
  const Address any = *Address::Parse(host + ":0");
  const int fd = ::socket(any.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(::bind(fd, any.sockaddr(), any.size()), 0);
  sockaddr_storage storage;
  socklen_t size = sizeof(storage);
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size), 0);
  ::close(fd);
  return Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&storage), size)->ToString();
}

TEST(Connecting, ASocketThatIsConnectedToItselfWasRefused) {
  for (const std::string host : {"127.0.0.1", "[::1]"}) {
    SelfConnectOs os;
    Runtime runtime(AcceptorRig::Small(8, AtLimit::kRefuse), os);
    Worker& worker = runtime.worker(0);
    const std::string address = DeadPort(host);
    std::string heard;
    worker.Enter();
    Slot* slot = worker.life().AllocateSlot();
    worker.life().Open(slot, 16);
    ConnectOn(
        worker, *Address::Parse(address), absl::Seconds(5),
        [&](Worker& w, Slot* s) { internal::Construct<Caller>(w, s, &heard); }, slot);
    for (int i = 0; i < 5; ++i) worker.Turn(worker.NowMs());
    worker.Leave();
    EXPECT_EQ(heard, "connect failed") << address;
    // Afterwards the port is free for the real server.
    AcceptorRig server(AcceptorRig::Small(8, AtLimit::kRefuse), address);
    os.clock_runs = true;
    runtime.Drain(absl::ZeroDuration());
  }
}

TEST(Connecting, TimeoutOfZeroOrLessIsAnError) {
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse));
  std::string heard;
  for (const absl::Duration timeout : {absl::ZeroDuration(), absl::Seconds(-1)}) {
    const auto refused = Connect<Caller>(rig.runtime, rig.Where(0), timeout, &heard);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(Connecting, AMappedAddressIsRefusedWithAdvice) {
  AcceptorRig rig(AcceptorRig::Small(8, AtLimit::kRefuse));
  std::string heard;
  const auto refused =
      Connect<Caller>(rig.runtime, "[::ffff:127.0.0.1]:7001", absl::Seconds(1), &heard);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("write 127.0.0.1:7001"), absl::string_view::npos)
      << refused.status();
}

// --- Which addresses lead back to a listener of the same process.

TEST(Listening, KnowsTheAddressesThatLeadBackToIt) {
  const auto leads = [](std::string_view listening, std::string_view target) {
    return LeadsTo(LinuxOs(), *Address::Parse(listening), *Address::Parse(target));
  };
  EXPECT_TRUE(leads("127.0.0.1:7003", "127.0.0.1:7003"));
  EXPECT_TRUE(leads("127.0.0.1:7003", "localhost:7003"));
  EXPECT_TRUE(leads("127.0.0.1:7003", "0.0.0.0:7003"));
  EXPECT_TRUE(leads("0.0.0.0:7003", "127.0.0.1:7003"));
  EXPECT_TRUE(leads("0.0.0.0:7003", "127.1.2.3:7003"));
  EXPECT_TRUE(leads("[::]:7003", "[::1]:7003"));
  // A name lookup may return mapped addresses.
  EXPECT_TRUE(leads("127.0.0.1:7003", "[::ffff:127.0.0.1]:7003"));
  EXPECT_TRUE(leads("0.0.0.0:7003", "[::ffff:127.1.2.3]:7003"));
  EXPECT_FALSE(leads("[::]:7003", "[::ffff:127.0.0.1]:7003"));
  EXPECT_TRUE(leads("unix:@relay", "unix:@relay"));
  EXPECT_TRUE(leads("unix:/tmp/relay", "unix:/tmp/relay"));
  EXPECT_FALSE(leads("127.0.0.1:7003", "127.0.0.1:7004"));
  EXPECT_FALSE(leads("127.0.0.1:7003", "127.0.0.2:7003"));
  // TEST-NET: no machine has this address.
  EXPECT_FALSE(leads("127.0.0.1:7003", "192.0.2.1:7003"));
  EXPECT_FALSE(leads("0.0.0.0:7003", "192.0.2.1:7003"));
  EXPECT_FALSE(leads("0.0.0.0:7003", "[::1]:7003"));
  EXPECT_FALSE(leads("unix:/tmp/relay", "unix:@relay"));
}

// --- Keepalive.

// Expects that each socket option can be set.
class OptionsOs : public ForwardingOs {
 public:
  int OptionSet(int fd, int level, int name, const void* value, socklen_t size) override {
    const int result = ForwardingOs::OptionSet(fd, level, name, value, size);
    EXPECT_EQ(result, 0) << level << " " << name;
    return result;
  }
};
int OptionOf(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof(value);
  EXPECT_EQ(::getsockopt(fd, level, name, &value, &size), 0);
  return value;
}

TEST(Sockets, KeepaliveFollowsTheOptionsAndInfIsOff) {
  OptionsOs os;
  const auto open = [&](const Options& options) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SetTcpOptions(os, fd, options);
    return fd;
  };
  Options options;
  options.keepalive_idle = absl::Milliseconds(1'500);
  options.keepalive_interval = absl::Seconds(32'767);
  options.keepalive_probes = 127;
  ASSERT_TRUE(options.Complete(LinuxOs()).ok());
  int fd = open(options);
  EXPECT_EQ(OptionOf(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(OptionOf(fd, IPPROTO_TCP, TCP_KEEPIDLE), 2);  // Rounded up, as no probe is sent early.
  EXPECT_EQ(OptionOf(fd, IPPROTO_TCP, TCP_KEEPINTVL), 32'767);
  EXPECT_EQ(OptionOf(fd, IPPROTO_TCP, TCP_KEEPCNT), 127);
  ::close(fd);
  options.keepalive_idle = absl::InfiniteDuration();
  ASSERT_TRUE(options.Complete(LinuxOs()).ok());
  fd = open(options);
  EXPECT_EQ(OptionOf(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
  ::close(fd);
}

}  // namespace
}  // namespace sluice::testing::listening_test
