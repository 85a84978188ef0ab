// Mail is a worker's part of the traffic between threads: what it sends to other workers, and what
// comes to it from other workers and from outside.
//
//   this worker                      another worker
//   stage (32 envelopes) ──bulk──►   lane of its inbox ──batch──►  mailboxes
//   sleep word, eventfd  ◄──signal── exactly one for each sleep
//
// A stage gathers the messages to one other worker. They are enqueued in bulk: when the stage is
// full, after every eighth slice, and at the end of the turn.
//
// Owner:  the worker.
// Thread: the worker's, except what stands under "Any thread" below.
// Bound:  a stage holds kStageMax envelopes and is never left full; a lane holds lane_messages_max
//         user messages; control and reserved messages have their reservations.
// Errors: Reserve() answers why a message may not go; then nothing is taken.
#ifndef SLUICE_CORE_WORKER_MAIL_H_
#define SLUICE_CORE_WORKER_MAIL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "sluice/core/mailbox/answer.h"
#include "sluice/core/mailbox/envelope.h"
#include "sluice/core/mailbox/sleep_word.h"
#include "sluice/core/slot/slot.h"
#include "sluice/core/worker/desk.h"

namespace sluice {

class Inbox;
class InboxLane;

class Mail {
 public:
  static constexpr int kStageMax = 32;
  static constexpr int kDrainMax = 64;  // Envelopes of one lane at a time.

  struct Stage {
    Stage(Mail& receiver, InboxLane& its_lane) : to(receiver), lane(its_lane) {}
    Envelope& Place() {
      return envelopes[static_cast<size_t>(count)];
    }  // Free: no stage is left full.

    Mail& to;
    InboxLane& lane;
    int count = 0;
    bool dirty = false;  // Listed: it holds envelopes, or the receiver must still be roused.
    std::array<Envelope, kStageMax> envelopes;
    std::vector<std::pair<Slot*, uint32_t>> room_waiters;  // Parked actors that wait for the lane.
  };

  // `otherwise` takes what is no message for an actor that lives on this worker: control, reserved
  // messages, and messages whose actor has ended or is not constructed yet.
  using Otherwise = void (*)(Worker& worker, Envelope* envelope);
  Mail(Desk& desk, Otherwise otherwise);
  ~Mail();
  Mail(const Mail&) = delete;
  Mail& operator=(const Mail&) = delete;

  absl::Status Open();  // Makes the eventfd. Before the first turn, on any thread.
  // Makes the stages. Called once, when all workers of the runtime are there, before the first
  // turn.
  void Connect(const std::vector<Worker*>& workers);
  int WakeFd() const { return wake_fd_; }

  // --- Any thread.

  Inbox& inbox() { return *inbox_; }
  SleepWord<>& sleep_word() { return sleep_; }
  void Signal() { desk_.os.WakeSignal(wake_fd_); }
  // Wakes the worker if it sleeps.
  void Rouse() {
    if (sleep_.Rouse()) Signal();
  }
  // For a thread that is not a worker of this runtime. Requires: the lock of the worker's home, and
  // that the home is open.
  //
  // Takes room, charge and credit for one message; or answers why not.
  Answer ReserveOutside(Slot* target, uint32_t generation, int64_t charge);
  void EnqueueOutside(Envelope& envelope);
  void EnqueueReservedOutside(Envelope& envelope, int64_t bytes);

  // --- Sending to another worker.

  Stage& StageTo(int worker) { return *stages_[static_cast<size_t>(worker)]; }
  // Takes room, charge and credit for one message; or answers why not.
  Answer Reserve(Stage& stage, Slot* target, uint32_t generation, int64_t charge, bool overdraft);
  // True: the lane has room for one more user message, and it is counted. False: the receiver will
  // report when there is room.
  bool TakeRoomOrWait(Stage& stage);
  // stage.Place() has got an envelope.
  void Added(Stage& stage) {
    ++stage.count;
    if (!stage.dirty || stage.count == kStageMax) Grew(stage);
  }
  bool HasStaged() const { return !dirty_stages_.empty(); }
  void Flush();  // Enqueues what all stages hold.

  // Sends control or a reserved message, also to this worker itself.
  void Route(Mail& to, Envelope& envelope);

  // --- Control for this worker, from itself.

  bool HasLocalControl() const { return !local_control_.Empty(); }
  // Takes at most one share of the turn: control may post control, and may construct actors.
  void RunLocalControl() {
    if (HasLocalControl()) RunAllLocalControl();
  }

  // --- Receiving.

  // Takes in what has come, lane after lane, until there is no more or the turn's share for mail is
  // over. True: something had come.
  bool Drain();
  // Takes in one envelope, also one that was not on its way through a lane.
  void Arrive(Envelope* envelope);
  // True: all mail that was there when the last Drain() began has been taken in.
  bool Seen() const { return seen_; }
  // True, once: other workers sent mail since the last call.
  bool CameFromWorkers() { return std::exchange(came_from_workers_, false); }

  // Totals of envelopes of all kinds: sent to other workers; taken from other workers and from
  // outside. If the sum of all that was sent, also from outside (OutsideGate::Sent), equals the sum
  // taken, nothing is on its way.
  int64_t CrossSent() const { return cross_sent_; }
  int64_t CrossTaken() const { return cross_taken_; }

  void CheckInvariants() const;

 private:
  friend class Inspector;

  void RunAllLocalControl();
  bool DrainLanes();
  InboxLane& OutsideLane();  // Of all outside threads.
  void Grew(Stage& stage);
  void Enqueue(Stage& stage);

  Desk& desk_;
  const Otherwise otherwise_;
  const std::unique_ptr<Inbox> inbox_;
  int wake_fd_ = -1;
  SleepWord<> sleep_;
  std::vector<std::unique_ptr<Stage>> stages_;  // By worker; none for this worker.
  std::vector<int> dirty_stages_;
  EnvelopeList local_control_;
  EnvelopeList batch_;  // Taken from a lane when the share ended; not arrived yet.
  int first_lane_ = 0;  // Drain() goes on with this lane.
  bool seen_ = true;
  bool came_from_workers_ = false;
  int64_t cross_sent_ = 0;
  int64_t cross_taken_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_MAIL_H_
