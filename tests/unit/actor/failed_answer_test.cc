// Tests of questions to actors that fail: the asker is told which actor failed, and of what.
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/promise.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::failed_answer_test {
namespace {

struct ByValue {
  using Reply = int;
};
struct ByStatusOr {
  using Reply = int;
};
struct ByPromise {
  using Reply = int;
};
struct Caught {
  using Reply = int;
};
struct Resolved {
  using Reply = int;
};
struct Kept {
  using Reply = int;
};
struct Forgotten {
  using Reply = int;
};
struct Break {};
struct End {};

class Cook : public Actor {
 public:
  int On(ByValue) { throw std::runtime_error("no pots"); }
  absl::StatusOr<int> On(ByStatusOr) { throw 42; }
  void On(ByPromise, Promise<int>) { throw std::runtime_error("no pans"); }
  void On(Caught, Promise<int> promise) {
    try {
      const Promise<int> mine = std::move(promise);
      throw std::runtime_error("no lids");
    } catch (const std::exception&) {
    }
  }
  void On(Resolved, Promise<int> promise) {
    promise.Resolve(7);
    throw std::runtime_error("too late");
  }
  void On(Kept, Promise<int> promise) { kept_.push_back(std::move(promise)); }
  void On(Forgotten, Promise<int>) {}
  void On(Break) { throw std::runtime_error("the gas is off"); }
  void On(End) { Stop(); }
  void OnStop() override { throw std::runtime_error("no broom"); }

 private:
  std::vector<Promise<int>> kept_;
};

class Guest : public Actor {
 public:
  explicit Guest(std::vector<std::string>* told) : told_(*told) {}
  template <class Q>
  void Order(const Ref<Cook>& cook) {
    EXPECT_EQ(
        Ask(cook, Q{}, absl::InfiniteDuration(),
            [this](const absl::StatusOr<int>& reply) {
              told_.push_back(reply.ok() ? std::to_string(*reply) : reply.status().ToString());
            }),
        Answer::kAccepted);
  }
  struct Do {
    void (*what)(Guest&, const Ref<Cook>&);
    Ref<Cook> cook;
  };
  void On(Do task) { task.what(*this, task.cook); }

 private:
  std::vector<std::string>& told_;
};

// Cook and guest live on one worker, or on two.
class FailedAnswer : public ::testing::TestWithParam<int> {
 protected:
  FailedAnswer()
      : runtime_(SmallOptions(2)),
        stepper_(runtime_),
        guest_(runtime_.SpawnWith<Guest>({.name = "", .mailbox_messages_max = 0, .worker = 0},
                                         &told_)) {}

  SpawnOptions Place(const std::string& name) {
    return {.name = name, .mailbox_messages_max = 0, .worker = GetParam()};
  }
  std::vector<std::string> Told(const Ref<Cook>& cook, void (*what)(Guest&, const Ref<Cook>&)) {
    told_.clear();
    EXPECT_EQ(guest_.TrySend(Guest::Do{what, cook}), Answer::kAccepted);
    stepper_.Round(20);
    return told_;
  }
  template <class Q>
  std::string Told() {
    const auto told = Told(runtime_.SpawnWith<Cook>(Place("cook")),
                           [](Guest& guest, const Ref<Cook>& to) { guest.Order<Q>(to); });
    return told.size() == 1 ? told[0] : "told " + std::to_string(told.size()) + " times";
  }

  std::vector<std::string> told_;
  Runtime runtime_;
  Stepper stepper_;
  Ref<Guest> guest_;
};

TEST_P(FailedAnswer, SaysWhatWasThrownAndByWhichActor) {
  EXPECT_EQ(Told<ByValue>(), "ABORTED: cook failed: no pots");
  EXPECT_EQ(Told<ByStatusOr>(), "ABORTED: cook failed: an exception of type int");
  EXPECT_EQ(Told<ByPromise>(), "ABORTED: cook failed: no pans");
}

TEST_P(FailedAnswer, OnlyAPromiseThatIsLeftOpenSaysSo) {
  EXPECT_EQ(Told<Resolved>(), "7");
  const std::string dropped = "ABORTED: the promise was dropped without an answer";
  EXPECT_EQ(Told<Caught>(), dropped);
  EXPECT_EQ(Told<Forgotten>(), dropped);
}

TEST_P(FailedAnswer, QuestionsThatItHeldSaySoToo) {
  const auto told =
      Told(runtime_.SpawnWith<Cook>(Place("cook")), [](Guest& guest, const Ref<Cook>& cook) {
        guest.Order<Kept>(cook);
        EXPECT_EQ(cook.TrySend(Break{}), Answer::kAccepted);
        guest.Order<Kept>(cook);  // Still in its mailbox.
      });
  EXPECT_EQ(told, std::vector<std::string>(2, "ABORTED: cook failed: the gas is off"));
}

TEST_P(FailedAnswer, AnActorWithoutANameIsNamedByItsType) {
  const auto told =
      Told(runtime_.SpawnWith<Cook>(Place("")), [](Guest& guest, const Ref<Cook>& cook) {
        guest.Order<Kept>(cook);
        EXPECT_EQ(cook.TrySend(Break{}), Answer::kAccepted);
      });
  ASSERT_EQ(told.size(), 1u);
  EXPECT_NE(told[0].find("Cook#"), std::string::npos) << told[0];
}

TEST_P(FailedAnswer, AThrowingOnStopIsTold) {
  const auto told =
      Told(runtime_.SpawnWith<Cook>(Place("cook")), [](Guest& guest, const Ref<Cook>& cook) {
        guest.Order<Kept>(cook);
        EXPECT_EQ(cook.TrySend(End{}), Answer::kAccepted);
      });
  EXPECT_EQ(told, std::vector<std::string>{"ABORTED: cook failed: no broom"});
}

TEST_P(FailedAnswer, ARestartedActorForgetsItsFailure) {
  const Ref<Cook> cook = runtime_.SpawnRestarting<Cook>(
      {.restarts_max = 5, .backoff_min = absl::ZeroDuration()}, Place("cook"));
  const auto keeps = [](Guest& guest, const Ref<Cook>& to) {
    guest.Order<Kept>(to);
    EXPECT_EQ(to.TrySend(Break{}), Answer::kAccepted);
  };
  EXPECT_EQ(Told(cook, keeps), std::vector<std::string>{"ABORTED: cook failed: the gas is off"});
  const auto forgets = [](Guest& guest, const Ref<Cook>& to) { guest.Order<Forgotten>(to); };
  EXPECT_EQ(Told(cook, forgets),
            std::vector<std::string>{"ABORTED: the promise was dropped without an answer"});
}

INSTANTIATE_TEST_SUITE_P(OnWorker, FailedAnswer, ::testing::Values(0, 1));

}  // namespace
}  // namespace sluice::testing::failed_answer_test
