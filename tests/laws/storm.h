// A storm: streams of numbered items from sources through relays to sinks, over mailboxes as small
// as a test likes. A stream has one path, so its items must arrive in the order sent, whichever
// actor parked on the way.
#ifndef SLUICE_TESTS_LAWS_STORM_H_
#define SLUICE_TESTS_LAWS_STORM_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"

namespace sluice::testing {

// Counts of all actors of a storm; atomics, as the actors run on several workers.
struct Report {
  std::atomic<int64_t> accepted{0};
  std::atomic<int64_t> refused{0};
  std::atomic<int64_t> received{0};
  std::atomic<int64_t> out_of_order{0};
  std::atomic<int64_t> overlaps{0};
  std::atomic<int64_t> strays{0};  // Handlers that ran on another thread than their actor's worker.
  std::atomic<int64_t> over_bound{0};
  std::atomic<int64_t> sources_done{0};
};

// Lives as long as one handler runs: finds overlaps, strays, and mailboxes past their capacity.
class HandlerWatch {
 public:
  HandlerWatch(std::atomic<bool>& busy, Actor& actor, Slot* slot, Report& report) : busy_(busy) {
    if (busy_.exchange(true)) ++report.overlaps;
    if (Worker::Current() != slot->worker) ++report.strays;
    if (slot->mailbox.Held() > slot->mailbox.Capacity()) ++report.over_bound;
    (void)actor;
  }
  ~HandlerWatch() { busy_ = false; }

 private:
  std::atomic<bool>& busy_;
};

struct Item {
  uint32_t stream;
  uint32_t number;
};
struct Go {};

class Sink : public Actor {
 public:
  Sink(Report* report, int streams) : report_(report), next_(streams, 0) {}
  void On(Item item) {
    HandlerWatch watch(busy_, *this, slot(), *report_);
    if (item.number != next_[item.stream]++) ++report_->out_of_order;
    ++report_->received;
  }

 private:
  Report* report_;
  std::vector<uint32_t> next_;
  std::atomic<bool> busy_{false};
};

class Relay : public Actor {
 public:
  Relay(Report* report, std::vector<Recipient<Item>> next)
      : report_(report), next_(std::move(next)) {}
  void On(Item item) {
    HandlerWatch watch(busy_, *this, slot(), *report_);
    if (Send(next_[item.stream % next_.size()], item) != Answer::kAccepted) ++report_->refused;
  }

 private:
  Report* report_;
  std::vector<Recipient<Item>> next_;
  std::atomic<bool> busy_{false};
};

// Sends `items` items on each of its streams, `burst` of each stream in one handler.
class Source : public Actor {
 public:
  Source(Report* report, std::vector<Recipient<Item>> next, uint32_t first_stream, uint32_t streams,
         uint32_t items, uint32_t burst)
      : report_(report),
        next_(std::move(next)),
        first_(first_stream),
        streams_(streams),
        items_(items),
        burst_(burst) {}
  void OnStart() override { On(Go{}); }
  void On(Go) {
    HandlerWatch watch(busy_, *this, slot(), *report_);
    for (uint32_t i = 0; i < burst_ && sent_ < items_; ++i, ++sent_) {
      for (uint32_t s = 0; s < streams_; ++s) {
        const uint32_t stream = first_ + s;
        if (Send(next_[stream % next_.size()], Item{stream, sent_}) == Answer::kAccepted) {
          ++report_->accepted;
        } else {
          ++report_->refused;
        }
      }
    }
    if (sent_ == items_) {
      ++report_->sources_done;
    } else if (Send(RefOf(this), Go{}) != Answer::kAccepted) {
      ++report_->refused;
    }
  }

 private:
  Report* report_;
  std::vector<Recipient<Item>> next_;
  const uint32_t first_;
  const uint32_t streams_;
  const uint32_t items_;
  const uint32_t burst_;
  uint32_t sent_ = 0;
  std::atomic<bool> busy_{false};
};

struct StormPlan {
  uint32_t mailbox_messages_max = 16;
  int levels = 2;  // Levels of relays.
  int width = 4;   // Actors in each level, and sinks.
  int sources = 4;
  uint32_t streams = 4;    // Streams of each source.
  uint32_t items = 1'000;  // Items of each stream.
  uint32_t burst = 8;
  uint32_t ItemsInAll() const { return static_cast<uint32_t>(sources) * streams * items; }
};

// Neighbours in the chain live on different workers wherever there is more than one.
inline void StartStorm(Runtime& runtime, const StormPlan& plan, Report& report) {
  const int workers = runtime.WorkerCount();
  const int stream_count = plan.sources * static_cast<int>(plan.streams);
  std::vector<Recipient<Item>> next;
  for (int i = 0; i < plan.width; ++i) {
    SpawnOptions where{
        .name = "", .mailbox_messages_max = plan.mailbox_messages_max, .worker = i % workers};
    next.push_back(runtime.SpawnWith<Sink>(where, &report, stream_count));
  }
  for (int level = 0; level < plan.levels; ++level) {
    std::vector<Recipient<Item>> relays;
    for (int i = 0; i < plan.width; ++i) {
      SpawnOptions where{.name = "",
                         .mailbox_messages_max = plan.mailbox_messages_max,
                         .worker = (i + level + 1) % workers};
      relays.push_back(runtime.SpawnWith<Relay>(where, &report, next));
    }
    next = std::move(relays);
  }
  for (int i = 0; i < plan.sources; ++i) {
    SpawnOptions where{
        .name = "", .mailbox_messages_max = plan.mailbox_messages_max, .worker = i % workers};
    runtime.SpawnWith<Source>(where, &report, next, static_cast<uint32_t>(i) * plan.streams,
                              plan.streams, plan.items, plan.burst);
  }
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_LAWS_STORM_H_
