#include "sluice/actors/connection/owned_connections.h"

#include "sluice/actors/connection/connection.h"
#include "sluice/core/base/plant.h"
#include "sluice/core/worker/worker.h"

namespace sluice {

namespace {

// To an acceptor: one of its connections on that worker has ended. Reserved by its accept.
struct ConnectionEndedControl {
  OwnedConnections::EndTold told;
  int worker;
  void Run(Worker&, Slot* slot, uint32_t generation) const {
    if (slot->generation == generation && slot->actor != nullptr) told(slot, worker);
  }
};

}  // namespace

void OwnedConnections::TellEnd(Worker& worker) const {
  Worker::Post(*slot->worker, slot, generation, ConnectionEndedControl{end_told_, worker.Index()});
}

OwnedConnections::Part& OwnedConnections::PartOf(const Connection& connection) {
  return parts_[connection.worker().Index()];
}

OwnedConnections::List& OwnedConnections::ListOf(Part& part, const Connection& connection) {
  return connection.Closing() ? part.closing : part.open;
}

void OwnedConnections::Publish(Part& part) {
  const int64_t oldest_ms = !part.open.Empty()      ? part.open.Front()->ActiveMs()
                            : !part.closing.Empty() ? kNobodyMs - 1
                                                    : kNobodyMs;
  part.oldest_ms.store(oldest_ms, std::memory_order_relaxed);
}

void OwnedConnections::Opened(Connection& connection) {
  Part& part = PartOf(connection);
  part.open.PushBack(connection);
  Publish(part);
}

void OwnedConnections::WasActive(Connection& connection) {
  if (connection.Closing()) return;  // Closing ones keep the order of their close.
  Part& part = PartOf(connection);
  SLUICE_PLANT(evicts_by_age, return);
  part.open.Remove(connection);
  part.open.PushBack(connection);
  Publish(part);
}

void OwnedConnections::IsClosing(Connection& connection) {
  Part& part = PartOf(connection);
  part.open.Remove(connection);
  part.closing.PushBack(connection);
  Publish(part);
}

void OwnedConnections::Ended(Connection& connection) {
  Part& part = PartOf(connection);
  ListOf(part, connection).Remove(connection);
  Publish(part);
}

Connection* OwnedConnections::Oldest(int worker) const {
  const Part& part = parts_[worker];
  return !part.open.Empty() ? part.open.Front() : part.closing.Front();
}

}  // namespace sluice
