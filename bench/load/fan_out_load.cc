#include "sluice/bench/load/fan_out_load.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/bench/load/fan_out_wire.h"
#include "sluice/bench/load/latency.h"
#include "sluice/bench/load/socket.h"
#include "sluice/bench/load/target.h"

namespace sluice::bench {
namespace {

constexpr size_t kReadBytes = 64 * 1024;

class Audience {
 public:
  Audience(const std::string& address, int subscribers, int64_t burst, int64_t ahead,
           FanOutWire wire)
      : wire_(std::move(wire)), burst_(burst), ahead_(ahead), publisher_(address) {
    subscribers_.reserve(static_cast<size_t>(subscribers));
    for (int i = 0; i < subscribers; ++i) {
      subscribers_.push_back({Socket(address), "", 0});
      Add(subscribers_.back().socket, static_cast<uint64_t>(i), EPOLLIN);
    }
    for (Subscriber& subscriber : subscribers_) subscriber.socket.SendAll(wire_.subscribe);
    for (Subscriber& subscriber : subscribers_) AwaitSubscribed(subscriber);
    // The server's answers to what is published are read, and not looked at.
    Add(publisher_, kPublisher, EPOLLIN | EPOLLOUT | EPOLLET);
  }
  ~Audience() { close(epoll_); }
  Audience(const Audience&) = delete;
  Audience& operator=(const Audience&) = delete;

  Latency& latency() { return latency_; }
  int64_t verified_bytes() const { return verified_bytes_; }

  // Returns when everybody has so many more messages: `bursts` bursts.
  void Run(int64_t bursts) {
    constexpr int kEventsMax = 256;
    last_ += bursts;
    Publish();
    epoll_event events[kEventsMax];
    while (finished_ < last_) {
      const int count = epoll_wait(epoll_, events, kEventsMax, -1);
      for (int e = 0; e < count; ++e) {
        if (events[e].data.u64 != kPublisher) {
          Receive(subscribers_[events[e].data.u64]);
          continue;
        }
        char answers[kReadBytes];
        while ((events[e].events & EPOLLIN) != 0 && publisher_.Receive(answers, kReadBytes) > 0) {
        }
        Publish();
      }
    }
  }

 private:
  static constexpr uint64_t kPublisher = UINT64_MAX;
  struct Subscriber {
    Socket socket;
    std::string in;  // A message of which not all bytes are here.
    int64_t received = 0;
  };
  struct Burst {
    int64_t sent_ns;
    size_t finished_by = 0;  // So many subscribers have all of it.
  };

  void Add(const Socket& socket, uint64_t key, uint32_t events) {
    epoll_event event = {};
    event.events = events;
    event.data.u64 = key;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, socket.fd(), &event);
  }

  void AwaitSubscribed(Subscriber& subscriber) {
    constexpr int kPatienceMilliseconds = 60'000;
    std::string heard;
    while (!heard.ends_with(wire_.subscribed)) {
      if (!subscriber.socket.WaitReadable(kPatienceMilliseconds)) Die("no subscription");
      char buffer[4096];
      heard.append(buffer, subscriber.socket.Receive(buffer, sizeof buffer));
    }
  }

  void Publish() {
    for (;;) {
      if (out_.empty()) {
        if (started_ == last_ || started_ - finished_ >= ahead_) return;
        for (int64_t i = 0; i < burst_; ++i) {
          wire_.AppendPublish(static_cast<uint64_t>(started_ * burst_ + i), out_);
        }
        bursts_.push_back({NowNs()});
        ++started_;
      }
      const size_t sent = publisher_.Send(out_);
      if (sent == 0) return;
      out_.erase(0, sent);
    }
  }

  void Receive(Subscriber& subscriber) {
    char buffer[kReadBytes];
    const size_t count = subscriber.socket.Receive(buffer, sizeof buffer);
    std::string_view bytes(buffer, count);
    if (!subscriber.in.empty()) {
      subscriber.in.append(buffer, count);
      bytes = subscriber.in;
    }
    const size_t taken = Take(subscriber, bytes);
    subscriber.in = std::string(bytes.substr(taken));
  }

  size_t Take(Subscriber& subscriber, std::string_view bytes) {
    const size_t message_bytes = wire_.MessageBytes();
    size_t taken = 0;
    for (;;) {
      const std::string_view rest = bytes.substr(taken);
      if (!wire_.ping.empty() && rest.starts_with(wire_.ping)) {
        subscriber.socket.SendAll(wire_.pong);
        taken += wire_.ping.size();
        continue;
      }
      if (rest.size() < message_bytes) return taken;
      wire_.SetMessage(static_cast<uint64_t>(subscriber.received), expected_);
      if (std::memcmp(rest.data(), expected_.data(), message_bytes) != 0) {
        Die("a subscriber got another message than the next one");
      }
      taken += message_bytes;
      verified_bytes_ += static_cast<int64_t>(message_bytes);
      if (++subscriber.received % burst_ == 0) Finish(subscriber.received / burst_ - 1);
    }
  }

  void Finish(int64_t burst) {
    Burst& done = bursts_[static_cast<size_t>(burst - finished_)];
    if (++done.finished_by < subscribers_.size()) return;
    // Each subscriber has its messages in order, so the bursts finish in order, too.
    latency_.Add(NowNs() - done.sent_ns);
    bursts_.pop_front();
    ++finished_;
    Publish();
  }

  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  const FanOutWire wire_;
  const int64_t burst_;  // Messages.
  const int64_t ahead_;  // Bursts.
  Socket publisher_;
  std::vector<Subscriber> subscribers_;
  std::string out_;           // Rest of a burst that the kernel has not taken.
  std::string expected_;      // The frame that a subscriber gets next.
  std::deque<Burst> bursts_;  // Those on their way.
  int64_t started_ = 0, finished_ = 0, last_ = 0;
  Latency latency_;  // From the first byte of a burst to its last message at the last subscriber.
  int64_t verified_bytes_ = 0;
};

}  // namespace

void RunFanOutLoad(const Flags& flags, Result& result) {
  const Target target = TargetOf(flags);
  const auto subscribers = static_cast<int>(flags.Number("subscribers", 100));
  const int64_t burst = flags.Number("burst", 256);
  const int64_t operations = flags.Number("operations", 200'000);
  const int64_t bursts = std::max<int64_t>(1, operations / subscribers / burst);
  NeedDescriptors(subscribers + 100);
  Audience audience(target.address, subscribers, burst, flags.Number("ahead", 4),
                    FanOutWire::Named(flags.Text("wire", "plain")));
  audience.Run(bursts / 10 + 1);
  audience.latency().Clear();
  result.Measure(target.server, bursts * burst * subscribers, [&] { audience.Run(bursts); });
  result.Add("latency_ns", audience.latency());
  result.Add("verified_bytes", audience.verified_bytes());
}

}  // namespace sluice::bench
