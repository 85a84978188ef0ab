// What a runtime says of itself while it runs: the ledger and the dump. A worker's figures belong
// to its thread, so they are asked for by a message; a wait for the answers needs no descriptor, as
// there may be none left, and a handler does not wait at all.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/core/blocking_pool.h"
#include "sluice/core/runtime.h"
#include "sluice/core/worker.h"

namespace sluice {

namespace {

constexpr int64_t kAnswersNs = 1'000'000'000;
// A worker that is held answers none. More than so many are not sent after it.
constexpr int kQuestionsMax = 64;

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

// On the worker's thread, for handlers of the others.
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
  if (!turning_.load(std::memory_order_acquire)) {
    std::vector<Figures> figures;
    for (const auto& worker : workers_) figures.push_back(FiguresOf(*worker, with_text));
    return figures;
  }
  Worker* const here = Worker::Current();
  return here != nullptr ? LastFiguresFor(*here, with_text) : AskForFigures(with_text);
}

// For a handler. It may be of another runtime: then all workers are others.
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

std::vector<Runtime::Figures> Runtime::AskForFigures(bool with_text) {
  // Shared: a worker that is held may answer after this call has given up.
  struct Answers {
    std::mutex lock;
    std::condition_variable all_in;
    std::vector<Figures> figures;
    int missing = 0;
  };
  auto answers = std::make_shared<Answers>();
  answers->figures.resize(workers_.size());
  answers->missing = WorkerCount();
  for (int i = 0; i < WorkerCount(); ++i) {
    LastFigures& last = *last_figures_[static_cast<size_t>(i)];
    {
      std::lock_guard<std::mutex> lock(last.lock);
      if (last.questions == kQuestionsMax) continue;
      ++last.questions;
    }
    Call(i, [answers, &last, with_text](Worker& worker) {
      Figures figures = FiguresOf(worker, with_text);
      {
        std::lock_guard<std::mutex> lock(last.lock);
        --last.questions;
      }
      std::lock_guard<std::mutex> lock(answers->lock);
      answers->figures[static_cast<size_t>(worker.Index())] = std::move(figures);
      if (--answers->missing == 0) worker.os().NotifyOne(answers->all_in);
    });
  }
  const int64_t deadline_ns = os_.NowNs() + kAnswersNs;
  for (;;) {
    const int64_t left_ns = deadline_ns - os_.NowNs();
    std::unique_lock<std::mutex> lock(answers->lock);
    if (answers->missing == 0 || left_ns <= 0) return answers->figures;
    os_.WaitFor(answers->all_in, lock, left_ns);
  }
}

Ledger Runtime::SumOf(const std::vector<Figures>& figures) const {
  Ledger total;
  for (const Figures& of : figures) total += of.ledger;
  total.sent += outside_sent_.load(std::memory_order_relaxed);
  total.reserved_sent += outside_reserved_.load(std::memory_order_relaxed);
  total.spawn_refused += placed_refused_.load(std::memory_order_relaxed);
  return total;
}

Ledger Runtime::TotalLedger() { return SumOf(CollectFigures(/*with_text=*/false)); }

std::string Runtime::Dump() {
  const std::vector<Figures> figures = CollectFigures(/*with_text=*/true);
  const Worker* const here = turning_.load(std::memory_order_acquire) ? Worker::Current() : nullptr;
  std::string text =
      absl::StrFormat("sluice: %d workers, %d actors, %d of %d bytes of memory used\n",
                      options_.workers, ActorCount(), budget_->UsedBytes(), budget_->BytesMax());
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
            ? absl::StrCat("worker ", worker->Index(), ": has told nothing yet\n")
            : absl::StrCat("worker ", worker->Index(), ": no answer within 1 s; it is held by ",
                           worker->Running().Text(), "\n"));
  }
  absl::StrAppend(&text, SumOf(figures).ToString(), "\n");
  for (const std::string& report : Reports()) absl::StrAppend(&text, report, "\n");
  return text;
}

std::vector<std::string> Runtime::Reports() {
  std::lock_guard<std::mutex> lock(attachments_lock_);
  std::vector<std::string> texts;
  for (auto& report : reports_) texts.push_back(report());
  if (blocking_->Counts().submitted > 0) texts.push_back(blocking_->Report());
  return texts;
}

}  // namespace sluice
