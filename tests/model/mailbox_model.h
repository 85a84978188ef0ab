// The protocol around Mailbox as mail.cc and parking.cc of core/worker run it, small enough to try
// every order: one target actor on its worker, senders on workers of their own and perhaps one on
// the target's, and for each pair of workers one FIFO lane that carries messages and control.
// Checked after every step:
//
// - bound: a mailbox holds no more messages than its capacity.
// - conservation: for a live actor, free + held + on the way + paid + granted on the way + coming
//   back = capacity.
// - order: each sender's messages of one generation are delivered in the order sent, without a gap.
// - handles: no message of one generation reaches the next.
// Checked at the end: no sender is parked, nothing is on the way, every credit is free, and any
// thread finds it.
#ifndef SLUICE_TESTS_MODEL_MAILBOX_MODEL_H_
#define SLUICE_TESTS_MODEL_MAILBOX_MODEL_H_

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "sluice/tests/model/words.h"

namespace sluice {
class MailboxTestPeer {
 public:
  template <class Atomics>
  static uint64_t Fingerprint(const Mailbox<Atomics>& mailbox) {
    uint64_t hash = mailbox.held_;
    for (const uint64_t part : {mailbox.reserve_, mailbox.freed_, uint32_t{mailbox.generation_},
                                uint32_t{mailbox.closed_}, uint32_t{mailbox.granting_}}) {
      hash = model::Mix(hash, part);
    }
    if (mailbox.waiters_ == nullptr) return hash;
    mailbox.waiters_->ForEach([&](const Waiter& waiter) {
      hash = model::Mix(model::Mix(hash, waiter.key), waiter.generation);
      hash = model::Mix(model::Mix(hash, waiter.episode), waiter.wanted);
    });
    return hash;
  }
  template <class Atomics>
  static std::string Text(const Mailbox<Atomics>& mailbox) {
    return "held " + std::to_string(mailbox.held_) + ", reserve " +
           std::to_string(mailbox.reserve_) + ", freed " + std::to_string(mailbox.freed_) +
           ", waiters " +
           std::to_string(mailbox.waiters_ == nullptr ? 0 : mailbox.waiters_->Size()) +
           (mailbox.granting_ ? ", granting" : "") + (mailbox.closed_ ? ", closed" : "");
  }
};
}  // namespace sluice

namespace sluice::model {

// A worker's fault: each must be found.
enum class Fault {
  kNone,
  kLateGrantForgotten,    // A grant that finds its waiter ended is not sent back.
  kNoGrantsAfterReturn,   // Returned credits are given to no other waiter...
  kNoPublishAfterReturn,  // ... or stay with the owner.
  kNoPublishAfterSlice,
  kPaidForgottenAtFullLane,  // A paid message that meets a full lane must take a credit again.
  kStrangerGives,            // A sender that ends puts its credits into the word.
  kNotEagerWhenParked,       // A parked owner waits for half before it grants.
  kStaleReturnTaken,         // Credits of the old generation given to the new one...
  kStaleWaitTaken,           // ... and a wait for it.
  kWaitersNotTold,           // Their target's end is not reported to them.
  kOutboxOvertaken,          // Later messages are sent while others wait.
};

struct MailboxConfig {
  uint32_t capacity = 1;
  int senders = 2;                 // Each on a worker of its own.
  bool local_sender = false;       // Another sender, on the target's worker.
  int messages = 2;                // Messages of one handler run.
  int runs = 1;                    // Handler runs of each sender.
  uint32_t lane_messages_max = 0;  // 0: the lane is never full.
  int enders = 0;                  // The first `enders` senders may end while they are parked.
  int closes_max = 0;  // How often the target may end; then the next actor moves into its slot.
  bool owner_parks = false;  // After its first message, until sender0 has sent all.
  Fault fault = Fault::kNone;
};

struct Item {
  enum Kind : uint32_t { kMessage, kWait, kCancel, kGrant, kGrantBack, kClosed };
  Kind kind = kMessage;
  uint32_t generation = 0;  // The target's.
  uint32_t sender = 0;
  uint32_t sender_generation = 0;
  uint32_t episode = 0;
  uint32_t count =
      0;  // Credits; for a message: its place among its sender's messages of one generation.

  uint64_t Fingerprint() const {
    uint64_t hash = kind;
    for (const uint32_t part : {generation, sender, sender_generation, episode, count}) {
      hash = Mix(hash, part);
    }
    return hash;
  }
  std::string Text() const {
    static constexpr const char* kNames[] = {"message", "wait",       "cancel",
                                             "grant",   "grant back", "closed"};
    return std::string(kNames[kind]) + " " + std::to_string(count) + " (sender" +
           std::to_string(sender) + ", generation " + std::to_string(generation) + ")";
  }
};

class MailboxModel : public Model {
 public:
  explicit MailboxModel(const MailboxConfig& config);

  void Start() override;
  void CheckStep() override;
  void CheckEnd() override;

 private:
  // A sending actor and its outbox, in which all messages are for the one target.
  struct Sender {
    uint32_t id = 0;
    bool local = false;
    uint32_t generation = 1;
    uint32_t runs = 0;    // Handler runs left.
    uint32_t target = 0;  // The target's generation that it sends to.
    uint32_t sent = 0;    // Messages to that generation, so far.
    uint32_t outbox = 0;
    uint32_t paid = 0;
    uint32_t waiting = 0;
    uint32_t episode = 0;
    uint32_t in_hand = 0;  // Credits between the word and the lane, of this generation:
    uint32_t in_hand_generation = 0;
    bool parked = false;
    bool waits_for_lane = false;
    bool ended = false;

    uint64_t Fingerprint() const {
      uint64_t hash = generation;
      for (const uint32_t part : {runs, target, sent, outbox, paid, waiting, episode,
                                  uint32_t{parked}, uint32_t{waits_for_lane}, uint32_t{ended}}) {
        hash = Mix(hash, part);
      }
      return hash;
    }
  };

  // Runs on a sender's worker.
  void SenderThread(Sender& sender);
  void RunHandler(Sender& sender);
  void KnowsOnly(const Sender& sender, uint64_t place);
  Taken Take(Sender& sender);
  bool LaneHasRoom(const Sender& sender);
  void SendOne(Sender& sender);
  void FlushOutbox(Sender& sender);
  void Done(const Sender& sender);
  void Parked(Sender& sender);
  void End(Sender& sender);
  void Receive(Sender& sender, const Item& item);
  void PostToOwner(const Sender& sender, Item item);
  uint32_t MessagesIn(const Lane<Item>& lane) const;

  // Runs on the target's worker.
  void OwnerThread();
  bool OwnerRunnable() const { return live_ && !owner_parked_; }
  void Arrive(const Item& item);
  void Slice();
  void IssueGrants(uint64_t place);
  void Publish();
  void CloseTarget();
  void EndStep();
  uint64_t OwnerFingerprint() const;
  Item ToSender(Item::Kind kind, const Waiter& waiter, uint32_t count) const;
  void PostToSender(const Item& item);

  const MailboxConfig config_;
  Mailbox<ModelAtomics> mailbox_;
  ModelAtomic<uint32_t> ref_{0};  // The target's generation, read by senders.
  ModelAtomic<uint32_t> sender0_done_{0};
  std::deque<Lane<Item>> to_owner_;  // By sender.
  std::deque<Lane<Item>> to_sender_;
  std::vector<Item> local_control_;
  std::deque<Sender> senders_;

  // The owner's.
  uint32_t generation_ = 0;  // Generation of the actor that lives or lingers in the slot.
  bool live_ = false;
  bool owner_parked_ = false;
  bool parks_once_;
  int closes_left_;
  std::vector<Item> queue_;
  uint32_t owner_in_hand_ = 0;      // Credits of a grant that is not in its lane yet.
  std::vector<uint32_t> expected_;  // By sender: the number of its next message in this generation.

  // The ledger, in all.
  uint32_t sent_ = 0;
  uint32_t delivered_ = 0;
  uint32_t dropped_ = 0;
};

}  // namespace sluice::model

#endif  // SLUICE_TESTS_MODEL_MAILBOX_MODEL_H_
