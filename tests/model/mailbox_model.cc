#include "sluice/tests/model/mailbox_model.h"

namespace sluice::model {

MailboxModel::MailboxModel(const MailboxConfig& config)
    : config_(config), parks_once_(config.owner_parks), closes_left_(config.closes_max) {
  const int count = config.senders + (config.local_sender ? 1 : 0);
  for (int i = 0; i < count; ++i) {
    Sender sender;
    sender.id = static_cast<uint32_t>(i);
    sender.local = i == config.senders;
    sender.runs = static_cast<uint32_t>(config.runs);
    senders_.push_back(sender);
    to_owner_.emplace_back("lane" + std::to_string(i) + " to owner");
    to_sender_.emplace_back("lane to sender" + std::to_string(i));
    expected_.push_back(0);
  }
  Name(mailbox_, "word");
  Name(ref_, "ref");
}

void MailboxModel::Start() {
  generation_ = mailbox_.Open(config_.capacity);
  live_ = true;
  ref_.store(generation_);
  StartThread("owner", [this] { OwnerThread(); });
  for (int i = 0; i < config_.senders; ++i) {
    StartThread("sender" + std::to_string(i), [this, i] { SenderThread(senders_[i]); });
  }
}

// --- A sender.

void MailboxModel::SenderThread(Sender& sender) {
  Lane<Item>& inbox = to_sender_[sender.id];
  for (;;) {
    if (!sender.parked && sender.runs > 0 && !sender.ended) {
      RunHandler(sender);
      continue;
    }
    Summarize(sender.Fingerprint());
    WaitUntil(
        sender.parked
            ? "parked, for a grant, for room in the lane or for the word that the target ended"
            : "mail",
        [&] {
          return !inbox.Empty() || (sender.waits_for_lane &&
                                    MessagesIn(to_owner_[sender.id]) < config_.lane_messages_max);
        },
        sender.parked ? Wait::kMustEnd : Wait::kMayStay);
    if (!inbox.Empty()) {
      Receive(sender, inbox.Take());
    } else {
      sender.waits_for_lane = false;
      FlushOutbox(sender);
    }
    if (sender.parked) Parked(sender);
  }
}

void MailboxModel::RunHandler(Sender& sender) {
  --sender.runs;
  const uint32_t target = ref_.load(std::memory_order_acquire);
  if (target != sender.target) {
    sender.target = target;
    sender.sent = 0;
  }
  for (int i = 0; i < config_.messages; ++i) {
    KnowsOnly(sender, 10 + static_cast<uint64_t>(i));
    if (sender.outbox == 0 || config_.fault == Fault::kOutboxOvertaken) {
      const Taken taken = LaneHasRoom(sender) ? Take(sender) : Taken::kFull;
      if (taken == Taken::kClosed) continue;  // Refused: the handler learns of it.
      if (taken == Taken::kCredit) {
        SendOne(sender);
        continue;
      }
    }
    ++sender.outbox;
    // Counts the waiting message: it keeps its place.
    if (config_.fault == Fault::kOutboxOvertaken) ++sender.sent;
  }
  if (sender.outbox > 0) {
    FlushOutbox(sender);
    if (sender.parked) Parked(sender);
  } else {
    Done(sender);
  }
}

void MailboxModel::Done(const Sender& sender) {
  if (config_.owner_parks && sender.id == 0 && sender.runs == 0) sender0_done_.store(1);
}

// A local sender's code runs in the owner's thread, which must keep its history: no summary there.
void MailboxModel::KnowsOnly(const Sender& sender, uint64_t place) {
  if (!sender.local) Summarize(Mix(sender.Fingerprint(), place));
}

Taken MailboxModel::Take(Sender& sender) {
  const Taken taken =
      sender.local ? mailbox_.TakeLocal(sender.target) : mailbox_.Word().Take(sender.target);
  if (taken == Taken::kCredit) {
    sender.in_hand = 1;
    sender.in_hand_generation = sender.target;
  }
  return taken;
}

bool MailboxModel::LaneHasRoom(const Sender& sender) {
  if (sender.local || config_.lane_messages_max == 0) return true;
  internal::Step();
  const bool room = MessagesIn(to_owner_[sender.id]) < config_.lane_messages_max;
  internal::Seen(room);
  return room;
}

// Requires: a credit in hand, and room in the lane.
void MailboxModel::SendOne(Sender& sender) {
  const Item message{Item::kMessage, sender.target, sender.id, 0, 0, sender.sent};
  if (sender.local) {
    sender.in_hand = 0;
    ++sent_;
    ++sender.sent;
    mailbox_.Arrived();
    queue_.push_back(message);
  } else {
    to_owner_[sender.id].Push(message);
    sender.in_hand = 0;
    ++sent_;
    ++sender.sent;
  }
}

// As Worker::FlushOutbox.
void MailboxModel::FlushOutbox(Sender& sender) {
  sender.parked = true;
  if (sender.waits_for_lane) return;
  while (sender.outbox > 0) {
    KnowsOnly(sender, 1);
    if (mailbox_.Word().Generation() != sender.target) {
      sender.paid = sender.waiting = 0;
      --sender.outbox;  // Dropped: the target ended.
      continue;
    }
    if (sender.paid == 0) {
      if (sender.waiting > 0) return;
      const Taken taken = Take(sender);
      sender.in_hand = 0;
      if (taken == Taken::kClosed) continue;
      if (taken == Taken::kFull) {
        sender.waiting = sender.outbox;
        ++sender.episode;
        PostToOwner(sender, {Item::kWait, sender.target, sender.id, sender.generation,
                             sender.episode, sender.waiting});
        return;
      }
      sender.paid = 1;
    }
    if (!LaneHasRoom(sender)) {
      if (config_.fault == Fault::kPaidForgottenAtFullLane) sender.paid = 0;
      sender.waits_for_lane = true;
      return;
    }
    --sender.paid;
    sender.in_hand = 1;
    sender.in_hand_generation = sender.target;
    if (config_.fault == Fault::kOutboxOvertaken) --sender.sent;
    --sender.outbox;
    SendOne(sender);
  }
  sender.parked = false;
  Done(sender);
}

// A parked sender may end here, or wait on. A decision now, carried out as late as the steps allow,
// is as good as a later one.
void MailboxModel::Parked(Sender& sender) {
  if (static_cast<int>(sender.id) < config_.enders && !sender.ended && Choose(2) == 1) End(sender);
}

void MailboxModel::End(Sender& sender) {
  Note("ends");
  sender.ended = true;
  sender.parked = sender.waits_for_lane = false;
  ++sender.generation;
  if (sender.waiting > 0) {
    sender.waiting = 0;
    PostToOwner(sender, {Item::kCancel, sender.target, sender.id, sender.generation - 1,
                         sender.episode, 0});
  }
  sender.outbox = 0;
  const uint32_t paid = sender.paid;
  if (paid > 0) {
    if (config_.fault == Fault::kStrangerGives) {
      mailbox_.Word().Give(sender.target, paid);
      sender.paid = 0;
    } else {
      PostToOwner(sender, {Item::kGrantBack, sender.target, sender.id, 0, 0, paid});
      sender.paid = 0;
    }
  }
}

void MailboxModel::Receive(Sender& sender, const Item& item) {
  const bool ours = item.sender_generation == sender.generation && item.episode == sender.episode &&
                    sender.waiting > 0;
  if (item.kind == Item::kClosed) {
    if (!ours) return;
    sender.waiting = 0;
    FlushOutbox(sender);
    return;
  }
  if (!ours) {
    if (config_.fault == Fault::kLateGrantForgotten) return;
    sender.in_hand = item.count;
    sender.in_hand_generation = item.generation;
    PostToOwner(sender, {Item::kGrantBack, item.generation, sender.id, 0, 0, item.count});
    sender.in_hand = 0;
    return;
  }
  if (item.count > sender.waiting) return Fail("granted more than was asked");
  sender.waiting -= item.count;
  sender.paid += item.count;
  FlushOutbox(sender);
}

void MailboxModel::PostToOwner(const Sender& sender, Item item) {
  if (sender.local) {
    local_control_.push_back(item);
  } else {
    to_owner_[sender.id].Push(item);
  }
}

uint32_t MailboxModel::MessagesIn(const Lane<Item>& lane) const {
  uint32_t count = 0;
  lane.ForEach([&](const Item& item) { count += item.kind == Item::kMessage; });
  return count;
}

// --- The owner.

void MailboxModel::OwnerThread() {
  Sender* const local = config_.local_sender ? &senders_.back() : nullptr;
  for (;;) {
    while (!local_control_.empty()) {
      const Item item = local_control_.front();
      local_control_.erase(local_control_.begin());
      if (item.kind == Item::kGrant || item.kind == Item::kClosed) {
        Receive(*local, item);
        if (local->parked) Parked(*local);
      } else {
        Arrive(item);
      }
    }
    const auto can_slice = [this] { return OwnerRunnable() && !queue_.empty(); };
    const auto can_handle = [local] {
      return local != nullptr && !local->parked && local->runs > 0 && !local->ended;
    };
    const auto can_unpark = [this] { return owner_parked_ && sender0_done_.load() == 1; };
    const auto can_end_step = [this] { return !live_; };
    const auto mail = [this] {
      return std::any_of(to_owner_.begin(), to_owner_.end(),
                         [](const auto& lane) { return !lane.Empty(); });
    };
    Summarize(OwnerFingerprint());
    WaitUntil(
        "mail",
        [&] { return can_slice() || can_handle() || can_unpark() || can_end_step() || mail(); },
        Wait::kMayStay);
    // Choose one thing that can be done now, in the step of the wait.
    int ways = 0;
    for (const bool can :
         {can_slice(), can_handle(), can_unpark(), can_end_step(), live_ && closes_left_ > 0}) {
      ways += can;
    }
    for (const Lane<Item>& lane : to_owner_) ways += !lane.Empty();
    int way = Choose(ways);
    if (can_slice() && way-- == 0) {
      Slice();
      continue;
    }
    if (can_handle() && way-- == 0) {
      RunHandler(*local);
      continue;
    }
    if (can_unpark() && way-- == 0) {
      owner_parked_ = false;
      continue;
    }
    if (can_end_step() && way-- == 0) {
      EndStep();
      continue;
    }
    if (live_ && closes_left_ > 0 && way-- == 0) {
      CloseTarget();
      continue;
    }
    for (Lane<Item>& lane : to_owner_) {
      if (!lane.Empty() && way-- == 0) {
        const Item item = lane.Take();
        Summarize(Mix(OwnerFingerprint(), item.Fingerprint()));
        Arrive(item);
        break;
      }
    }
  }
}

void MailboxModel::Arrive(const Item& item) {
  const bool live = live_ && item.generation == generation_;
  switch (item.kind) {
    case Item::kMessage:
      if (!live) {
        ++dropped_;
        return;
      }
      mailbox_.Arrived();
      queue_.push_back(item);
      return;
    case Item::kWait: {
      const Waiter waiter{item.sender, item.sender_generation, item.episode, item.count};
      if (!live && (config_.fault != Fault::kStaleWaitTaken || !live_)) {
        PostToSender(ToSender(Item::kClosed, waiter, 0));
        return;
      }
      mailbox_.AddWaiter(generation_, waiter);
      IssueGrants(/*place=*/1);
      Publish();
      return;
    }
    case Item::kCancel:
      if (!live) return;
      mailbox_.RemoveWaiter(item.sender, item.sender_generation);
      IssueGrants(/*place=*/1);
      Publish();
      return;
    case Item::kGrantBack:
      if (config_.fault == Fault::kStaleReturnTaken && live_) {
        mailbox_.GrantReturned(generation_, item.count);
      } else {
        mailbox_.GrantReturned(item.generation, item.count);  // Stale: the mailbox must know.
      }
      if (!live) return;
      if (config_.fault != Fault::kNoGrantsAfterReturn) IssueGrants(/*place=*/1);
      if (config_.fault != Fault::kNoPublishAfterReturn) Publish();
      return;
    case Item::kGrant:
    case Item::kClosed:
      return Fail("not for the owner");
  }
}

void MailboxModel::Slice() {
  do {
    Summarize(Mix(OwnerFingerprint(), 2));
    const Item message = queue_.front();
    queue_.erase(queue_.begin());
    if (message.generation != generation_) return Fail("a message reached the next actor");
    if (message.count != expected_[message.sender]++) return Fail("a message came out of order");
    ++delivered_;
    mailbox_.Left();
    if (std::exchange(parks_once_, false)) {
      Note("the target parks");
      owner_parked_ = true;
    }
    if (mailbox_.HasWaiters()) IssueGrants(/*place=*/3);
  } while (!queue_.empty() && OwnerRunnable() && Choose(2) == 0);  // The slice may end at any time.
  if (config_.fault != Fault::kNoPublishAfterSlice) Publish();
}

void MailboxModel::IssueGrants(uint64_t place) {
  const bool eager = owner_parked_ && config_.fault != Fault::kNotEagerWhenParked;
  Grant grant;
  while (mailbox_.NextGrant(&grant, eager)) {
    owner_in_hand_ = grant.credits;
    PostToSender(ToSender(Item::kGrant, grant.waiter, grant.credits));
    owner_in_hand_ = 0;
    Summarize(Mix(OwnerFingerprint(), place));
  }
}

void MailboxModel::Publish() { mailbox_.Publish(generation_); }

void MailboxModel::CloseTarget() {
  Note("the target ends");
  --closes_left_;
  live_ = false;
  owner_parked_ = false;
  mailbox_.Close(generation_);
}

void MailboxModel::EndStep() {
  while (!queue_.empty()) {
    queue_.erase(queue_.begin());
    ++dropped_;
    mailbox_.Left();
  }
  Waiter waiter;
  while (mailbox_.TakeWaiter(&waiter)) {
    if (config_.fault != Fault::kWaitersNotTold) PostToSender(ToSender(Item::kClosed, waiter, 0));
  }
  mailbox_.Reset();
  generation_ = mailbox_.Open(config_.capacity);
  std::fill(expected_.begin(), expected_.end(), 0);
  live_ = true;
  ref_.store(generation_, std::memory_order_release);
}

uint64_t MailboxModel::OwnerFingerprint() const {
  uint64_t hash = MailboxTestPeer::Fingerprint(mailbox_);
  for (const uint32_t part : {generation_, uint32_t{live_}, uint32_t{owner_parked_},
                              uint32_t{parks_once_}, static_cast<uint32_t>(closes_left_)}) {
    hash = Mix(hash, part);
  }
  for (const uint32_t expected : expected_) hash = Mix(hash, expected);
  for (const Item& item : queue_) hash = Mix(hash, item.Fingerprint());
  hash = Mix(hash, queue_.size());
  for (const Item& item : local_control_) hash = Mix(hash, item.Fingerprint());
  if (config_.local_sender) hash = Mix(hash, senders_.back().Fingerprint());
  return hash;
}

Item MailboxModel::ToSender(Item::Kind kind, const Waiter& waiter, uint32_t count) const {
  return {kind,           generation_, static_cast<uint32_t>(waiter.key), waiter.generation,
          waiter.episode, count};
}

void MailboxModel::PostToSender(const Item& item) {
  if (senders_[item.sender].local) {
    local_control_.push_back(item);
  } else {
    to_sender_[item.sender].Push(item);
  }
}

// --- Checks.

void MailboxModel::CheckStep() {
  uint32_t on_the_way = 0;
  uint32_t credits = mailbox_.FreeCredits() + mailbox_.Held() + owner_in_hand_;
  const auto count = [&](const Item& item) {
    on_the_way += item.kind == Item::kMessage;
    if (item.generation != generation_) return;
    credits += item.kind == Item::kMessage ? 1 : 0;
    credits += item.kind == Item::kGrant || item.kind == Item::kGrantBack ? item.count : 0;
  };
  for (const auto* lanes : {&to_owner_, &to_sender_}) {
    for (const Lane<Item>& lane : *lanes) lane.ForEach(count);
  }
  for (const Item& item : local_control_) count(item);
  for (const Sender& sender : senders_) {
    if (sender.target == generation_) credits += sender.paid;
    if (sender.in_hand_generation == generation_) credits += sender.in_hand;
  }
  if (mailbox_.Held() > config_.capacity) Fail("past the bound");
  if (sent_ != delivered_ + dropped_ + on_the_way + queue_.size()) {
    // A message is counted in the step that pushes it or takes it out.
    Fail("the ledger does not add up");
  }
  // While a generation opens or closes, its credits are not all there.
  if (live_ && mailbox_.Word().Generation() == generation_ && credits != config_.capacity) {
    Fail("credits: " + std::to_string(credits) + " of " + std::to_string(config_.capacity) + "; " +
         MailboxTestPeer::Text(mailbox_) + ", word " + std::to_string(mailbox_.Word().Credits()));
  }
}

void MailboxModel::CheckEnd() {
  for (const Sender& sender : senders_) {
    if (sender.local && sender.parked) Fail("the sender on the owner's worker is parked for ever");
    if (sender.paid + sender.waiting + sender.outbox > 0) Fail("a sender's outbox is left behind");
  }
  if (mailbox_.HasWaiters()) Fail("a waiter is left behind");
  if (sent_ != delivered_ + dropped_) Fail("the ledger does not add up at the end");
  const uint32_t reserve = std::min(Mailbox<ModelAtomics>::kReserveMax, config_.capacity / 4);
  if (mailbox_.Word().Credits() + reserve != config_.capacity) {
    Fail("credits stay with the owner: other threads read full; " +
         MailboxTestPeer::Text(mailbox_) + ", word " + std::to_string(mailbox_.Word().Credits()));
  }
}

}  // namespace sluice::model
