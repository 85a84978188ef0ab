// A hub's part on one worker: the spoke, its subscribers, and the messages between hub and spoke.
// For hub.cc and its like; users read actors/hub/hub.h alone.
//
//   Hub ──Deliver──▶ Spoke ──▶ Subscriber ──▶ Connection
//        (a worker)    │         └ Backlog: messages that wait while the socket stands still
//                      └ batch: messages that are handed round, to some subscribers at a time
//
// Owner:  a spoke is a child of its hub, and owns its subscribers.
// Thread: the spoke's worker's; the connections that it writes to live there, too.
// Bound:  subscribers, their backlogs and the batch are charged to the budget. A batch has at most
//         kBatchMax messages; while memory is spent, one.
// Errors: a user's callback that throws ends its subscriber's connection, and nothing else.
#ifndef SLUICE_ACTORS_HUB_HUB_SPOKE_H_
#define SLUICE_ACTORS_HUB_HUB_SPOKE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/hash/hash.h"
#include "absl/time/time.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/actors/hub/subscription.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/base/intrusive_list.h"
#include "sluice/core/memory/buffer.h"
#include "sluice/core/slot/timer.h"
#include "sluice/core/slot/turn_task.h"

namespace sluice::internal {

struct AddSubscriber {
  SubscribeMessage subscriber;
  uint64_t sequence;
  int64_t HeldBytes() const { return subscriber.HeldBytes(); }
};
struct RemoveSubscriber {
  Leaving leaving;
  uint64_t sequence;
  int64_t HeldBytes() const { return 0; }
};
struct Deliver {
  Bytes payload;
  uint64_t sequence;
  Except except;
};
static_assert(Envelope::kInline<Deliver>);  // A message without a key needs no allocation.
struct DeliverKeyed {
  Deliver message;
  uint64_t key;
};

// Bytes that each holder of `payload` is charged; 0 if the payload's block has its own charge.
inline int64_t ChargeOf(const Bytes& payload) {
  return payload.SelfCharged() ? 0 : payload.AllocatedBytes();
}

// A message to hand round. Before it, `lost_before` messages were lost on their way here, as memory
// was spent.
struct Due {
  int64_t lost_before = 0;
  bool is_message = false;  // False: this reports lost messages only.
  uint64_t key = 0;
  Bytes payload = {};
  Except except = {};
};

struct SubscriberTag {};

// Subscriber is one session or actor that has subscribed: its queue, and the count of its messages.
// Where they go, the classes derived from it know. A callback to the user may end it: then it is
// off all lists at once, and is deleted when the last such call has returned.
class Subscriber : public ListNode<SubscriberTag> {
 public:
  Subscriber(const Subscriber&) = delete;
  Subscriber& operator=(const Subscriber&) = delete;

  // Bytes of the budget that a subscription takes, without its backlog.
  static int64_t BytesOf(const SubscribeOptions& options);
  // Bytes that its backlog takes besides, without the messages.
  static int64_t QueueBytesOf(const SubscribeOptions& options) {
    return QueueBytesOf(PlacesOf(options), options.slow);
  }

  // These may end the connection, and with it this.
  void Offer(const std::vector<Due>& batch);
  // The subscriber leaves after the batch. The queue is written as far as the connection takes it,
  // and the rest is reported as missed; once that report is written, the subscriber is removed.
  void Leave(const std::vector<Due>& batch, Leaving leaving, uint64_t sequence);
  void LetGo();  // The session will leave: no publisher waits for it any more.
  void Fail();   // The spoke has failed and cannot report misses: aborts the connection.
  void ParkTimedOut();

  bool Parks() const { return slow_ == SlowPolicy::kPark; }
  bool Full() const { return Queued() >= queue_max_; }
  size_t Queued() const { return backlog_ == nullptr ? 0 : backlog_->queue.size(); }
  size_t Room() const { return Full() ? 0 : queue_max_ - Queued(); }
  Slot* slot() const { return slot_; }
  uint32_t generation() const { return generation_; }
  bool CountsAsFull() const { return counts_as_full_; }

 protected:
  struct Entry {
    Bytes payload;
    uint64_t key;
    int64_t missed_before;  // Messages dropped just before this one, or replaced by it.
  };
  // Exists while something waits: most subscribers never have one.
  struct Backlog final : Timer {
    explicit Backlog(Subscriber& of) : subscriber(of) {}
    void OnTimer(Worker&) override { subscriber.ParkTimedOut(); }
    IoHandler* Awaits() override { return subscriber.Io(); }
    Subscriber& subscriber;
    std::deque<Entry> queue;
    uint64_t popped = 0;  // Messages that have left the queue: place - popped is an index.
    absl::flat_hash_map<uint64_t, uint64_t> places;  // kConflate: by key.
    int64_t charged_bytes = 0;                       // For the backlog itself, without payloads.
    int64_t payload_bytes = 0;                       // For all messages in the queue.
  };
  // Keeps the subscriber from being deleted in the middle of a call.
  class Use {
   public:
    explicit Use(Subscriber& subscriber) : subscriber_(subscriber) { ++subscriber_.uses_; }
    ~Use() {
      if (--subscriber_.uses_ == 0 && subscriber_.Gone()) delete &subscriber_;
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    Subscriber& subscriber_;
  };
  Subscriber(Spoke& spoke, SubscribeMessage& message);  // Takes the filter.
  virtual ~Subscriber();                                // Called by Use and Retire alone.

  // --- Where the messages go.

  // A message would not have to wait.
  virtual bool TakesNow() const = 0;
  virtual Answer Put(const Bytes& payload) = 0;
  virtual Answer PutNotice(std::string_view notice) = 0;
  virtual int64_t LongestBytes() const = 0;  // A longer message is never taken.
  // Ends what the messages go to, and so this.
  virtual void End(CloseReason reason) = 0;
  virtual void Detach() = 0;       // Called once, when the subscriber is gone.
  virtual void AwaitMemory() = 0;  // Memory is spent: there will be room for a miss to be told.
  virtual void MessagesWait() {}
  // Unsubscribe() is for it. (The subscription of an actor leaves by itself.)
  virtual bool LeavesByMessage() const { return false; }
  virtual IoHandler* Io() { return nullptr; }
  virtual std::string Name() const = 0;

  // A leave that is not confirmed yet, as the connection takes no output.
  struct Departure {
    Leaving leaving;
    uint64_t sequence;
  };

  bool Gone() const { return gone_; }
  // Drops what waits, and deletes this, now or after the last Use. Requires: off the spoke's lists.
  void Retire();
  void OfferOne(const Due& due);
  void Missed(int64_t count);
  Slot* FilterOwner() const;
  bool Guarded(const char* what, Slot* owner, absl::FunctionRef<void()> call);
  bool Replace(const Bytes& payload, uint64_t key);
  static uint32_t PlacesOf(const SubscribeOptions& options);
  static int64_t QueueBytesOf(int64_t places, SlowPolicy slow);
  bool MakeBacklog();
  void DropBacklog();
  void Push(const Bytes& payload, uint64_t key);
  Entry Pop();
  Lease& lease() const;
  void Pump(bool all);
  void CountQueueAsMissed();
  bool TellMissed(int64_t missed);
  bool Taken(Answer answer);
  void NoteFull();
  int64_t BytesHeld() const;
  Worker& worker() const;
  void Remove();  // From the spoke: Detach() follows.
  // The oldest message in the queue; it counts as received.
  Entry TakeFirst();

  Spoke& spoke_;
  Slot* const slot_;
  std::unique_ptr<Backlog> backlog_;
  std::unique_ptr<Departure> departure_;  // nullptr: not leaving.
  std::unique_ptr<const std::function<bool(std::string_view, uint64_t)>> filter_;  // nullptr: none.
  int64_t missed_tail_ = 0;  // Messages dropped after the last one in the queue.
  const absl::Duration park_timeout_;
  const uint32_t generation_;
  const uint32_t queue_max_;
  uint32_t uses_ = 0;
  SlowPolicy slow_;
  bool pumping_ = false;
  bool counts_as_full_ = false;
  bool gone_ = false;  // The subscriber has left, or nothing takes its messages any more.

 private:
  friend class Spoke;
};

// Messages go to a connection, as bytes.
class SubscribedConnection final : public Subscriber, public OutputListener {
 public:
  SubscribedConnection(Spoke& spoke, Connection& connection, SubscribeMessage& message);

  void OnOutputLow(Connection&) override { Pump(/*all=*/false); }
  void OnFlush(Connection&) override { Pump(/*all=*/true); }
  void OnOutputEnded(Connection&) override;
  int64_t HeldBytes() const override { return BytesHeld(); }
  bool Holds() const override { return Queued() > 0 || missed_tail_ > 0; }

 private:
  bool TakesNow() const override { return !connection_.OutputAboveLow(); }
  Answer Put(const Bytes& payload) override { return connection_.Write(payload); }
  Answer PutNotice(std::string_view notice) override { return connection_.Write(notice); }
  int64_t LongestBytes() const override;
  void End(CloseReason reason) override { connection_.Abort(reason); }
  void Detach() override { connection_.RemoveListener(this); }
  // Room in the output leads back here by itself; memory has no event, so the connection is asked
  // for one.
  void AwaitMemory() override { connection_.TellListenersWhenMemoryReturns(); }
  IoHandler* Io() override { return &connection_; }
  std::string Name() const override { return connection_.PeerAddress().ToString(); }
  bool LeavesByMessage() const override { return true; }

  Connection& connection_;
};

// Messages wait until a task of the actor takes them (actors/hub/subscription.h). What it misses,
// its next message says.
class SubscribedActor final : public Subscriber, public OutputListener {
 public:
  // `connection`: of the actor, if it is a session; otherwise nullptr.
  SubscribedActor(Spoke& spoke, Connection* connection, SubscribeMessage& message);
  bool HasMessage() const { return Queued() > 0; }
  Subscription::Message Take();
  void Leave() { Remove(); }

  void OnOutputLow(Connection&) override {}
  void OnFlush(Connection&) override {}
  void OnSessionDrains() override;
  void OnOutputEnded(Connection&) override { connection_ = nullptr; }

 private:
  bool TakesNow() const override { return false; }
  Answer Put(const Bytes&) override { return Answer::kFull; }
  Answer PutNotice(std::string_view) override { return Answer::kFull; }
  int64_t LongestBytes() const override { return INT64_MAX; }
  void End(CloseReason reason) override;
  void Detach() override;
  void AwaitMemory() override {}
  void MessagesWait() override;
  std::string Name() const override;
  void NoteWaits(bool wait);

  Connection* connection_;
  bool waits_ = false;  // A drain is not over while messages wait.
  const std::shared_ptr<SubscriptionState> state_;
};

class Spoke final : public Actor, public ListNode<SpokeTag>, public TurnTask {
 public:
  // kPortionMax subscribers are served before the worker serves other actors. Each gets up to
  // kBatchMax messages at a time, so that its output leaves in one system call.
  static constexpr size_t kPortionMax = 16;
  static constexpr size_t kBatchMax = 64;

  Spoke(Slot* hub, uint32_t hub_generation, HubOptions options)
      : hub_(hub), hub_generation_(hub_generation), options_(std::move(options)) {}
  ~Spoke() override;
  bool IsKind(const void* kind) const override { return kind == KindOf<Spoke>(); }
  void OnStart() override;
  void OnStop() override { stopped_ = true; }
  void On(AddSubscriber add);
  void On(Deliver message) { Take(std::move(message), 0); }
  void On(DeliverKeyed keyed) { Take(std::move(keyed.message), keyed.key); }
  void On(RemoveSubscriber remove);
  void LetGo(Slot* slot, uint32_t generation);  // Runtime control, ahead of RemoveSubscriber.

  void CheckInvariants() const;
  size_t Queued() const;  // Walks all subscribers.

 private:
  friend class Subscriber;
  using Subscribers = IntrusiveList<Subscriber, SubscriberTag>;
  using Tasks = IntrusiveList<TurnTask, TaskTag>;
  // Hashes by slot, so that the set keeps no second copy of it.
  struct BySlot {
    using is_transparent = void;
    size_t operator()(const Slot* slot) const { return absl::Hash<const Slot*>()(slot); }
    size_t operator()(const Subscriber* subscriber) const { return (*this)(subscriber->slot()); }
  };
  struct SameSlot {
    using is_transparent = void;
    static const Slot* SlotOf(const Slot* slot) { return slot; }
    static const Slot* SlotOf(const Subscriber* subscriber) { return subscriber->slot(); }
    template <class A, class B>
    bool operator()(const A* a, const B* b) const {
      return SlotOf(a) == SlotOf(b);
    }
  };

  Ref<Hub> hub() const { return Ref<Hub>(hub_, hub_generation_); }
  void Take(Deliver message, uint64_t key);
  int64_t LostBefore(uint64_t sequence);
  void BeginRound();
  void Portion();
  void EndRound();
  bool Hold(int64_t bytes);
  void DropBatch();
  void OnTurn() override;
  Subscriber* Find(Slot* slot, uint32_t generation);
  void Join();
  // The subscriber that wants to join; nullptr: it cannot, and *why says why.
  Subscriber* MakeSubscriber(absl::Status* why);
  void RefuseJoining(absl::Status why);
  void Remove(Subscriber& subscriber);
  void NoteRoom(size_t room) { room_min_ = std::min(room_min_, room); }
  void NoteFull(int change);
  void UpdateWait();
  void TellGone(int64_t count);

  Slot* const hub_;
  const uint32_t hub_generation_;
  const HubOptions options_;
  HubLedger::Cell* ledger_ = nullptr;
  // To find a subscriber; never walked.
  absl::flat_hash_set<Subscriber*, BySlot, SameSlot> by_slot_;
  // In order of joining, so that a simulated run repeats exactly.
  Subscribers subscribers_;
  // A round: the subscribers from next_ on have yet to be offered the batch. During a round no
  // message is taken, so all of them joined before the batch.
  std::vector<Due> batch_;
  int64_t batch_bytes_ = 0;  // Charged for the batch, and for the session that joins after it.
  Subscriber* next_ = nullptr;
  bool round_ = false;
  std::optional<AddSubscriber> joining_;  // Joins after the batch.
  // Messages that every kPark subscriber has room for, as far as is known.
  size_t batch_max_ = kBatchMax;
  size_t room_min_ = kBatchMax;
  int64_t full_ = 0;  // kPark subscribers with a full queue.
  uint64_t sequence_ = 0;
  bool waits_ = false;  // No message is taken: a round goes on, or a kPark subscriber is full.
  bool stopped_ = false;
};

}  // namespace sluice::internal

#endif  // SLUICE_ACTORS_HUB_HUB_SPOKE_H_
