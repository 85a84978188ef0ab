// Client is a peer that is not Sluice: one raw non-blocking socket, and its behaviour. ClientLoop
// runs many clients on a thread of its own, with its own epoll.
//
// Owner:  the loop owns its clients; a part owns the loop.
// Thread: the loop's, except as ClientLoop marks.
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

  // False: no descriptor or port was free, and nothing has begun.
  bool Connect(uint16_t port, int poller);
  virtual uint16_t Port() const = 0;
  virtual int ReceiveBufferBytes() const { return 0; }  // 0: the kernel's default.
  // Called when the socket is ready, or when the time given to WakeAt() has come.
  virtual void Step(int64_t now_ms) = 0;
  bool Ended() const { return fd_ < 0; }
  // True: the run waits for this client, which must have all its bytes before the drain.
  virtual bool MustFinish() const { return false; }
  int64_t WakeAtMs() const { return wake_at_ms_; }
  int64_t BornMs() const { return born_ms_; }
  bool connect_told = false;  // True: it is connected, or it will never be.

 protected:
  enum class Got : uint8_t { kBytes, kNothing, kEnd, kReset };
  // At most `most` bytes, into a buffer that all clients of a thread share.
  Got Receive(std::string_view* bytes, size_t most = SIZE_MAX);
  size_t Send(std::string_view bytes);  // Returns the bytes sent; 0 if nothing can go now, or ever.
  bool Connected();                     // The handshake has succeeded.
  void HalfClose();
  void Leave();  // close(): FIN, or the kernel's reset if bytes were unread.
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
  // Ends the remaining clients, once they had their time, and the thread. Any thread.
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
  std::atomic<bool> quiet_{false};      // Release by the loop: shows its clients' counts.
  std::atomic<bool> finishing_{false};  // Relaxed.
  std::thread thread_;
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_CLIENT_H_
