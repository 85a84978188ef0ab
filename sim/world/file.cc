#include "sluice/sim/world/file.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sluice/sim/world/simulation.h"

namespace sluice::sim {

File::~File() {
  while (watches_ != nullptr) watches_->poller->Drop(*watches_);
}

void File::Changed() {
  for (Watch* watch = watches_; watch != nullptr; watch = watch->next_of_file) {
    watch->poller->Queue(*watch);
  }
}

void File::TakeWatches(File& from) {
  watches_ = std::exchange(from.watches_, nullptr);
  for (Watch* watch = watches_; watch != nullptr; watch = watch->next_of_file) watch->file = this;
}

Poller::~Poller() {
  while (first_ != nullptr) Drop(*first_);
}

int Poller::Add(File& file, uint32_t events, uint64_t data) {
  for (Watch* watch = file.watches_; watch != nullptr; watch = watch->next_of_file) {
    if (watch->poller == this) return -EEXIST;
  }
  auto* watch = new Watch{.poller = this, .file = &file, .data = data, .events = events};
  watch->next_of_file = std::exchange(file.watches_, watch);
  watch->next = std::exchange(first_, watch);
  if (watch->next != nullptr) watch->next->previous = watch;
  ++watches_;
  if ((file.Ready() & (events | EPOLLERR | EPOLLHUP)) != 0) Queue(*watch);
  return 0;
}

int Poller::Remove(File& file) {
  for (Watch* watch = file.watches_; watch != nullptr; watch = watch->next_of_file) {
    if (watch->poller != this) continue;
    Drop(*watch);
    return 0;
  }
  return -ENOENT;
}

void Poller::Drop(Watch& watch) {
  if (watch.queued) Unqueue(watch);
  Watch** link = &watch.file->watches_;
  while (*link != &watch) link = &(*link)->next_of_file;
  *link = watch.next_of_file;
  (watch.previous != nullptr ? watch.previous->next : first_) = watch.next;
  if (watch.next != nullptr) watch.next->previous = watch.previous;
  --watches_;
  delete &watch;
}

void Poller::Queue(Watch& watch) {
  if (!watch.queued) {
    watch.queued = true;
    watch.next_ready = nullptr;
    watch.previous_ready = last_ready_;
    (last_ready_ != nullptr ? last_ready_->next_ready : first_ready_) = &watch;
    last_ready_ = &watch;
  }
  if (waiting != nullptr) simulation_.Wake(*waiting);
}

void Poller::Unqueue(Watch& watch) {
  (watch.previous_ready != nullptr ? watch.previous_ready->next_ready : first_ready_) =
      watch.next_ready;
  (watch.next_ready != nullptr ? watch.next_ready->previous_ready : last_ready_) =
      watch.previous_ready;
  watch.queued = false;
}

int Poller::Collect(epoll_event* events, int most) {
  int count = 0;
  Watch* const last = last_ready_;
  for (Watch* watch = first_ready_; watch != nullptr && count < most;) {
    Watch* const next = watch == last ? nullptr : watch->next_ready;
    Unqueue(*watch);
    const uint32_t ready = watch->file->Ready() & (watch->events | EPOLLERR | EPOLLHUP);
    if (ready != 0) {
      events[count].events = ready;
      events[count].data.u64 = watch->data;
      ++count;
      if ((watch->events & EPOLLET) == 0) Queue(*watch);
    }
    watch = next;
  }
  return count;
}

void Poller::Spurious() {
  if (watches_ == 0) return;
  Watch* watch = first_;
  for (uint64_t i =
           simulation_.random().Below(static_cast<uint64_t>(std::min<int64_t>(watches_, 64)));
       i > 0; --i) {
    watch = watch->next;
  }
  Queue(*watch);
}

}  // namespace sluice::sim
