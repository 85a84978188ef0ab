// Client is one connection of the broker, and speaks its protocol; Directory knows the topics.
//
// Owner:  the runtime.
// Thread: each object its own worker's.
// Bound:  topics_max; subscriptions_max for each connection; lines of message_bytes_max plus
//         kCommandBytesMax bytes.
// Errors: a refused command is answered ERR and the reason, and the connection goes on.
#ifndef BROKER_CLIENT_H_
#define BROKER_CLIENT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "sluice/protocols/line_session.h"
#include "sluice/sluice.h"
#include "topic.h"

namespace broker {

using sluice::Answer;
using sluice::Ref;

inline constexpr size_t kNameBytesMax = 64;
inline constexpr uint32_t kCommandBytesMax = 256;  // Longest line without its message.

inline bool GoodName(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.' || c == '/';
         });
}

struct TopicRefs {
  Ref<Topic> topic;
  Ref<sluice::Hub> hub;
};
struct Open {
  using Reply = TopicRefs;
  std::string name;
};
struct CountTopics {
  using Reply = size_t;
};

// Knows all topics. A topic is created when first named, on the workers in turn, and never ends.
class Directory : public sluice::Actor {
 public:
  explicit Directory(const Limits& limits) : limits_(limits) {}

  absl::StatusOr<TopicRefs> On(Open open) {
    const auto found = topics_.find(open.name);
    if (found != topics_.end()) return found->second;
    if (topics_.size() >= limits_.topics_max) {
      return absl::ResourceExhaustedError(
          absl::StrCat("there are ", limits_.topics_max, " topics already"));
    }
    sluice::SpawnOptions place;
    place.worker = static_cast<int>(topics_.size()) % runtime().WorkerCount();
    TopicRefs made;
    made.hub = SpawnWith<sluice::Hub>(place, sluice::HubOptions{[name = open.name](int64_t missed) {
                                        return absl::StrCat("MISSED ", name, " ", missed, "\n");
                                      }});
    made.topic = SpawnWith<Topic>(place, open.name, made.hub, limits_);
    if (!made.hub || !made.topic) {
      made.hub.Stop();
      return absl::ResourceExhaustedError("the broker has no place for another topic");
    }
    return topics_.emplace(std::move(open.name), made).first->second;
  }
  size_t On(CountTopics) const { return topics_.size(); }

 private:
  const Limits limits_;
  std::map<std::string, TopicRefs> topics_;
};

class Client : public sluice::LineSession {
 public:
  Client(Ref<Directory> directory, const Limits& limits)
      : LineSession(limits.message_bytes_max + kCommandBytesMax),
        directory_(directory),
        limits_(limits) {}

  void OnLine(std::string_view line) override {
    const std::string_view command = Word(line);
    if (command == "QUIT") return Leave();
    if (command == "HELP") {
      return Say(
          "PUB TOPIC TEXT, SUB TOPIC [POLICY], UNSUB TOPIC, HOLD TOPIC NAME [POLICY], "
          "ACK TOPIC NUMBER, DROP TOPIC, STATS [TOPIC], QUIT; POLICY: park, drop_oldest, "
          "drop_newest, disconnect");
    }
    const std::string topic(Word(line));
    if (command == "STATS" && topic.empty()) return CountAll();
    static constexpr std::string_view kCommands[] = {"PUB", "SUB",  "UNSUB", "HOLD",
                                                     "ACK", "DROP", "STATS"};
    if (std::find(std::begin(kCommands), std::end(kCommands), command) == std::end(kCommands)) {
      return Refuse("unknown command; HELP lists the commands");
    }
    if (!GoodName(topic)) return RefuseName("topic");
    if (command == "PUB") return Publish(topic, line);
    if (command == "SUB") return Subscribe(topic, Word(line));
    if (command == "UNSUB") return Unsubscribe(topic);
    if (command == "DROP") return Drop(topic);
    if (command == "STATS") {
      return WithTopic(topic, [this, topic](const TopicRefs& refs) {
        AskTopic(refs, Count{}, [this, topic](const Counts& counts) {
          Say("STATS ", topic, " ", counts.ToString());
        });
      });
    }
    const std::string_view third = Word(line);
    if (command == "HOLD") return Hold(topic, std::string(third), Word(line));
    Acknowledge(topic, third);
  }
  void OnLongLine() override { Refuse("line too long"); }
  void OnLastLine() override { Leave(); }
  void OnDrain() override {
    FlushSubscriptions();
    SayBye();
  }
  void OnWritable() override {
    for (auto& [topic, held] : held_) {
      if (std::exchange(held.waits, false)) FetchNext(topic);
    }
  }

  // Comes behind the last message of that topic.
  void On(sluice::Unsubscribed) {
    if (quits_) {
      if (--leaving_ == 0) SayBye();
      return;
    }
    Say("OK UNSUB ", std::exchange(unsubscribing_, ""));
    pause_.Release();
  }
  void On(sluice::Subscribed subscribed) {
    if (subscribed.Joined()) {
      heard_.emplace(std::exchange(joining_, ""), subscribed);  // The greeting was the answer.
    } else {
      Refuse("the broker is out of memory");
    }
    pause_.Release();
  }

 private:
  struct Held {
    TopicRefs refs;
    bool waits = false;  // Asks for the next message when output is low again.
  };

  static std::string_view Word(std::string_view& line) {
    const size_t end = std::min(line.find(' '), line.size());
    const std::string_view word = line.substr(0, end);
    line.remove_prefix(std::min(end + 1, line.size()));
    return word;
  }
  template <class... Parts>
  void Say(const Parts&... parts) {
    const Answer answer = Write(absl::StrCat(parts..., "\n"));
    // No answer may be missing.
    if (answer == Answer::kFull || answer == Answer::kOverloaded) Abort();
  }
  void Refuse(const std::string& why) { Say("ERR ", why); }
  void RefuseName(const std::string& what) {
    Refuse(absl::StrCat("a ", what, " has 1 to ", kNameBytesMax,
                        " letters, digits, '_', '-', '.' or '/'"));
  }
  // The client first receives all messages published before its last line, then BYE.
  void Leave() {
    if (quits_) return;
    quits_ = true;
    pause_ = HoldReading();
    leaving_ = heard_.size();
    for (const auto& [topic, subscribed] : std::exchange(heard_, {})) {
      sluice::Unsubscribe(*this, subscribed);
    }
    if (leaving_ == 0) SayBye();
  }
  void SayBye() {
    Say("BYE");
    Close();
  }

  // The next line is read after the answer came, so all answers come in the order of the lines.
  template <class A, class Q, class F>
  void AskOr(const Ref<A>& target, Q question, F then) {
    AskInOrder(target, std::move(question), absl::InfiniteDuration(),
               [this, then](absl::StatusOr<typename Q::Reply> reply) {
                 if (reply.ok()) return then(*std::move(reply));
                 Refuse(std::string(reply.status().message()));
               });
  }
  template <class F>
  void WithTopic(const std::string& topic, F then) {
    AskOr(directory_, Open{topic}, then);
  }
  template <class Q, class F>
  void AskTopic(const TopicRefs& refs, Q question, F then) {
    AskOr(refs.topic, std::move(question), then);
  }
  bool MaySubscribe() {
    if (heard_.size() + held_.size() < limits_.subscriptions_max) return true;
    Refuse("this connection has no place for another subscription");
    return false;
  }
  std::optional<sluice::SlowPolicy> Policy(std::string_view name) {
    if (name.empty()) return sluice::SlowPolicy::kDropOldest;
    const std::optional<sluice::SlowPolicy> policy = sluice::ParseSlowPolicy(name);
    // Conflating needs keys, and messages of this protocol have none.
    if (policy && *policy != sluice::SlowPolicy::kConflate) return policy;
    Refuse("a policy is park, drop_oldest, drop_newest or disconnect");
    return std::nullopt;
  }

  void Publish(const std::string& topic, std::string_view text) {
    if (text.size() > limits_.message_bytes_max) {
      return Refuse(absl::StrCat("a message has at most ", limits_.message_bytes_max, " bytes"));
    }
    std::optional<sluice::Bytes> bytes = sluice::Bytes::Copy(text, runtime().budget());
    if (!bytes) return Refuse("the broker is out of memory");
    WithTopic(topic, [this, topic, bytes = *bytes](const TopicRefs& refs) {
      AskTopic(refs, Put{bytes},
               [this, topic](uint64_t number) { Say("OK PUB ", topic, " ", number); });
    });
  }

  // --- SUB: messages from now on, at most once each.

  void Subscribe(const std::string& topic, std::string_view policy_name) {
    const std::optional<sluice::SlowPolicy> policy = Policy(policy_name);
    if (!policy || !MaySubscribe()) return;
    if (heard_.contains(topic))
      return Refuse("this connection has subscribed to this topic already");
    WithTopic(topic, [this, topic, policy](const TopicRefs& refs) {
      joining_ = topic;
      pause_ = HoldReading();  // Until On(Subscribed).
      const sluice::SubscribeOptions options{*policy, limits_.queue, limits_.park_timeout};
      if (Send(refs.hub, sluice::Subscribe(this, options, absl::StrCat("OK SUB ", topic, "\n"))) !=
          Answer::kAccepted) {
        On(sluice::Subscribed{});
      }
    });
  }
  void Unsubscribe(const std::string& topic) {
    const auto found = heard_.find(topic);
    if (found == heard_.end()) return Refuse("this connection has not subscribed to this topic");
    pause_ = HoldReading();  // Until On(Unsubscribed).
    unsubscribing_ = topic;
    sluice::Unsubscribe(*this, found->second);
    heard_.erase(found);
  }

  // --- HOLD: messages under a name, at least once each.

  void Hold(const std::string& topic, const std::string& name, std::string_view policy_name) {
    if (!GoodName(name)) return RefuseName("name");
    const std::optional<sluice::SlowPolicy> policy = Policy(policy_name);
    if (!policy || !MaySubscribe()) return;
    WithTopic(topic, [this, topic, name, policy](const TopicRefs& refs) {
      AskTopic(refs, broker::Hold{RefOf(this), name, *policy}, [=, this](uint64_t) {
        held_.emplace(topic, Held{refs});
        Say("OK HOLD ", topic, " ", name);
        FetchNext(topic);
      });
    });
  }
  void FetchNext(const std::string& topic) {
    const auto give_up = [this, topic](std::string_view why) {
      if (held_.erase(topic) > 0) Say("ENDED ", topic, " ", sluice::ToAbsl(why));
    };
    const Answer answer =
        Ask(held_.at(topic).refs.topic, Next{RefOf(this)}, absl::InfiniteDuration(),
            [this, topic, give_up](absl::StatusOr<Delivery> delivery) {
              if (!delivery.ok()) return give_up(sluice::ToStd(delivery.status().message()));
              if (held_.contains(topic)) Deliver(topic, *delivery);
            });
    if (answer != Answer::kAccepted) give_up("the broker is busy");
  }
  void Deliver(const std::string& topic, const Delivery& delivery) {
    if (delivery.missed > 0) Say("MISSED ", topic, " ", delivery.missed);
    const Answer answer =
        delivery.again
            ? Write(absl::StrCat("AGAIN", sluice::ToAbsl(delivery.line.view().substr(3))))
            : Write(delivery.line);
    // The message is not acknowledged, so it comes again.
    if (answer != Answer::kAccepted) return Close();
    if (OutputBytes() <= static_cast<size_t>(runtime().options().output_bytes_low)) {
      return FetchNext(topic);
    }
    held_.at(topic).waits = true;
    WantWritable();
  }
  void Acknowledge(const std::string& topic, std::string_view number_text) {
    const auto found = held_.find(topic);
    if (found == held_.end()) return Refuse("this connection does not hold this topic");
    uint64_t number = 0;
    if (!absl::SimpleAtoi(sluice::ToAbsl(number_text), &number)) {
      return Refuse("ACK TOPIC NUMBER: NUMBER must be a number");
    }
    AskTopic(found->second.refs, broker::Acknowledge{RefOf(this), number}, [](uint64_t) {});
  }
  void Drop(const std::string& topic) {
    const auto found = held_.find(topic);
    if (found == held_.end()) return Refuse("this connection does not hold this topic");
    const TopicRefs refs = found->second.refs;
    held_.erase(found);
    AskTopic(refs, broker::Drop{RefOf(this)},
             [this, topic](uint64_t lost) { Say("OK DROP ", topic, " ", lost); });
  }

  void CountAll() {
    AskOr(directory_, CountTopics{}, [this](size_t topics) {
      const sluice::HubTotals heard = sluice::HubLedger::Of(runtime());
      Say("STATS topics=", topics, " published=", heard.published, " due=", heard.due,
          " received=", heard.received, " missed=", heard.missed, " queued=", heard.queued);
    });
  }

  const Ref<Directory> directory_;
  const Limits limits_;
  std::map<std::string, sluice::Subscribed> heard_;
  std::map<std::string, Held> held_;
  sluice::ReadHold pause_;  // Until a hub has answered.
  std::string joining_;
  std::string unsubscribing_;
  size_t leaving_ = 0;  // Topics still to leave before BYE.
  bool quits_ = false;
};

}  // namespace broker

#endif  // BROKER_CLIENT_H_
