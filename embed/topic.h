// Topic is one topic of the broker. It numbers each message, publishes it to a hub for subscribers,
// and keeps it for each name until it is acknowledged.
//
// Owner:  the directory of topics; lives as long as the broker.
// Thread: its worker's.
// Bound:  subscriptions_max names; for each name at most `queue` waiting and `window`
//         unacknowledged messages; `queue` waiting publishers.
// Errors: a refused question gets a status with words for the user.
#ifndef BROKER_TOPIC_H_
#define BROKER_TOPIC_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/sluice.h"

namespace broker {

class Client;

struct Limits {
  uint32_t topics_max = 0;
  uint32_t subscriptions_max = 0;  // Subscriptions of one connection; names of one topic.
  uint32_t message_bytes_max = 0;
  uint32_t window = 0;  // Messages of a name that are sent and not acknowledged.
  uint32_t queue = 0;   // Waiting messages of a subscription.
  absl::Duration park_timeout;
};

// Fate of the messages for names. At any moment due = acknowledged + unacknowledged + waiting +
// dropped + lost.
struct Counts {
  int64_t published = 0;
  int64_t publishers_waiting = 0;
  int64_t names = 0;
  int64_t due = 0;
  int64_t acknowledged = 0;
  int64_t unacknowledged = 0;
  int64_t waiting = 0;
  int64_t dropped = 0;  // By a policy.
  int64_t lost = 0;     // With a name that ended.
  std::string ToString() const;
};

// Questions of clients.
struct Put {  // Reply: the number of the message, once it is taken.
  using Reply = uint64_t;
  sluice::Bytes text;
};
struct Hold {  // Reply: the number after which a new name gets messages.
  using Reply = uint64_t;
  sluice::Ref<Client> client;
  std::string name;
  sluice::SlowPolicy slow;
};
struct Delivery {
  int64_t missed = 0;  // Messages dropped before this one.
  bool again = false;  // The message was sent before, and not acknowledged.
  sluice::Bytes line;  // Empty: only `missed` is news.
};
struct Next {  // Reply: the next message for the name of this client, once there is one.
  using Reply = Delivery;
  sluice::Ref<Client> client;
};
struct Acknowledge {  // Reply: how many more are unacknowledged.
  using Reply = uint64_t;
  sluice::Ref<Client> client;
  uint64_t number;
};
struct Drop {  // Reply: how many messages are lost.
  using Reply = uint64_t;
  sluice::Ref<Client> client;
};
struct Count {
  using Reply = Counts;
};

class Topic : public sluice::Actor {
 public:
  Topic(std::string name, sluice::Ref<sluice::Hub> hub, const Limits& limits)
      : name_(std::move(name)), hub_(hub), limits_(limits) {}

  void On(Put put, sluice::Promise<uint64_t> taken);
  absl::StatusOr<uint64_t> On(Hold hold);
  void On(Next next, sluice::Promise<Delivery> delivery);
  absl::StatusOr<uint64_t> On(Acknowledge acknowledge);
  absl::StatusOr<uint64_t> On(Drop drop);
  Counts On(Count) const;
  void OnDown(const sluice::Down& down) override;  // The connection that holds a name has ended.
  void OnStop() override { sluice::LogInfo("topic %s: %s", name_, On(Count{}).ToString()); }

 private:
  struct Message {
    uint64_t number;
    sluice::Bytes line;
    int64_t missed_before = 0;
    bool again = false;
  };
  struct Name {
    sluice::SlowPolicy slow;
    sluice::Ref<Client> client;  // Holds the name now; empty if none does.
    sluice::MonitorId monitor = 0;
    std::optional<sluice::Promise<Delivery>> next;  // The client's open question.
    std::deque<Message> waiting;
    std::deque<Message> unacknowledged;
    int64_t missed = 0;  // Messages dropped behind the last waiting one.
    TimerId timer = 0;   // Runs while publishers wait for this name.
    int64_t due = 0;
    int64_t acknowledged = 0;
    int64_t dropped = 0;
  };
  using Names = std::map<std::string, Name>;

  bool Full(const Name& name) const { return name.waiting.size() >= limits_.queue; }
  Names::iterator HeldBy(sluice::Ref<Client> client);
  void TakePuts();
  void Take(const Put& put, sluice::Promise<uint64_t> taken);
  void Offer(Names::iterator at, Message message);
  void Pump(Name& name);
  void Detach(Name& name, std::string_view why);
  uint64_t End(Names::iterator at, std::string_view why);

  const std::string name_;
  const sluice::Ref<sluice::Hub> hub_;
  const Limits limits_;
  Names names_;
  // Wait for a full name with policy park.
  std::deque<std::pair<Put, sluice::Promise<uint64_t>>> puts_;
  uint64_t number_ = 0;
  Counts ended_;  // Sums of names that have ended.
};

}  // namespace broker

#endif  // BROKER_TOPIC_H_
