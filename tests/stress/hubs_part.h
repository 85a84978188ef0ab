// Broadcasts: publishers flood hubs; subscribers read at once, with pauses, or not at all, under
// each policy.
//
// Checks L1 of hubs: for each subscriber received + missed = published since it joined, exactly.
#ifndef SLUICE_TESTS_STRESS_HUBS_PART_H_
#define SLUICE_TESTS_STRESS_HUBS_PART_H_

#include <memory>
#include <string>
#include <vector>

#include "sluice/actors/peers/acceptor.h"
#include "sluice/tests/stress/feed.h"
#include "sluice/tests/stress/feed_client.h"
#include "sluice/tests/stress/part.h"

namespace sluice::stress {

class HubsPart : public Part {
 public:
  static constexpr int kSubscribersMax = 96;
  static constexpr int kClients = 128;
  static constexpr int kStaying = 24;  // From their arrival to the end of the flood.
  static constexpr int kHubs = 4;

  explicit HubsPart(Stress& stress);
  std::string Name() const override { return "hubs"; }
  void Prepare() override;
  void Start() override;
  bool Done() override;
  std::string State() override;
  int64_t Progress() const override { return Published(); }
  void Finish() override;
  std::vector<Rate> Rates() const override;

 private:
  std::unique_ptr<Client> MakeClient(Random& random);
  int64_t Published() const;

  Stress& stress_;
  SessionEnds ends_;
  FeedTally tally_;
  std::vector<Feed> feeds_;
  Ref<Acceptor> acceptor_;
  uint16_t port_ = 0;
  std::unique_ptr<ClientLoop> loop_;
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_HUBS_PART_H_
