// Client is a peer that is not Sluice: one raw non-blocking socket, and what it does with it.
// ClientLoop runs many of them on a thread of its own, with its own epoll.
//
// Owner:  the loop owns its clients; a part owns the loop.
// Thread: the loop's, but for what ClientLoop marks.
// Bound:  clients_max at once; each lives some seconds at most.
#ifndef SLUICE_TESTS_STRESS_CLIENT_H_
#define SLUICE_TESTS_STRESS_CLIENT_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "sluice/tests/stress/part.h"

namespace sluice::stress {

int64_t SteadyMs();

class Client {
 public:
  explicit Client(uint64_t seed) : random_(seed) {}
  virtual ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // False: no descriptor, no port. Nothing has begun then.
  bool Connect(uint16_t port, int poller);
  virtual uint16_t Port() const = 0;
  virtual int ReceiveBufferBytes() const { return 0; }  // 0: the kernel's.
  // The socket is ready, or the time has come that WakeAt() named.
  virtual void Step(int64_t now_ms) = 0;
  bool Ended() const { return fd_ < 0; }
  // The run waits for it: it must have all its bytes before the drain.
  virtual bool MustFinish() const { return false; }
  int64_t WakeAtMs() const { return wake_at_ms_; }
  int64_t BornMs() const { return born_ms_; }
  bool connect_told = false;  // That it is connected, or never will be.

 protected:
  enum class Got : uint8_t { kBytes, kNothing, kEnd, kReset };
  // At most `most` bytes, into a buffer that all clients of a thread share.
  Got Receive(std::string_view* bytes, size_t most = SIZE_MAX);
  size_t Send(std::string_view bytes);  // What went; 0 where nothing can go now, or ever.
  bool Connected();                     // The handshake is over, well.
  void HalfClose();
  void Leave();  // close(): a FIN, or the kernel's reset where bytes were unread.
  void Reset();
  void WakeAt(int64_t ms) { wake_at_ms_ = ms; }

  Random random_;

 private:
  int fd_ = -1;
  int64_t wake_at_ms_ = INT64_MAX;
  int64_t born_ms_ = 0;
};

class ClientLoop {
 public:
  using Make = std::function<std::unique_ptr<Client>(Random&)>;

  ClientLoop(Stress& stress, uint64_t seed, int clients_max, Make make);
  ~ClientLoop();
  void Start();  // Any thread.
  // After Stress::stopping: no client is left that must finish. Any thread.
  bool Quiet() const { return quiet_.load(std::memory_order_acquire); }
  // Ends what is left, once it was given its time, and the thread. Any thread.
  void Finish();
  int64_t Made() const { return made_.Get(); }
  int64_t NotMade() const { return not_made_.Get(); }

 private:
  struct Place {
    std::unique_ptr<Client> client;
    int64_t not_before_ms = 0;
  };
  void Run();
  void Fill(Place& place, int64_t now_ms);

  Stress& stress_;
  Random random_;
  const Make make_;
  int poller_ = -1;
  std::vector<Place> places_;
  Count made_, not_made_;
  std::atomic<bool> quiet_{false};      // Release by the loop: what its clients counted is there.
  std::atomic<bool> finishing_{false};  // Relaxed.
  std::thread thread_;
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_CLIENT_H_
