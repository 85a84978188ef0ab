// File is the object behind a descriptor of a simulated machine; Poller is an epoll instance that
// watches files. Both do what Linux's fs/eventpoll.c does: a change puts a watch on the poller's
// ready list, and a wait asks each listed file what it is ready for *now*. So one event may stand
// for several changes, or for none if a change was undone.
//
// Owner:  a file: the machine's table, shared with other holders of a reference. A watch: the
//         poller.
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
  virtual uint32_t Ready() = 0;  // EPOLLIN and so on, as of now.
  void Changed();                // Notifies each poller that watches this file.
  virtual void Closed() {}       // The descriptor is closed; references may stay.
  void TakeWatches(File& from);  // The descriptor of `from` now means this file.

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
  Watch* previous = nullptr;  // In the poller's list of watches.
  Watch* next = nullptr;
  Watch* previous_ready = nullptr;  // In the poller's ready list.
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
  // Puts a random watch on the ready list.
  void Spurious();
  SimThread* waiting = nullptr;
  bool inside = false;  // A thread is in PollerWait,
  int timeout_ms = 0;   // with this timeout.

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

// An eventfd: a counter that wakes.
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

// Options of a socket; an accepted connection inherits the listener's.
struct SocketOptions {
  bool keepalive = false;
  bool linger_at_once = false;  // SO_LINGER with 0: close() sends RST.
  bool ip6_only = false;
  int keepalive_idle_s = 7'200;
  int keepalive_interval_s = 75;
  int keepalive_count = 9;
  int user_timeout_ms = 0;
  int retransmit_ms_max = 0;  // TCP_RTO_MAX_MS; 0: two minutes.
  int send_bytes = 0;         // As SO_SNDBUF set it, doubled; 0: the Link chooses.
  int receive_bytes = 0;
};

// A socket that neither listens nor is connected yet.
class Socket : public File {
 public:
  explicit Socket(int family_of) : family(family_of) {}
  uint32_t Ready() override { return EPOLLOUT | EPOLLHUP; }
  const int family;
  SocketOptions options;
};

}  // namespace sluice::sim

#endif  // SLUICE_SIM_WORLD_FILE_H_
