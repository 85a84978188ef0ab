#include "sluice/actors/resolver.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "absl/strings/str_format.h"
#include "sluice/actors/connection_ledger.h"
#include "sluice/core/plant.h"
#include "sluice/core/runtime.h"
#include "sluice/core/worker.h"

namespace sluice {

namespace {

// An attachment of the runtime: its resolver, and what became of the questions.
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
    return absl::StrFormat("look-ups: asked for %d, run %d, of those nobody waited for dropped %d",
                           asked.Get(), run.Get(), dropped.Get());
  }
  // The resolver's worker writes.
  ConnectionLedger::Counter asked, run, dropped;

 private:
  std::mutex lock_;  // Two workers may ask for the first one.
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
  const int running_max = std::max(1, runtime().options().blocking_threads_max - 1);
  const bool young = worker().NowMs() - name.begun_ms < absl::ToInt64Milliseconds(kYoung);
  if (!name.queued && (name.running == 0 || (!young && name.running < running_max))) {
    Queue(key, name);
  }
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
    if (!Planted(Plant::kLookUpsForNobody)) Prune(name);
    if (name.waiters.empty()) {
      LookUpsOf(runtime()).dropped.Add(1);
      Forget(key);
      continue;
    }
    const Answer asked =
        RunBlocking([target = name.target, &os = runtime().os()] { return target.LookUp(os); },
                    [this, key](absl::StatusOr<std::vector<Address>> addresses) {
                      --running_;
                      Finished(key, std::move(addresses));
                      Begin();
                    });
    if (asked != Answer::kAccepted) {
      std::vector<Waiter> waiters = std::exchange(name.waiters, {});
      Forget(key);
      for (Waiter& waiter : waiters) {
        waiter.promise.Fail(absl::UnavailableError(
            "it cannot be looked up: too much is under way, or the runtime ends"));
      }
      continue;
    }
    LookUpsOf(runtime()).run.Add(1);
    ++name.begun;
    name.begun_ms = worker().NowMs();
    ++name.running;
    ++running_;
  }
}

void Resolver::Finished(const std::string& key, absl::StatusOr<std::vector<Address>> addresses) {
  Name& name = names_.at(key);
  --name.running;
  if (addresses.ok()) {
    for (Waiter& waiter : std::exchange(name.waiters, {})) waiter.promise.Resolve(*addresses);
  } else if (name.running == 0 && !name.queued) {
    // Another one that is under way may still know. Who came behind the beginning of the last one
    // has not had a look-up of its own.
    const auto later =
        std::stable_partition(name.waiters.begin(), name.waiters.end(),
                              [&name](const Waiter& waiter) { return waiter.first <= name.begun; });
    for (auto waiter = name.waiters.begin(); waiter != later; ++waiter) {
      waiter->promise.Fail(addresses.status());
    }
    name.waiters.erase(name.waiters.begin(), later);
    if (!name.waiters.empty()) {
      name.queued = true;
      queue_.push_back(key);
    }
  }
  Forget(key);
}

// Their promises are dropped: nobody hears that.
void Resolver::Prune(Name& name) {
  std::erase_if(name.waiters, [this](const Waiter& waiter) {
    return worker().NowMs() >= waiter.deadline_ms ||
           waiter.asker->mailbox.Word().Generation() != waiter.asker_generation;
  });
  name.prune_from = std::max<size_t>(64, 2 * name.waiters.size());
}

void Resolver::Forget(const std::string& key) {
  const auto found = names_.find(key);
  const Name& name = found->second;
  if (name.running == 0 && !name.queued && name.waiters.empty()) names_.erase(found);
}

}  // namespace sluice
