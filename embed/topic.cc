#include "topic.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace broker {

using sluice::SlowPolicy;

std::string Counts::ToString() const {
  return absl::StrCat("published=", published, " publishers_waiting=", publishers_waiting,
                      " names=", names, " due=", due, " acknowledged=", acknowledged,
                      " unacknowledged=", unacknowledged, " waiting=", waiting,
                      " dropped=", dropped, " lost=", lost);
}

// --- Publishing.

void Topic::On(Put put, sluice::Promise<uint64_t> taken) {
  if (puts_.size() >= limits_.queue) {
    taken.Fail(absl::ResourceExhaustedError("too many publishers wait for this topic"));
    return;
  }
  puts_.emplace_back(std::move(put), std::move(taken));
  TakePuts();
}

// Takes waiting puts in their order, but none while a name with policy park is full: until then its
// publishers wait for their answers.
void Topic::TakePuts() {
  while (!puts_.empty()) {
    bool wait = false;
    for (auto at = names_.begin(); at != names_.end(); ++at) {
      if (at->second.slow != SlowPolicy::kPark || !Full(at->second)) continue;
      wait = true;
      if (at->second.timer != 0) continue;
      at->second.timer = After(limits_.park_timeout, [this, at] {
        at->second.timer = 0;
        End(at, "publishers waited for it too long");
        TakePuts();
      });
    }
    if (wait) return;
    auto [put, taken] = std::move(puts_.front());
    puts_.pop_front();
    Take(put, std::move(taken));
  }
}

void Topic::Take(const Put& put, sluice::Promise<uint64_t> taken) {
  const std::optional<sluice::Bytes> line = sluice::Bytes::Copy(
      absl::StrCat("MSG ", name_, " ", number_ + 1, " ", sluice::ToAbsl(put.text.view()), "\n"),
      runtime().budget());
  if (!line || Send(hub_, sluice::Publish{*line, {}}) != sluice::Answer::kAccepted) {
    taken.Fail(absl::ResourceExhaustedError("the broker is out of memory"));
    return;
  }
  ++number_;
  for (auto at = names_.begin(); at != names_.end();) {
    Offer(at++, Message{number_, *line});  // Offer may end the name.
  }
  taken.Resolve(number_);
}

// --- Names.

absl::StatusOr<uint64_t> Topic::On(Hold hold) {
  if (HeldBy(hold.client) != names_.end()) {
    return absl::AlreadyExistsError("this connection holds a name of this topic already");
  }
  auto at = names_.find(hold.name);
  if (at == names_.end()) {
    if (names_.size() >= limits_.subscriptions_max) {
      return absl::ResourceExhaustedError("this topic has no place for another name");
    }
    at = names_.try_emplace(hold.name).first;
  } else {
    Detach(at->second, "another connection holds this name now");
  }
  at->second.slow = hold.slow;
  at->second.client = hold.client;
  at->second.monitor = Monitor(hold.client);
  TakePuts();
  return number_;
}

void Topic::Offer(Names::iterator at, Message message) {
  Name& name = at->second;
  ++name.due;
  if (Full(name)) {
    if (name.slow == SlowPolicy::kDisconnect) {
      End(at, "its queue was full");
      return;
    }
    ++name.dropped;
    if (name.slow == SlowPolicy::kDropNewest) {
      ++name.missed;
      return;
    }
    const int64_t missed = name.waiting.front().missed_before + 1;
    name.waiting.pop_front();
    (name.waiting.empty() ? name.missed : name.waiting.front().missed_before) += missed;
  }
  message.missed_before = std::exchange(name.missed, 0);
  name.waiting.push_back(std::move(message));
  Pump(name);
}

void Topic::On(Next next, sluice::Promise<Delivery> delivery) {
  const auto at = HeldBy(next.client);
  if (at == names_.end()) {
    delivery.Fail(absl::NotFoundError("this connection does not hold it any more"));
    return;
  }
  at->second.next = std::move(delivery);
  Pump(at->second);
  TakePuts();
}

// Answers the open question if the name has a message or a missed count, and place in the window.
void Topic::Pump(Name& name) {
  if (!name.next) return;
  Delivery delivery;
  if (!name.waiting.empty()) {
    if (name.unacknowledged.size() >= limits_.window) return;
    Message message = std::move(name.waiting.front());
    name.waiting.pop_front();
    delivery = {std::exchange(message.missed_before, 0), message.again, message.line};
    name.unacknowledged.push_back(std::move(message));
  } else if (name.missed > 0) {
    delivery.missed = std::exchange(name.missed, 0);
  } else {
    return;
  }
  std::exchange(name.next, std::nullopt)->Resolve(std::move(delivery));
  if (!Full(name) && name.timer != 0) CancelTimer(std::exchange(name.timer, 0));
}

absl::StatusOr<uint64_t> Topic::On(Acknowledge acknowledge) {
  const auto at = HeldBy(acknowledge.client);
  if (at == names_.end()) return absl::NotFoundError("this connection does not hold it");
  Name& name = at->second;
  const auto found =
      std::find_if(name.unacknowledged.begin(), name.unacknowledged.end(),
                   [&](const Message& message) { return message.number == acknowledge.number; });
  if (found == name.unacknowledged.end()) {
    return absl::NotFoundError(absl::StrCat("message ", acknowledge.number, " waits for no ACK"));
  }
  name.unacknowledged.erase(found);
  ++name.acknowledged;
  Pump(name);
  TakePuts();
  return name.unacknowledged.size();
}

absl::StatusOr<uint64_t> Topic::On(Drop drop) {
  const auto at = HeldBy(drop.client);
  if (at == names_.end()) return absl::NotFoundError("this connection does not hold it");
  at->second.client = {};  // This connection asked for the end, so it stays.
  const uint64_t lost = End(at, "dropped");
  TakePuts();
  return lost;
}

void Topic::OnDown(const sluice::Down& down) {
  for (auto& [key, name] : names_) {
    if (name.monitor == down.monitor) Detach(name, "the connection has ended");
  }
}

Topic::Names::iterator Topic::HeldBy(sluice::Ref<Client> client) {
  return std::find_if(names_.begin(), names_.end(),
                      [&](const auto& entry) { return entry.second.client == client; });
}

// Unacknowledged messages wait for the next connection that holds the name, in front of the others.
void Topic::Detach(Name& name, std::string_view why) {
  if (name.monitor != 0) Demonitor(std::exchange(name.monitor, 0));
  name.client = {};
  if (name.next)
    std::exchange(name.next, std::nullopt)->Fail(absl::AbortedError(sluice::ToAbsl(why)));
  for (Message& message : name.unacknowledged) message.again = true;
  name.waiting.insert(name.waiting.begin(), std::make_move_iterator(name.unacknowledged.begin()),
                      std::make_move_iterator(name.unacknowledged.end()));
  name.unacknowledged.clear();
}

// Ends a name, and the connection that holds it. Returns how many messages are lost with it.
uint64_t Topic::End(Names::iterator at, std::string_view why) {
  Name& name = at->second;
  if (name.timer != 0) CancelTimer(name.timer);
  name.client.Stop();
  Detach(name, why);
  const int64_t lost = name.due - name.acknowledged - name.dropped;
  ended_.due += name.due;
  ended_.acknowledged += name.acknowledged;
  ended_.dropped += name.dropped;
  ended_.lost += lost;
  names_.erase(at);
  return static_cast<uint64_t>(lost);
}

Counts Topic::On(Count) const {
  Counts counts = ended_;
  counts.published = static_cast<int64_t>(number_);
  counts.publishers_waiting = std::ssize(puts_);
  counts.names = std::ssize(names_);
  for (const auto& [key, name] : names_) {
    counts.due += name.due;
    counts.acknowledged += name.acknowledged;
    counts.unacknowledged += std::ssize(name.unacknowledged);
    counts.waiting += std::ssize(name.waiting);
    counts.dropped += name.dropped;
  }
  return counts;
}

}  // namespace broker
