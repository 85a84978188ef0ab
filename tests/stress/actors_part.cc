#include "sluice/tests/stress/actors_part.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "sluice/tests/stress/watch.h"

namespace sluice::stress {

namespace {

constexpr size_t kOpenAsksMax = 64;
constexpr size_t kLatePromisesMax = 16;

struct Tick {  // Fits into its envelope.
  uint32_t from;
  uint64_t number;
};
struct Wide {  // Does not fit.
  uint32_t from;
  uint64_t number;
  std::array<uint64_t, 8> filler;
};
struct Parcel {  // Owns memory.
  uint32_t from;
  uint64_t number;
  std::string load;
};
struct Query {
  using Reply = uint64_t;
  uint64_t nonce;
};
struct Go {};

// A parcel's size and bytes follow from its sender and number, so the receiver knows both.
size_t LoadSize(uint32_t from, uint64_t number) {
  const uint64_t draw = Mixed(number * 1'000 + from);
  if (draw % 4'096 == 0) return 128 * 1024;
  return draw % 64 == 0 ? 8 * 1024 : draw / 64 % 512;
}
char LoadByte(uint32_t from, uint64_t number) { return static_cast<char>(from * 31 + number * 7); }

uint64_t AnswerTo(uint64_t nonce) { return nonce * 2 + 1; }

}  // namespace

class Node : public Actor {
 public:
  Node(ActorsPart* part, uint32_t index, uint64_t seed)
      : part_(part), laws_(part->stress.laws), index_(index), random_(seed) {}

  void OnStart() override { On(Go{}); }
  void On(Go) {
    HandlerWatch watch(watch_, slot(), laws_);
    if (part_->stress.Stopping()) {
      part_->nodes_done.Add();
      return;
    }
    for (uint64_t i = random_.Between(1, random_.OneIn(16) ? 200 : 12); i > 0; --i) SendOne();
    Next();
  }
  void On(Tick tick) {
    HandlerWatch watch(watch_, slot(), laws_);
    Receive(tick.from, tick.number);
    if (random_.OneIn(1'024)) Dawdle();
  }
  void On(Wide wide) {
    HandlerWatch watch(watch_, slot(), laws_);
    Receive(wide.from, wide.number);
    for (uint64_t word : wide.filler) {
      if (word != wide.number) laws_.Broken("payload", "a large message has changed on its way");
    }
  }
  void On(Parcel parcel) {
    HandlerWatch watch(watch_, slot(), laws_);
    Receive(parcel.from, parcel.number);
    const std::string& load = parcel.load;
    const char expected = LoadByte(parcel.from, parcel.number);
    if (load.size() != LoadSize(parcel.from, parcel.number) ||
        load.find_first_not_of(expected) != std::string::npos) {
      laws_.Broken("payload", absl::StrCat("a parcel of ", load.size(), " bytes has changed"));
    }
    part_->parcels_bytes.Add(static_cast<int64_t>(load.size()));
  }
  void On(Query query, Promise<uint64_t> promise) {
    HandlerWatch watch(watch_, slot(), laws_);
    if (query.nonce % 64 == 0) return;  // Dropped: the sender gets an error.
    if (query.nonce % 4 != 0) {
      promise.Resolve(AnswerTo(query.nonce));
      return;
    }
    late_.emplace_back(query.nonce, std::move(promise));
    if (late_.size() > kLatePromisesMax) AnswerLate(1);
    if (late_.size() == 1) {
      After(absl::Milliseconds(random_.Below(60)), [this] { AnswerLate(late_.size()); });
    }
  }

 private:
  void Next() {
    if (random_.OneIn(3)) {
      After(absl::Milliseconds(random_.Below(4)), [this] { On(Go{}); });
    } else if (Send(RefOf(this), Go{}) != Answer::kAccepted) {
      After(absl::Milliseconds(1), [this] { On(Go{}); });
    }
  }
  void SendOne() {
    const uint32_t count = part_->node_count;
    const uint64_t draw = random_.Below(16);
    if (draw < 12 && index_ + 1 < count) {
      const auto to = static_cast<uint32_t>(random_.Between(index_ + 1, count - 1));
      draw == 0 ? AskOne(to) : Deliver(to, /*may_park=*/true);
    } else {
      Deliver(static_cast<uint32_t>(random_.Below(count)), /*may_park=*/false);
    }
  }
  void Deliver(uint32_t to, bool may_park) {
    const uint64_t number = part_->sent.Get(index_, to);
    switch (random_.Below(4)) {
      case 0:
        Deliver(to, may_park,
                Parcel{index_, number,
                       std::string(LoadSize(index_, number), LoadByte(index_, number))});
        break;
      case 1: {
        Wide wide{index_, number, {}};
        wide.filler.fill(number);
        Deliver(to, may_park, std::move(wide));
        break;
      }
      default:
        Deliver(to, may_park, Tick{index_, number});
    }
  }
  template <class M>
  void Deliver(uint32_t to, bool may_park, M message) {
    const Ref<Node>& target = part_->nodes[to];
    const Answer answer =
        may_park ? Send(target, std::move(message)) : target.TrySend(std::move(message));
    if (answer == Answer::kAccepted) {
      part_->sent.Add(index_, to);
    } else if (answer == Answer::kClosed || (may_park && answer == Answer::kFull)) {
      laws_.Broken("answers", absl::StrCat(may_park ? "Send" : "TrySend", " to a live actor said ",
                                           std::string(AnswerName(answer))));
    } else {
      part_->refused.Add();
    }
  }
  void Receive(uint32_t from, uint64_t number) {
    const uint64_t expected = part_->received.Get(from, index_);
    if (number != expected) {
      laws_.Broken("L2", absl::StrCat("actor ", index_, " got message ", number, " of sender ",
                                      from, " and expected ", expected));
    }
    part_->received.Add(from, index_);
  }
  void AskOne(uint32_t to) {
    if (open_.size() >= kOpenAsksMax) return;
    const uint64_t nonce = random_();
    const absl::Duration timeout = absl::Milliseconds(random_.Below(40));
    const uint64_t ask = ++last_ask_;
    const absl::Duration asked_at = Now();
    const Answer answer =
        Ask(part_->nodes[to], Query{nonce}, timeout,
            [this, ask, nonce, timeout, asked_at](const absl::StatusOr<uint64_t>& reply) {
              Answered(ask, nonce, asked_at + timeout, reply);
            });
    if (answer == Answer::kAccepted) {
      open_.insert(ask);
      part_->asked.Add();
    } else if (answer == Answer::kClosed) {
      laws_.Broken("answers", "Ask of a live actor said closed");
    }
  }
  void Answered(uint64_t ask, uint64_t nonce, absl::Duration deadline,
                const absl::StatusOr<uint64_t>& reply) {
    HandlerWatch watch(watch_, slot(), laws_);
    if (open_.erase(ask) == 0) laws_.Broken("asks", "a question was answered twice");
    part_->answered.Add();
    if (reply.ok()) {
      if (*reply != AnswerTo(nonce)) laws_.Broken("asks", "an answer does not match its question");
    } else if (absl::IsDeadlineExceeded(reply.status())) {
      part_->deadlines.Add();
      if (Now() < deadline) laws_.Broken("asks", "a deadline came early");
    } else if (nonce % 64 != 0) {  // The other side drops the others.
      laws_.Broken("asks", absl::StrCat("no answer: ", reply.status().ToString()));
    }
  }
  void AnswerLate(size_t count) {
    for (; count > 0 && !late_.empty(); --count) {
      late_.front().second.Resolve(AnswerTo(late_.front().first));
      late_.pop_front();
    }
  }
  // Long enough that mailboxes fill, too short to be a slow handler.
  void Dawdle() {
    const int64_t until_ns = runtime().os().NowNs() + 100'000;
    while (runtime().os().NowNs() < until_ns) {
    }
  }

  ActorsPart* const part_;
  Laws& laws_;
  const uint32_t index_;
  Random random_;
  HandlerWatch::State watch_;
  uint64_t last_ask_ = 0;
  absl::flat_hash_set<uint64_t> open_;
  std::deque<std::pair<uint64_t, Promise<uint64_t>>> late_;
};

ActorsPart::ActorsPart(Stress& s)
    : stress(s),
      node_count(static_cast<uint32_t>(std::clamp(48 * s.runtime.WorkerCount(), 48, 256))),
      sent(node_count + kOutsideThreads, node_count),
      received(node_count + kOutsideThreads, node_count) {}

ActorsPart::~ActorsPart() {
  for (std::thread& thread : outside_) thread.join();
}

void ActorsPart::Prepare() {
  Random random(stress.seed);
  for (uint32_t i = 0; i < node_count; ++i) {
    // Neighbours live on different workers, and some mailboxes hold one message only.
    SpawnOptions where;
    where.mailbox_messages_max = static_cast<uint32_t>(random.Between(1, i % 4 == 0 ? 4 : 128));
    where.worker = static_cast<int>(i) % stress.runtime.WorkerCount();
    nodes.push_back(stress.runtime.SpawnWith<Node>(where, this, i, random()));
  }
}

void ActorsPart::Start() {
  for (uint32_t i = 0; i < kOutsideThreads; ++i) {
    outside_.emplace_back([this, i] { SendFromOutside(node_count + i); });
  }
}

void ActorsPart::SendFromOutside(uint32_t index) {
  Random random(stress.seed + index);
  while (!stress.Stopping()) {
    const auto to = static_cast<uint32_t>(random.Below(node_count));
    const uint64_t number = sent.Get(index, to);
    const Answer answer =
        random.OneIn(2)
            ? nodes[to].TrySend(Tick{index, number})
            : nodes[to].TrySend(Parcel{
                  index, number, std::string(LoadSize(index, number), LoadByte(index, number))});
    if (answer == Answer::kAccepted) {
      sent.Add(index, to);
    } else if (answer == Answer::kClosed) {
      stress.laws.Broken("answers", "TrySend from outside to a live actor said closed");
    } else {
      refused.Add();
    }
    if (answer != Answer::kAccepted || random.OneIn(32)) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  outside_done_.Add();
}

bool ActorsPart::Done() {
  return nodes_done.Get() == node_count && outside_done_.Get() == kOutsideThreads &&
         asked.Get() == answered.Get() && sent.Sum() == received.Sum();
}

std::string ActorsPart::State() {
  return absl::StrCat("sent ", sent.Sum(), ", received ", received.Sum(), "; asked ", asked.Get(),
                      ", answered ", answered.Get(), "; ", nodes_done.Get(), " of ", node_count,
                      " actors have stopped");
}

void ActorsPart::CheckDone() {
  for (uint32_t from = 0; from < node_count + kOutsideThreads; ++from) {
    for (uint32_t to = 0; to < node_count; ++to) {
      if (sent.Get(from, to) == received.Get(from, to)) continue;
      stress.laws.Broken("L1", absl::StrCat("of ", sent.Get(from, to), " messages from ", from,
                                            " to ", to, " came ", received.Get(from, to)));
    }
  }
}

std::vector<Rate> ActorsPart::Rates() const {
  return {{"messages", received.Sum()},
          {"refused", refused.Get()},
          {"asks", answered.Get()},
          {"ask deadlines", deadlines.Get()},
          {"payload bytes", parcels_bytes.Get()}};
}

}  // namespace sluice::stress
