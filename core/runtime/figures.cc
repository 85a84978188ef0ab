// A running runtime's figures: the ledger and the dump. A worker's figures belong to its thread, so
// other threads ask by a message. A wait for the answers needs no descriptor, as none may be left;
// a handler does not wait at all.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "sluice/core/actor/blocking_pool.h"
#include "sluice/core/runtime/names.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/core/slot/actor_base.h"
#include "sluice/core/slot/actor_extra.h"
#include "sluice/core/slot/coroutine.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

constexpr int64_t kAnswersNs = 1'000'000'000;
// A worker that is held answers no question; at most this many wait for it.
constexpr int kQuestionsMax = 64;

// Appends "ledger: a; b" as two lines, each with its subject.
void AppendFacts(std::string* text, const std::string& report) {
  const std::vector<std::string> facts = absl::StrSplit(report, "; ");
  const std::string subject = facts[0].substr(0, facts[0].find(':'));
  for (size_t i = 0; i < facts.size(); ++i) {
    absl::StrAppend(text, i == 0 ? "" : absl::StrCat(subject, ": "), facts[i], "\n");
  }
}

}  // namespace

Runtime::Figures Runtime::FiguresOf(Worker& worker, bool with_text) {
  Figures figures;
  figures.ledger = worker.ledger();
  figures.ledger_ns = worker.NowNs();
  if (with_text) {
    figures.text = worker.Dump();
    figures.text_ns = worker.NowNs();
  }
  return figures;
}

// On the worker's thread, for handlers of other workers.
void Runtime::TellFigures(Worker& worker, bool with_text) {
  Figures figures = FiguresOf(worker, with_text);
  LastFigures& last = *last_figures_[static_cast<size_t>(worker.Index())];
  std::lock_guard<std::mutex> lock(last.lock);
  (with_text ? last.text_asked : last.ledger_asked) = false;
  if (!with_text) {
    figures.text = std::move(last.figures.text);
    figures.text_ns = last.figures.text_ns;
  }
  last.figures = std::move(figures);
}

std::vector<Runtime::Figures> Runtime::CollectFigures(bool with_text) {
  if (!shared_.turning.load(std::memory_order_acquire)) {
    std::vector<Figures> figures;
    for (const auto& worker : workers_) figures.push_back(FiguresOf(*worker, with_text));
    return figures;
  }
  Worker* const here = Worker::Current();
  if (here != nullptr) return LastFiguresFor(*here, with_text);
  return WaitForFigures(*AskForFigures(with_text));
}

// For a handler. If `here` belongs to another runtime, all workers are others.
std::vector<Runtime::Figures> Runtime::LastFiguresFor(Worker& here, bool with_text) {
  std::vector<Figures> figures;
  for (const auto& worker : workers_) {
    if (worker.get() == &here) {
      figures.push_back(FiguresOf(here, with_text));
      continue;
    }
    LastFigures& last = *last_figures_[static_cast<size_t>(worker->Index())];
    bool asked;
    {
      std::lock_guard<std::mutex> lock(last.lock);
      figures.push_back(last.figures);
      asked = std::exchange(with_text ? last.text_asked : last.ledger_asked, true);
    }
    if (asked) continue;
    Call(worker->Index(), [this, with_text](Worker& at) { TellFigures(at, with_text); });
  }
  return figures;
}

std::shared_ptr<Runtime::AskedFigures> Runtime::AskForFigures(bool with_text) {
  auto asked = std::make_shared<AskedFigures>();
  asked->figures.resize(workers_.size());
  asked->missing = WorkerCount();
  asked->deadline_ns = os_.NowNs() + kAnswersNs;
  for (int i = 0; i < WorkerCount(); ++i) {
    LastFigures& last = *last_figures_[static_cast<size_t>(i)];
    {
      std::lock_guard<std::mutex> lock(last.lock);
      if (last.questions == kQuestionsMax) continue;
      ++last.questions;
    }
    Call(i, [asked, &last, with_text](Worker& worker) {
      Figures figures = FiguresOf(worker, with_text);
      {
        std::lock_guard<std::mutex> lock(last.lock);
        --last.questions;
      }
      std::lock_guard<std::mutex> lock(asked->lock);
      asked->figures[static_cast<size_t>(worker.Index())] = std::move(figures);
      if (--asked->missing == 0) worker.os().NotifyOne(asked->all_in);
    });
  }
  return asked;
}

bool Runtime::HasFigures(AskedFigures& asked) {
  if (os_.NowNs() >= asked.deadline_ns) return true;
  std::lock_guard<std::mutex> lock(asked.lock);
  return asked.missing == 0;
}

std::vector<Runtime::Figures> Runtime::WaitForFigures(AskedFigures& asked) {
  for (;;) {
    const int64_t left_ns = asked.deadline_ns - os_.NowNs();
    std::unique_lock<std::mutex> lock(asked.lock);
    if (asked.missing == 0 || left_ns <= 0) return asked.figures;
    os_.WaitFor(asked.all_in, lock, left_ns);
  }
}

Ledger Runtime::SumOf(const std::vector<Figures>& figures) const {
  Ledger total;
  for (const Figures& of : figures) total += of.ledger;
  total.sent += shared_.outside_sent.load(std::memory_order_relaxed);
  total.reserved_sent += shared_.outside_reserved.load(std::memory_order_relaxed);
  total.spawn_refused += shared_.placed_refused.load(std::memory_order_relaxed);
  return total;
}

Ledger Runtime::TotalLedger() { return SumOf(CollectFigures(/*with_text=*/false)); }

std::string Runtime::Dump() { return DumpOf(CollectFigures(/*with_text=*/true)); }

std::string Runtime::DumpOf(const std::vector<Figures>& figures) {
  const Worker* const here =
      shared_.turning.load(std::memory_order_acquire) ? Worker::Current() : nullptr;
  const Ledger ledger = SumOf(figures);
  std::string text = absl::StrFormat(
      "sluice: up %s\n", absl::FormatDuration(absl::Trunc(absl::Nanoseconds(os_.NowNs() - made_ns_),
                                                          absl::Seconds(1))));
  for (const std::string& address : Listening()) {
    absl::StrAppend(&text, "listening on ", address, "\n");
  }
  absl::StrAppendFormat(&text,
                        "workers: %d\n"
                        "actors: %d of %d\n"
                        "names: %d of %d\n"
                        "memory: %d of %d bytes used\n"
                        "connections: at most %d for each listener\n"
                        "descriptors: at most %d for the process\n",
                        options_.workers, ActorCount(), options_.actors_max, names_->Count(),
                        options_.names_max, shared_.budget->UsedBytes(), shared_.budget->BytesMax(),
                        options_.max_connections, os_.DescriptorsMax());
  for (const auto& worker : workers_) {
    const Figures& of = figures[static_cast<size_t>(worker->Index())];
    if (here != nullptr && here != worker.get() && !of.text.empty()) {
      absl::StrAppendFormat(
          &text, "%d ms ago: ", std::max<int64_t>(here->NowNs() - of.text_ns, 0) / 1'000'000);
    }
    absl::StrAppend(
        &text,
        !of.text.empty() ? of.text
        : here != nullptr
            ? absl::StrCat("worker ", worker->Index(), ": has not reported yet\n")
            : absl::StrCat("worker ", worker->Index(), ": no answer within 1 s; it is held by ",
                           worker->Running().Text(), "\n"));
  }
  AppendFacts(&text, ledger.ToString());
  for (const std::string& report : Reports()) AppendFacts(&text, report);
  return text + RatesSinceDump(ledger);
}

std::string Runtime::RatesSinceDump(const Ledger& ledger) {
  const int64_t now_ns = os_.NowNs();  // Not under the lock: a simulation may switch fibers here.
  const std::lock_guard<std::mutex> lock(dumped_lock_);
  const int64_t past_ns = std::max<int64_t>(now_ns - std::exchange(dumped_ns_, now_ns), 1);
  const int64_t delivered = ledger.delivered - std::exchange(dumped_delivered_, ledger.delivered);
  std::string text = absl::StrFormat(
      "rates: of the last %s\n"
      "rates: %.1f messages handled a second\n",
      absl::FormatDuration(absl::Trunc(absl::Nanoseconds(past_ns), absl::Milliseconds(1))),
      std::max<int64_t>(delivered, 0) * 1e9 / past_ns);
  std::lock_guard<std::mutex> attachments(attachments_lock_);
  for (auto& rates : rates_) absl::StrAppend(&text, rates(past_ns));
  return text;
}

std::vector<std::string> Runtime::Reports() {
  std::lock_guard<std::mutex> lock(attachments_lock_);
  std::vector<std::string> texts;
  for (auto& report : reports_) texts.push_back(report());
  if (blocking_->Counts().submitted > 0) texts.push_back(blocking_->Report());
  return texts;
}

std::string Worker::Dump() {
  std::string text = absl::StrFormat(
      "worker %d: %d actors, %d descriptors, %d timers, %d bytes of memory leased, %s\n", Index(),
      desk_.actor_count, descriptors_.Count(), desk_.timers.Count(), desk_.lease.LeftBytes(),
      memory_.ReadingPaused() ? "reading paused" : "reading");
  int parked = 0;
  shared().slots.ForEach(this, [&](Slot* slot) {
    if (!slot->parked) return;
    // A dump of ten thousand parked actors helps nobody; their number does.
    if (++parked > 100) return;
    const Outbox& outbox = slot->extra->outbox;
    const Slot* target = outbox.list.Front()->target;
    Worker* const of = target->worker;
    // A name belongs to the actor's worker, so actors of other workers appear by number. Another
    // runtime's actor has not even that: its slot and its worker may belong to the next runtime by
    // now.
    const bool ours = of == this && target->generation == outbox.list.Front()->generation;
    const std::string target_name =
        ours                ? absl::StrCat(NameOfActor(target), " on worker ", Index())
        : !desk_.IsOurs(of) ? "an actor of another runtime"
                            : absl::StrCat("actor#", target->id, " on worker ", of->Index());
    const char* why = outbox.waits_for_lane     ? "room in the lane to "
                      : outbox.waits_for_memory ? "memory to send to "
                                                : "credits of ";
    absl::StrAppendFormat(&text, "  %s parked for %d ms with %d messages, waits for %s%s\n",
                          NameOfActor(slot), NowMs() - outbox.parked_since_ms, outbox.count, why,
                          target_name);
  });
  if (parked > 100) absl::StrAppendFormat(&text, "  and %d more parked actors\n", parked - 100);
  int holders = 0;
  shared().slots.ForEach(this, [&](Slot* slot) {
    if (!slot->MessagesHeld() || ++holders > 100) return;
    absl::StrAppendFormat(&text, "  %s %s\n", NameOfActor(slot), MailHolds::Text(slot, NowMs()));
  });
  if (holders > 100) absl::StrAppendFormat(&text, "  and %d more hold their mail\n", holders - 100);
  int tasks = 0;
  shared().slots.ForEach(this, [&](Slot* slot) {
    const auto tell = [&](const Coroutines* of) {
      if (of == nullptr) return;
      for (Coroutine* task = of->Front(); task != nullptr; task = of->Next(*task)) {
        if (++tasks > 100) continue;
        absl::StrAppendFormat(&text, "  a task of %s %s\n", NameOfActor(slot), task->Text(NowMs()));
      }
    };
    tell(slot->actor == nullptr ? nullptr : slot->actor->Tasks());
    tell(slot->extra == nullptr ? nullptr : &slot->extra->tasks);
  });
  if (tasks > 100) absl::StrAppendFormat(&text, "  and %d more tasks\n", tasks - 100);
  constexpr size_t kHoldersShown = 5;
  for (const MemoryHolder& holder : memory_.TopHolders(kHoldersShown)) {
    absl::StrAppend(&text, "  holds most: ", holder.Text(), "\n");
  }
  return text;
}

}  // namespace sluice
