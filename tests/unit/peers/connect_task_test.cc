// Tasks that connect, and that wait for the end of what they have connected.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/actors/connection/session.h"
#include "sluice/actors/connection/task_session.h"
#include "sluice/actors/peers/acceptor.h"
#include "sluice/actors/peers/connector.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/os/target.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::connect_task_test {
namespace {

constexpr absl::Duration kLong = absl::Seconds(30);
constexpr const char* kNobody = "127.0.0.1:1";

struct Seen {
  std::vector<std::string> lines;
  std::atomic<bool> ended{false};
  std::atomic<int> links{0};  // Living sessions of class Link.
  void Add(std::string line) { lines.push_back(std::move(line)); }
  std::string Text() const { return absl::StrJoin(lines, "; "); }
};

class Echo : public TaskSession {
  Task<> Serve() override {
    while (const auto line = co_await Line()) co_await Write(std::string(*line) + "!\n");
  }
};

struct Say {
  using Reply = std::string;
  std::string text;
};
struct Throw {};

class Link : public TaskSession {
 public:
  explicit Link(Seen* seen, bool throws = false) : seen_(*seen) {
    if (throws) throw std::runtime_error("no link");
    ++seen_.links;
  }
  ~Link() override { --seen_.links; }
  Task<> Serve() override {
    seen_.Add("open");
    while (const auto bytes = co_await Read()) seen_.Add(std::string(*bytes));
  }
  Task<std::string> On(Say say) {
    const std::string text = std::move(say.text);
    co_await Write(text);
    CloseWrite();
    co_return "said";
  }
  void On(Throw) { throw std::runtime_error("as told"); }

 private:
  Seen& seen_;
};

class Caller : public Actor {
 public:
  explicit Caller(Seen* seen) : seen_(*seen) {}
  ~Caller() override { seen_.ended = true; }
  void OnStart() override { StartTask(Whole()); }
  void OnDown(const Down&) override { seen_.Add("OnDown"); }

 protected:
  virtual Task<> Work() = 0;
  Seen& seen_;

 private:
  Task<> Whole() {
    co_await Work();
    Stop();
  }
};

class ConnectTask : public ::testing::Test {
 protected:
  template <class A, class... Args>
  void Run(Args... args) {
    runtime_.Listen<Echo>("127.0.0.1:0");
    ASSERT_TRUE(runtime_.Start().ok());
    ASSERT_TRUE(runtime_.Spawn<A>(&seen_, args...));
    ASSERT_TRUE(Eventually([&] { return seen_.ended.load(); }));
    ASSERT_TRUE(Eventually([&] { return seen_.links.load() == 0; }));
    runtime_.Drain(kLong);
    const Ledger ledger = runtime_.TotalLedger();
    EXPECT_TRUE(ledger.Balanced()) << ledger.ToString();
  }

  Seen seen_;
  Runtime runtime_{SmallOptions(2)};
};

class Talks : public Caller {
  using Caller::Caller;
  Task<> Work() override {
    const absl::StatusOr<Ref<Link>> link =
        co_await Connect<Link>(this, runtime().Listening().front(), kLong, &seen_);
    if (!link.ok()) co_return seen_.Add(link.status().ToString());
    seen_.Add("connected");
    if (link->slot()->worker != &worker()) seen_.Add("elsewhere");
    auto said = Ask(*link, Say{"hello\n"}, kLong);
    seen_.Add((co_await said).value_or("not said"));
    const Down down = co_await EndOf(*link);
    seen_.Add(down.text);
  }
};
TEST_F(ConnectTask, GoesOnWhenTheSessionIsOpenAndHearsItsEnd) {
  Run<Talks>();
  EXPECT_EQ(seen_.Text(), "open; connected; said; hello!\n; closed");
}

class Refused : public Caller {
  using Caller::Caller;
  Task<> Work() override {
    for (const std::string& target : {std::string(kNobody), std::string("127.0.0.1"),
                                      std::string("unix:/nobody/serves/this")}) {
      const auto link = co_await Connect<Link>(this, target, kLong, &seen_);
      seen_.Add(std::string(link.status().ToString()));
    }
    const absl::StatusOr<Target> target = Target::Parse(kNobody);
    seen_.Add(std::string(
        (co_await Connect<Link>(this, *target, absl::ZeroDuration(), &seen_)).status().ToString()));
  }
};
TEST_F(ConnectTask, AFailureNamesTheAddressAndTheReason) {
  Run<Refused>();
  ASSERT_EQ(seen_.lines.size(), 4u) << seen_.Text();
  EXPECT_TRUE(seen_.lines[0].starts_with("UNAVAILABLE: ")) << seen_.lines[0];
  EXPECT_TRUE(seen_.lines[0].ends_with("connect to 127.0.0.1:1: Connection refused"))
      << seen_.lines[0];
  EXPECT_TRUE(seen_.lines[1].starts_with("INVALID_ARGUMENT: ")) << seen_.lines[1];
  EXPECT_TRUE(seen_.lines[2].ends_with("No such file or directory")) << seen_.lines[2];
  EXPECT_EQ(seen_.lines[3],
            "INVALID_ARGUMENT: the connect timeout must be longer than 0 (or inf for no limit)");
}

class Broken : public Caller {
  using Caller::Caller;
  Task<> Work() override {
    const auto link =
        co_await Connect<Link>(this, runtime().Listening().front(), kLong, &seen_, true);
    seen_.Add(std::string(link.status().ToString()));
  }
};
TEST_F(ConnectTask, ASessionThatThrowsIsTold) {
  Run<Broken>();
  EXPECT_TRUE(seen_.Text().ends_with("failed: no link")) << seen_.Text();
}

// Its OnStart closes it, so it is never open.
class ClosedEarly : public Session {
 public:
  explicit ClosedEarly(Seen* seen) : seen_(*seen) {}
  void OnStart() override { Close(); }
  void OnOpen() override { seen_.Add("open"); }
  void OnData(Input&) override {}

 private:
  Seen& seen_;
};
class Early : public Caller {
  using Caller::Caller;
  Task<> Work() override {
    const auto link =
        co_await Connect<ClosedEarly>(this, runtime().Listening().front(), kLong, &seen_);
    seen_.Add(link.ok() ? "connected" : absl::StatusCodeToString(link.status().code()));
  }
};
TEST_F(ConnectTask, ASessionThatClosesFirstIsNotConnected) {
  Run<Early>();
  EXPECT_EQ(seen_.Text(), "ABORTED");
}

// Takes no message from its OnOpen on.
class Holds : public Session {
 public:
  void OnOpen() override { hold_ = HoldMail(); }
  void OnData(Input&) override {}

 private:
  MailHold hold_;
};
// Ends as soon as it is open.
class Brief : public TaskSession {
  Task<> Serve() override { co_return; }
};
class ConnectsBoth : public Caller {
  using Caller::Caller;
  Task<> Work() override {
    const std::string address = runtime().Listening().front();
    const auto held = co_await Connect<Holds>(this, address, kLong);
    const auto brief = co_await Connect<Brief>(this, address, kLong);
    seen_.Add(absl::StrCat(held.ok(), brief.ok()));
  }
};
TEST_F(ConnectTask, AnOpenConnectionCountsWhateverItsSessionDoes) {
  Run<ConnectsBoth>();
  EXPECT_EQ(seen_.Text(), "11");
}

class Monitors : public Caller {
  using Caller::Caller;
  Task<> Work() override {
    const auto link = co_await Connect<Link>(this, runtime().Listening().front(), kLong, &seen_);
    // A wait that is cancelled leaves its monitor nowhere.
    const auto first = co_await FirstOf(EndOf(*link), Sleep(absl::Milliseconds(1)));
    seen_.Add(absl::StrCat(first.index()));
    if (Send(*link, Throw{}) != Answer::kAccepted) seen_.Add("not sent");
    const Down down = co_await EndOf(*link);
    seen_.Add(absl::StrCat(EndReasonName(down.reason).data(), ": ", down.text));
    seen_.Add(std::string(EndReasonName((co_await EndOf(Ref<Link>())).reason)));
  }
};
TEST_F(ConnectTask, AnEndIsAnsweredOnceAndNotToOnDown) {
  Run<Monitors>();
  EXPECT_EQ(seen_.Text(), "open; 1; failed: as told; not found");
}

// A UNIX listener that accepts nothing, and whose backlog is full.
class FullListener {
 public:
  FullListener() : name_(absl::StrCat("@sluice-connect-task-", ::getpid())) {
    fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    name_.copy(address.sun_path, name_.size());
    address.sun_path[0] = 0;  // An abstract name.
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size());
    const auto* const at = reinterpret_cast<const sockaddr*>(&address);
    EXPECT_EQ(::bind(fd_, at, size), 0);
    EXPECT_EQ(::listen(fd_, 0), 0);
    int connected = 0;
    while (connected == 0) {
      clients_.push_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
      connected = ::connect(clients_.back(), at, size);
    }
  }
  ~FullListener() {
    for (const int fd : clients_) ::close(fd);
    ::close(fd_);
  }
  FullListener(const FullListener&) = delete;
  FullListener& operator=(const FullListener&) = delete;
  std::string Address() const { return absl::StrCat("unix:", name_); }

 private:
  const std::string name_;
  int fd_;
  std::vector<int> clients_;
};

class Impatient : public Caller {
 public:
  Impatient(Seen* seen, std::string address) : Caller(seen), address_(std::move(address)) {}
  Task<> Work() override {
    const auto link = co_await Within(
        absl::Milliseconds(20), Connect<Link>(this, address_, absl::InfiniteDuration(), &seen_));
    seen_.Add(absl::StatusCodeToString(link.status().code()));
    const auto late = co_await Connect<Link>(this, address_, absl::Milliseconds(20), &seen_);
    seen_.Add(std::string(late.status().message()));
  }

 private:
  const std::string address_;
};
TEST_F(ConnectTask, ACancelledConnectEndsItsAttempt) {
  const FullListener full;
  Run<Impatient>(full.Address());  // No session of class Link is left.
  EXPECT_TRUE(seen_.Text().starts_with("DEADLINE_EXCEEDED; ")) << seen_.Text();
  EXPECT_TRUE(seen_.Text().ends_with("Connection timed out")) << seen_.Text();
}

class Connects : public Caller {
 public:
  Connects(Seen* seen, std::string address) : Caller(seen), address_(std::move(address)) {}
  Task<> Work() override {
    (void)co_await Connect<Link>(this, address_, absl::InfiniteDuration(), &seen_);
  }

 private:
  const std::string address_;
};

class Leaves : public Caller {
 public:
  Leaves(Seen* seen, std::string address) : Caller(seen), address_(std::move(address)) {}
  Task<> Work() override {
    StartTask(Connects());
    co_await Sleep(absl::Milliseconds(10));
  }

 private:
  Task<> Connects() {
    (void)co_await Connect<Link>(this, address_, absl::InfiniteDuration(), &seen_);
    seen_.Add("goes on");
  }
  const std::string address_;
};
TEST_F(ConnectTask, TheDumpSaysWhereAConnectGoes) {
  const FullListener full;
  ASSERT_TRUE(runtime_.Start().ok());
  const Ref<Connects> connects = runtime_.Spawn<Connects>(&seen_, full.Address());
  const std::string text = absl::StrCat("a connection to ", full.Address());
  EXPECT_TRUE(Eventually([&] { return runtime_.Dump().find(text) != std::string::npos; }))
      << runtime_.Dump();
  connects.Stop();
}

TEST_F(ConnectTask, TheEndOfItsActorEndsTheAttempt) {
  const FullListener full;
  Run<Leaves>(full.Address());
  EXPECT_EQ(seen_.Text(), "");
}

}  // namespace
}  // namespace sluice::testing::connect_task_test
