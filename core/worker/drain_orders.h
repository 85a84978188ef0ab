// DrainOrders is a worker's side of a drain: it carries out the coordinator's orders
// (core/runtime/drain.cc gives them), and publishes whether the worker rests.
//
// Owner:  the worker.
// Thread: the worker's, except rest(), whose figures any thread reads (rest.h).
// Bound:  an order walks the worker's slots once.
// Errors: none: what ends without having sent or handled all is counted in the ledger.
#ifndef SLUICE_CORE_WORKER_DRAIN_ORDERS_H_
#define SLUICE_CORE_WORKER_DRAIN_ORDERS_H_

#include <cstdint>

#include "sluice/core/mailbox/rest.h"
#include "sluice/core/slot/io_handler.h"
#include "sluice/core/worker/desk.h"

namespace sluice {

class Descriptors;
class Life;
class Mail;
class MailHolds;

class DrainOrders {
 public:
  DrainOrders(Desk& desk, Mail& mail, Descriptors& descriptors, MailHolds& holds, Life& life)
      : desk_(desk), mail_(mail), descriptors_(descriptors), holds_(holds), life_(life) {}

  // --- The orders, in this order.

  void Begin();
  void EndReading();
  void Close();
  void Insist();  // From now on messages that hubs hold back delay no session's OnDrain.
  void StopRoots();
  void StopGate();  // All other actors have ended.
  // The drain's deadline has passed: everything ends, and losses are counted.
  void ShutdownAll();
  void LogWhatHolds();

  // Stops the actor after it has handled the mail in its mailbox.
  void StopBehindMail(Slot* slot, int rounds);

  // --- Rest.

  RestCounts<>& rest() { return rest_; }
  void Publish(bool rests);
  void PublishWork() {
    if (rest_.Rests()) Publish(false);
  }
  // A hub on this worker begins (+1) or stops (-1) to wait for a slow reader, or to hold messages
  // for an actor's subscription. Meanwhile a drain does not regard this worker as at rest.
  void NoteHubWaits(int change) { hub_waits_ += change; }

 private:
  void OrderIo(void (IoHandler::*order)());

  Desk& desk_;
  Mail& mail_;
  Descriptors& descriptors_;
  MailHolds& holds_;
  Life& life_;
  int64_t hub_waits_ = 0;
  RestCounts<> rest_;  // For the coordinator.
};

}  // namespace sluice

#endif  // SLUICE_CORE_WORKER_DRAIN_ORDERS_H_
