// Tests with a forked child, which holds every descriptor that its parent had, also open
// connections and listeners. The ends of connections and listeners must reach the peers even then.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "sluice/sluice.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::forked_child_test {
namespace {

// A child that only lives, and holds all that was open at the fork.
class Child {
 public:
  Child() : pid_(fork()) {
    if (pid_ != 0) return;
    while (true) pause();
  }
  ~Child() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

 private:
  const pid_t pid_;
};

// Each input is an order.
class Obeys : public Session {
 public:
  void OnOpen() override { WriteOrAbort("hi"); }
  void OnData(Input& in) override {
    const std::string order(in.TakeAll());
    if (order == "close") Close();
    if (order == "abort") Abort();
    if (order == "stop") Stop();
    if (order == "silent") return;
  }
};

// A blocking client with a time limit: a test that would hang fails instead.
class Caller {
 public:
  explicit Caller(const std::string& address) : address_(*Address::Parse(address)) {
    fd_ = socket(address_.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    connected = connect(fd_, address_.sockaddr(), address_.size()) == 0;
  }
  ~Caller() { close(fd_); }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;
  void Send(const std::string& text) {
    EXPECT_EQ(send(fd_, text.data(), text.size(), MSG_NOSIGNAL), std::ssize(text));
  }
  // Returns "hi", "end", "reset", or "nothing" after the timeout.
  std::string Heard(int timeout_ms = 20'000) {
    pollfd readable = {fd_, POLLIN, 0};
    if (poll(&readable, 1, timeout_ms) <= 0) return "nothing";
    char bytes[64];
    const ssize_t count = recv(fd_, bytes, sizeof(bytes), 0);
    if (count > 0) return std::string(bytes, static_cast<size_t>(count));
    return count == 0 ? "end" : errno == ECONNRESET ? "reset" : "error";
  }
  bool connected = false;

 private:
  const Address address_;
  int fd_ = -1;
};

class ForkedChild : public ::testing::TestWithParam<const char*> {
 protected:
  void Serve(Options options) {
    options.log_level = "off";
    runtime_ = std::make_unique<Runtime>(options);
    runtime_->Listen<Obeys>(std::string(GetParam()) +
                            (IsUnix() ? std::to_string(getpid()) : std::string()));
    ASSERT_TRUE(runtime_->Start().ok());
    address_ = runtime_->Listening()[0];
  }
  bool IsUnix() const { return GetParam()[0] == 'u'; }
  std::unique_ptr<Runtime> runtime_;
  std::string address_;
};

TEST_P(ForkedChild, CloseReachesThePeer) {
  Serve(SmallOptions(1));
  Caller caller(address_);
  ASSERT_EQ(caller.Heard(), "hi");
  const Child child;
  caller.Send("close");
  EXPECT_EQ(caller.Heard(), "end");
}

TEST_P(ForkedChild, AbortReachesThePeer) {
  Serve(SmallOptions(1));
  Caller caller(address_);
  ASSERT_EQ(caller.Heard(), "hi");
  const Child child;
  caller.Send("abort");
  EXPECT_EQ(caller.Heard(), IsUnix() ? "end" : "reset");  // A UNIX socket knows no reset.
}

TEST_P(ForkedChild, TheEndOfASilentConnectionReachesThePeer) {
  Options options = SmallOptions(1);
  options.idle_timeout = absl::Milliseconds(200);
  Serve(options);
  Caller caller(address_);
  ASSERT_EQ(caller.Heard(), "hi");
  const Child child;
  EXPECT_NE(caller.Heard(), "nothing");
}

TEST_P(ForkedChild, TheEndOfTheRuntimeReachesThePeer) {
  Serve(SmallOptions(1));
  Caller caller(address_);
  ASSERT_EQ(caller.Heard(), "hi");
  const Child child;
  runtime_->Drain(absl::ZeroDuration());
  EXPECT_NE(caller.Heard(), "nothing");
}

TEST_P(ForkedChild, ADrainedListenerAcceptsNoMore) {
  Serve(SmallOptions(1));
  {
    Caller caller(address_);
    ASSERT_EQ(caller.Heard(), "hi");
  }
  const Child child;
  runtime_->Drain(absl::Seconds(5));
  const Caller late(address_);
  EXPECT_FALSE(late.connected);
}

TEST_P(ForkedChild, HoldsNoAddressAgainstTheNextServer) {
  Serve(SmallOptions(1));
  const Child child;
  runtime_->Drain(absl::Seconds(5));
  if (IsUnix())
    return;  // An abstract name is free only when its last descriptor is closed: docs/limits.md.
  Runtime next(SmallOptions(1));
  next.Listen<Obeys>(address_);
  EXPECT_TRUE(next.status().ok()) << next.status();
}

INSTANTIATE_TEST_SUITE_P(Holds, ForkedChild,
                         ::testing::Values("127.0.0.1:0", "unix:@sluice-forked-child-"),
                         [](const auto& test) {
                           return test.param[0] == 'u' ? std::string("UnixSockets")
                                                       : std::string("Tcp");
                         });

}  // namespace
}  // namespace sluice::testing::forked_child_test
