#include "sluice/actors/owned_connections.h"

#include "sluice/actors/connection.h"
#include "sluice/core/plant.h"

namespace sluice {

OwnedConnections::Part& OwnedConnections::PartOf(const Connection& connection) {
  return parts_[connection.worker().Index()];
}

OwnedConnections::List& OwnedConnections::ListOf(Part& part, const Connection& connection) {
  return connection.closing_ ? part.closing : part.open;
}

void OwnedConnections::Link(List& list, Connection& connection) {
  connection.newer_ = nullptr;
  connection.older_ = list.newest;
  (list.newest == nullptr ? list.oldest : list.newest->newer_) = &connection;
  list.newest = &connection;
}

void OwnedConnections::Unlink(List& list, Connection& connection) {
  (connection.newer_ == nullptr ? list.newest : connection.newer_->older_) = connection.older_;
  (connection.older_ == nullptr ? list.oldest : connection.older_->newer_) = connection.newer_;
}

void OwnedConnections::Publish(Part& part) {
  const int64_t oldest_ms = part.open.oldest != nullptr      ? part.open.oldest->active_ms_
                            : part.closing.oldest != nullptr ? kNobodyMs - 1
                                                             : kNobodyMs;
  part.oldest_ms.store(oldest_ms, std::memory_order_relaxed);
}

void OwnedConnections::Opened(Connection& connection) {
  Part& part = PartOf(connection);
  Link(part.open, connection);
  Publish(part);
}

void OwnedConnections::WasActive(Connection& connection) {
  if (connection.closing_) return;  // By the time of their close, however long that takes.
  Part& part = PartOf(connection);
  if (Planted(Plant::kEvictsByAge)) return;
  Unlink(part.open, connection);
  Link(part.open, connection);
  Publish(part);
}

void OwnedConnections::IsClosing(Connection& connection) {
  Part& part = PartOf(connection);
  Unlink(part.open, connection);
  Link(part.closing, connection);
  Publish(part);
}

void OwnedConnections::Ended(Connection& connection) {
  Part& part = PartOf(connection);
  Unlink(ListOf(part, connection), connection);
  Publish(part);
}

Connection* OwnedConnections::Oldest(int worker) const {
  const Part& part = parts_[worker];
  return part.open.oldest != nullptr ? part.open.oldest : part.closing.oldest;
}

}  // namespace sluice
