// Topic is one topic of the broker: it numbers what is published, gives it to a hub for those who
// only listen, and keeps it for those who hold it under a name, until they have acknowledged it.
//
// Owner:  the directory of topics; it lives as long as the broker.
// Thread: its worker's.
// Bound:  subscriptions_max names; for each at most `queue` messages that wait and `window` that
// are
//         not acknowledged; `queue` publishers that wait.
// Errors: a question that is refused has a status with words for the user.
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
  uint32_t subscriptions_max = 0;  // Of one connection; names of one topic.
  uint32_t message_bytes_max = 0;
  uint32_t window = 0;  // Messages of a name that are sent and not acknowledged.
  uint32_t queue = 0;   // Messages of a subscription that wait.
  absl::Duration park_timeout;
};

// What became of the messages for names: due = acknowledged + unacknowledged + waiting + dropped +
// lost, always.
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
struct Put {  // The number of the message, once it is taken.
  using Reply = uint64_t;
  sluice::Bytes text;
  int64_t HeldBytes() const { return sluice::HeldBytes(text); }
};
struct Hold {  // The number after which a new name gets messages.
  using Reply = uint64_t;
  sluice::Ref<Client> client;
  std::string name;
  sluice::SlowPolicy slow;
  int64_t HeldBytes() const { return sluice::HeldBytes(name); }
};
struct Delivery {
  int64_t missed = 0;  // Dropped before it.
  bool again = false;  // It was sent before, and not acknowledged.
  sluice::Bytes line;  // Empty: only to say what was missed.
  int64_t HeldBytes() const { return sluice::HeldBytes(line); }
};
struct Next {  // The next message for what this client holds; answered when there is one.
  using Reply = Delivery;
  sluice::Ref<Client> client;
};
struct Acknowledge {  // How many more are not acknowledged.
  using Reply = uint64_t;
  sluice::Ref<Client> client;
  uint64_t number;
};
struct Drop {  // How many messages are lost by it.
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
  void OnDown(const sluice::Down& down) override;  // The client of a name has gone.
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
    sluice::Ref<Client> client;  // Who holds it now, if anybody.
    sluice::MonitorId monitor = 0;
    std::optional<sluice::Promise<Delivery>> next;  // Its open question.
    std::deque<Message> waiting;
    std::deque<Message> unacknowledged;
    int64_t missed = 0;  // Dropped behind the last that waits.
    TimerId timer = 0;   // While publishers wait for it.
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
  std::deque<std::pair<Put, sluice::Promise<uint64_t>>> puts_;  // Wait for a name that parks.
  uint64_t number_ = 0;
  Counts ended_;  // Of names that have ended.
};

}  // namespace broker

#endif  // BROKER_TOPIC_H_
