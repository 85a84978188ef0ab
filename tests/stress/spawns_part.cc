#include "sluice/tests/stress/spawns_part.h"

#include <deque>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "sluice/tests/stress/mortal.h"

namespace sluice::stress {

namespace {

constexpr int kNurseriesPerWorker = 3;
constexpr size_t kLivingMax = 64;
constexpr size_t kGravesMax = 1'024;
constexpr int kBurst = 3'000;

struct Go {};

}  // namespace

class Nursery : public Actor {
 public:
  Nursery(SpawnsPart* part, uint64_t seed) : part_(part), laws_(part->stress.laws), random_(seed) {}

  void OnStart() override { On(Go{}); }
  void On(LastWord word) {
    HandlerWatch watch(watch_, slot(), laws_);
    part_->last_words.Add();
    if (buried_.contains(word.from)) {
      laws_.Broken("L8", absl::StrCat("a message of actor ", word.from, " came after its Down"));
    }
  }
  void OnDown(const Down& down) override {
    HandlerWatch watch(watch_, slot(), laws_);
    const auto found = watched_.find(down.monitor);
    if (found == watched_.end()) {
      laws_.Broken("L8", "a Down came twice, or for a monitor that was taken back");
      return;
    }
    const Child child = found->second;
    watched_.erase(found);
    part_->downs.Add();
    if (down.reason == EndReason::kShutdown ||
        (down.reason == EndReason::kFailed && !Mortal::Fails(child.death))) {
      laws_.Broken("L8", absl::StrCat("an actor that dies in way ", static_cast<int>(child.death),
                                      " ended with: ", std::string(EndReasonName(down.reason)), " ",
                                      down.text));
    }
    // All messages of a dead actor have come before this actor's first Down from it.
    if (child.ref) Bury(child);
    if (watched_.empty() && stopped_ && !told_) {
      told_ = true;
      part_->nurseries_done.Add();
    }
  }
  void On(Go) {
    HandlerWatch watch(watch_, slot(), laws_);
    if (part_->stress.Stopping()) {
      for (const Child& child : living_) child.ref.Stop();
      living_.clear();
      stopped_ = true;
      if (watched_.empty() && !told_) {
        told_ = true;
        part_->nurseries_done.Add();
      }
      return;
    }
    VisitGraves();
    for (uint64_t i = random_.Between(1, 4); i > 0; --i) Bear();
    for (uint64_t i = random_.Between(1, 12); i > 0 && !living_.empty(); --i) Greet();
    if (random_.OneIn(4'000)) BearMany();
    while (living_.size() > kLivingMax) {
      const size_t which = random_.Below(living_.size());
      living_[which].ref.Stop();
      std::swap(living_[which], living_.back());
      living_.pop_back();
    }
    if (random_.OneIn(3) || Send(RefOf(this), Go{}) != Answer::kAccepted) {
      After(absl::Milliseconds(1), [this] { On(Go{}); });
    }
  }

 private:
  struct Child {
    Ref<Mortal> ref;
    uint64_t serial;
    Death death;
  };
  uint64_t NextSerial() { return (uint64_t{slot()->id} << 40) + ++serials_; }
  void Bear() {
    Child child{{}, NextSerial(), static_cast<Death>(random_.Below(kDeathCount))};
    SpawnOptions where;
    where.mailbox_messages_max = static_cast<uint32_t>(random_.Between(1, 4));
    where.worker = static_cast<int>(random_.Below(runtime().WorkerCount()));
    child.ref = SpawnWith<Mortal>(where, part_, child.serial, child.death,
                                  static_cast<int>(random_.Between(1, 5)), RefOf(this));
    // A monitor of an empty Ref gets a Down too. (The constructor threw, or actors_max was
    // reached.)
    MonitorId last = 0;
    for (uint64_t i = random_.Between(1, 2); i > 0; --i) {
      last = Monitor(child.ref);
      watched_.emplace(last, child);
      part_->monitors.Add();
    }
    if (random_.OneIn(8)) {  // Only this monitor: another Down is still due.
      Demonitor(last);
      watched_.erase(last);
      part_->demonitored.Add();
    }
    if (!child.ref) {
      part_->refused.Add();
      return;
    }
    living_.push_back(child);
  }
  void Greet() {
    const size_t which = random_.Below(living_.size());
    const Child child = living_[which];
    if (random_.OneIn(16)) {
      child.ref.Stop();
    } else if (Send(child.ref, Hello{child.serial}) != Answer::kClosed) {
      return;
    }
    std::swap(living_[which], living_.back());
    living_.pop_back();
  }
  void Bury(const Child& child) {
    if (!buried_.insert(child.serial).second) return;
    graves_.push_back(child);
    if (graves_.size() <= kGravesMax) return;
    buried_.erase(graves_.front().serial);
    graves_.pop_front();
  }
  // Called first in a handler: while the outbox holds a message, Send queues all later ones behind
  // it, also those to a dead actor, and counts them as dropped later. Send does the same if the
  // lane is full. Send checks room and memory before the target's word, so a lack of them may be
  // its answer.
  void VisitGraves() {
    for (int i = 0; i < 8 && !graves_.empty(); ++i) {
      const Child& child = graves_[random_.Below(graves_.size())];
      const bool sends = random_.OneIn(2);
      const Answer answer =
          sends ? Send(child.ref, Hello{child.serial}) : child.ref.TrySend(Hello{child.serial});
      part_->closed.Add();
      const bool may_wait = sends && child.ref.slot()->worker != &worker();
      if (answer != Answer::kAccepted) continue;
      if (!may_wait) laws_.Broken("L8", "a message to a dead actor was accepted");
      return;
    }
  }
  // Perhaps until actors_max: then each spawn is refused, and nothing else happens.
  void BearMany() {
    for (int i = 0; i < kBurst; ++i) {
      const Ref<Mortal> child = Spawn<Mortal>(part_, NextSerial(), Death::kWaitsForParent, 1,
                                              Recipient<LastWord>(RefOf(this)));
      if (child) {
        child.Stop();
      } else {
        part_->refused.Add();
      }
    }
  }

  SpawnsPart* const part_;
  Laws& laws_;
  Random random_;
  HandlerWatch::State watch_;
  uint64_t serials_ = 0;
  bool stopped_ = false;
  bool told_ = false;
  std::vector<Child> living_;
  absl::flat_hash_map<MonitorId, Child> watched_;
  std::deque<Child> graves_;
  absl::flat_hash_set<uint64_t> buried_;
};

void SpawnsPart::Prepare() {
  Random random(stress.seed + 1);
  nurseries_ = kNurseriesPerWorker * stress.runtime.WorkerCount();
  for (int64_t i = 0; i < nurseries_; ++i) {
    SpawnOptions where;
    where.mailbox_messages_max = 32;
    where.worker = static_cast<int>(i) % stress.runtime.WorkerCount();
    stress.runtime.SpawnWith<Nursery>(where, this, random());
  }
}

bool SpawnsPart::Done() {
  return nurseries_done.Get() == nurseries_ && constructed.Get() == destroyed.Get();
}

std::string SpawnsPart::State() {
  return absl::StrCat(nurseries_done.Get(), " of ", nurseries_, " parents have stopped; born ",
                      constructed.Get(), ", ended ", destroyed.Get(), "; monitors ", monitors.Get(),
                      ", taken back ", demonitored.Get(), ", Downs ", downs.Get());
}

void SpawnsPart::CheckDone() {
  if (monitors.Get() != downs.Get() + demonitored.Get()) {
    stress.laws.Broken("L8", absl::StrCat("of ", monitors.Get(), " monitors ", demonitored.Get(),
                                          " were taken back and ", downs.Get(), " got Down"));
  }
  if (constructed.Get() != destroyed.Get()) {
    stress.laws.Broken(
        "L8", absl::StrCat("of ", constructed.Get(), " actors ", destroyed.Get(), " have ended"));
  }
}

std::vector<Rate> SpawnsPart::Rates() const {
  return {{"spawns", constructed.Get()},
          {"refused or unborn", refused.Get()},
          {"Downs", downs.Get()},
          {"last words", last_words.Get()},
          {"messages to the dead", closed.Get()}};
}

}  // namespace sluice::stress
