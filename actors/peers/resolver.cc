#include "sluice/actors/peers/resolver.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "absl/strings/str_format.h"
#include "sluice/actors/connection/connection_ledger.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

// An attachment of the runtime: its resolver, and the totals of the questions.
class LookUps {
 public:
  Ref<Resolver> Get(Runtime& runtime) {
    std::lock_guard<std::mutex> lock(lock_);
    if (!resolver_) {
      resolver_ = runtime.SpawnRestarting<Resolver>(
          RestartPolicy{},
          SpawnOptions{.name = "resolver", .mailbox_messages_max = 0, .worker = 0});
    }
    return resolver_;
  }
  std::string Report() const {
    return absl::StrFormat(
        "look-ups: asked for %d, run %d, dropped %d, as no asker waited any more", asked.Get(),
        run.Get(), dropped.Get());
  }
  // Written by the resolver's worker.
  ConnectionLedger::Counter asked, run, dropped;

 private:
  std::mutex lock_;  // Two workers may ask for the resolver at the same time.
  Ref<Resolver> resolver_;
};

LookUps& LookUpsOf(Runtime& runtime) { return runtime.Attachment<LookUps>(); }

}  // namespace

Ref<Resolver> Resolver::Of(Runtime& runtime) { return LookUpsOf(runtime).Get(runtime); }

LookUpTotals Resolver::TotalsOf(Runtime& runtime) {
  const LookUps& look_ups = LookUpsOf(runtime);
  return {look_ups.asked.Get(), look_ups.run.Get(), look_ups.dropped.Get()};
}

void Resolver::On(LookUp question, Promise<std::vector<Address>> promise) {
  LookUpsOf(runtime()).asked.Add(1);
  const std::string key = question.target.ToString();
  Name& name = names_.try_emplace(key, question.target).first->second;
  name.waiters.push_back({std::move(promise), question.deadline_ms, question.asker,
                          question.asker_generation, name.begun + 1});
  if (name.waiters.size() >= name.prune_from) Prune(name);
  if (NeedsAnother(name)) Queue(key, name);
}

bool Resolver::NeedsAnother(const Name& name) const {
  if (name.queued) return false;
  if (name.under_way.empty()) return true;
  SLUICE_PLANT(tied_to_hung_look_up, return false);
  // Not the age of the last look-up begun: that may be answered, while an older one hangs.
  const int64_t age_ms = worker().NowMs() - name.under_way.back().begun_ms;
  const int under_way_max = std::max(1, runtime().options().blocking_threads_max - 1);
  return age_ms >= absl::ToInt64Milliseconds(kYoung) &&
         static_cast<int>(name.under_way.size()) < under_way_max;
}

void Resolver::Queue(const std::string& key, Name& name) {
  name.queued = true;
  queue_.push_back(key);
  Begin();
}

void Resolver::Begin() {
  while (running_ < runtime().options().blocking_threads_max && !queue_.empty()) {
    const std::string key = std::move(queue_.front());
    queue_.pop_front();
    Name& name = names_.at(key);
    name.queued = false;
    Prune(name);
    if (name.waiters.empty()) {
      LookUpsOf(runtime()).dropped.Add(1);
      Forget(key);
      continue;
    }
    const uint64_t number = name.begun + 1;
    const Answer asked =
        RunBlocking([target = name.target, &os = runtime().os()] { return target.LookUp(os); },
                    [this, key, number](absl::StatusOr<std::vector<Address>> addresses) {
                      --running_;
                      Finished(key, number, std::move(addresses));
                      Begin();
                    });
    if (asked != Answer::kAccepted) {
      std::vector<Waiter> waiters = std::exchange(name.waiters, {});
      Forget(key);
      for (Waiter& waiter : waiters) {
        waiter.promise.Fail(absl::UnavailableError(
            "the look-up is refused: too much is under way, or the runtime ends"));
      }
      continue;
    }
    LookUpsOf(runtime()).run.Add(1);
    name.begun = number;
    name.under_way.push_back({number, worker().NowMs()});
    ++running_;
  }
}

void Resolver::Finished(const std::string& key, uint64_t number,
                        absl::StatusOr<std::vector<Address>> addresses) {
  Name& name = names_.at(key);
  std::erase_if(name.under_way, [number](const UnderWay& one) { return one.number == number; });
  if (addresses.ok()) {
    for (Waiter& waiter : std::exchange(name.waiters, {})) waiter.promise.Resolve(*addresses);
  } else if (!name.queued) {
    // A waiter's own look-ups are those that began after its question. If one of them is still
    // under way, it may succeed; if none has begun, this error does not count. Otherwise the waiter
    // fails now: an older look-up that hangs would only delay the error.
    const auto over = std::stable_partition(
        name.waiters.begin(), name.waiters.end(), [&name](const Waiter& waiter) {
          return waiter.first > name.begun ||
                 (!name.under_way.empty() && name.under_way.back().number >= waiter.first);
        });
    for (auto waiter = over; waiter != name.waiters.end(); ++waiter) {
      waiter->promise.Fail(addresses.status());
    }
    name.waiters.erase(over, name.waiters.end());
    if (!name.waiters.empty() && name.waiters.back().first > name.begun && NeedsAnother(name)) {
      name.queued = true;
      queue_.push_back(key);
    }
  }
  Forget(key);
}

// Drops waiters without a live asker or past their deadline, and their promises: no asker notices
// that.
void Resolver::Prune(Name& name) {
  SLUICE_PLANT(look_ups_for_nobody, if (name.waiters.size() < name.prune_from) return);
  std::erase_if(name.waiters, [this](const Waiter& waiter) {
    return worker().NowMs() >= waiter.deadline_ms ||
           waiter.asker->mailbox.Word().Generation() != waiter.asker_generation;
  });
  name.prune_from = std::max<size_t>(64, 2 * name.waiters.size());
}

void Resolver::Forget(const std::string& key) {
  const auto found = names_.find(key);
  const Name& name = found->second;
  if (name.under_way.empty() && !name.queued && name.waiters.empty()) names_.erase(found);
}

}  // namespace sluice
