// File is what a descriptor of a simulated machine stands for; Poller is an epoll instance that
// watches files. Both do what Linux's fs/eventpoll.c does: a change puts a watch on the poller's
// ready list, and a wait asks each of those what its file is ready for *now*. So one event may tell
// of several changes, or, where the change was undone, of none.
//
// Owner:  files: the machine's table, shared with what still refers to them. A watch: the poller.
// Thread: the simulation's.
// Bound:  one watch for each file and poller.
// Errors: values.
#ifndef SLUICE_SIM_WORLD_FILE_H_
#define SLUICE_SIM_WORLD_FILE_H_

#include <sys/epoll.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "sluice/core/base/language.h"

namespace sluice::sim {

class Poller;
class Simulation;
struct SimThread;

struct Watch;

class File {
 public:
  virtual ~File();
  virtual uint32_t Ready() = 0;  // EPOLLIN and its like, as of now.
  void Changed();                // Each poller that watches hears of it.
  virtual void Closed() {}       // The descriptor is gone; what refers to this may stay.
  void TakeWatches(File& from);  // The descriptor of `from` stands for this now.

 private:
  friend class Poller;
  Watch* watches_ = nullptr;
};

struct Watch {
  Poller* poller;
  File* file;
  uint64_t data;
  uint32_t events;
  bool queued = false;
  Watch* next_of_file = nullptr;
  Watch* previous = nullptr;  // Of the poller's.
  Watch* next = nullptr;
  Watch* previous_ready = nullptr;  // Of those that are ready.
  Watch* next_ready = nullptr;
};

class Poller : public File {
 public:
  explicit Poller(Simulation& simulation) : simulation_(simulation) {}
  ~Poller() override;
  uint32_t Ready() override { return first_ready_ != nullptr ? uint32_t{EPOLLIN} : 0; }

  int Add(File& file, uint32_t events, uint64_t data);
  int Remove(File& file);
  int Collect(epoll_event* events, int most);
  // Puts any one of its watches on the ready list.
  void Spurious();
  SimThread* waiting = nullptr;
  bool inside = false;  // A thread is in its wait,
  int timeout_ms = 0;   // for so long.

 private:
  friend class File;
  void Queue(Watch& watch);
  void Unqueue(Watch& watch);
  void Drop(Watch& watch);

  Simulation& simulation_;
  Watch* first_ = nullptr;
  Watch* first_ready_ = nullptr;
  Watch* last_ready_ = nullptr;
  int64_t watches_ = 0;
};

// An eventfd: a count that wakes.
class WakeFile : public File {
 public:
  uint32_t Ready() override { return (count > 0 ? EPOLLIN : 0u) | EPOLLOUT; }
  uint64_t count = 0;
};

// A signalfd.
class SignalFile : public File {
 public:
  uint32_t Ready() override { return pending.empty() ? 0u : uint32_t{EPOLLIN}; }
  std::vector<int> signals;
  std::vector<int> pending;
};

// What is set on a socket; a connection that is accepted inherits it.
struct SocketOptions {
  bool keepalive = false;
  bool linger_at_once = false;  // SO_LINGER with 0: closing it resets.
  bool ip6_only = false;
  int keepalive_idle_s = 7'200;
  int keepalive_interval_s = 75;
  int keepalive_count = 9;
  int user_timeout_ms = 0;
  int retransmit_ms_max = 0;  // TCP_RTO_MAX_MS; 0: two minutes.
  int send_bytes = 0;         // As SO_SNDBUF set them, doubled; 0: the network's own.
  int receive_bytes = 0;
};

// A socket that neither listens nor is connected, yet.
class Socket : public File {
 public:
  explicit Socket(int family_of) : family(family_of) {}
  uint32_t Ready() override { return EPOLLOUT | EPOLLHUP; }
  const int family;
  SocketOptions options;
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_WORLD_FILE_H_
