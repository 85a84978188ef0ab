// Tests of exceptions of every kind, out of every handler: the actor ends or is recreated, and no
// other actor notices.
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/actors/connection/session.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::failure_test {
namespace {

enum class Kind { kStd, kInt, kOwnType, kBadAlloc };
struct OwnType {};

void Throw(Kind kind) {
  switch (kind) {
    case Kind::kStd:
      throw std::runtime_error("a text");
    case Kind::kInt:
      throw 42;
    case Kind::kOwnType:
      throw OwnType();
    case Kind::kBadAlloc:
      throw std::bad_alloc();
  }
}
std::string TextOf(Kind kind) {
  switch (kind) {
    case Kind::kStd:
      return "a text";
    case Kind::kInt:
      return "an exception of type int";
    case Kind::kOwnType:
      return "an exception of type sluice::testing::failure_test::(anonymous namespace)::OwnType";
    case Kind::kBadAlloc:
      return "std::bad_alloc";
  }
  return "";
}

struct Poke {};
struct Query {
  using Reply = int;
};

enum class Where {
  kNowhere,
  kConstructor,
  kOnStart,
  kHandler,
  kQuestion,
  kTimer,
  kCallback,
  kOnDown,
  kOnStop
};

// Says where a subject throws in its first incarnation; later ones do not throw.
struct Plan {
  Where where = Where::kNowhere;
  Kind kind = Kind::kStd;
  Ref<class Subject> helper;
  int born = 0;
  int starts = 0;
  int pokes = 0;
};

class Subject : public Actor {
 public:
  explicit Subject(Plan* plan) : plan_(*plan), first_(plan->born++ == 0) {
    At(Where::kConstructor);
  }
  void OnStart() override {
    ++plan_.starts;
    if (first_ && plan_.where == Where::kTimer) {
      After(absl::ZeroDuration(), [this] { At(Where::kTimer); });
    }
    if (first_ && plan_.where == Where::kCallback) {
      (void)Ask(plan_.helper, Query{}, absl::Seconds(60),
                [this](absl::StatusOr<int>) { At(Where::kCallback); });
    }
    if (first_ && plan_.where == Where::kOnDown) {
      Monitor(plan_.helper);
      plan_.helper.Stop();
    }
    if (first_ && plan_.where == Where::kOnStop) Stop();
    At(Where::kOnStart);
  }
  void OnStop() override { At(Where::kOnStop); }
  void OnDown(const Down& down) override {
    downs.push_back(down);
    At(Where::kOnDown);
  }
  void On(Poke) {
    At(Where::kHandler);
    ++plan_.pokes;
  }
  int On(Query) {
    At(Where::kQuestion);
    return 1;
  }
  void On(Ref<Subject> whom) { Monitor(whom); }
  std::vector<Down> downs;

 private:
  void At(Where where) {
    if (first_ && plan_.where == where) Throw(plan_.kind);
  }
  Plan& plan_;
  const bool first_;
};

struct Case {
  Where where;
  Kind kind;
};
std::vector<Case> Cases(std::vector<Where> places) {
  std::vector<Case> cases;
  for (const Where where : places) {
    for (const Kind kind : {Kind::kStd, Kind::kInt, Kind::kOwnType, Kind::kBadAlloc}) {
      cases.push_back({where, kind});
    }
  }
  return cases;
}
std::string NameOf(const ::testing::TestParamInfo<Case>& info) {
  const char* places[] = {"Nowhere", "Constructor", "OnStart", "Handler", "Question",
                          "Timer",   "AskCallback", "OnDown",  "OnStop"};
  const char* kinds[] = {"Std", "Int", "OwnType", "BadAlloc"};
  return std::string(places[static_cast<int>(info.param.where)]) +
         kinds[static_cast<int>(info.param.kind)];
}

class Failure : public ::testing::TestWithParam<Case> {
 protected:
  Failure() : runtime_(SmallOptions(1)), step_(runtime_) {
    plan_.where = GetParam().where;
    plan_.kind = GetParam().kind;
    plan_.helper = runtime_.Spawn<Subject>(&helper_plan_);
    watcher_ = runtime_.Spawn<Subject>(&watcher_plan_);
    step_.Round(2);
  }
  ~Failure() override {
    runtime_.Drain(absl::Seconds(30));
    EXPECT_EQ(runtime_.ActorCount(), 0);
    EXPECT_TRUE(runtime_.TotalLedger().Balanced()) << runtime_.TotalLedger().ToString();
  }
  std::vector<Down>& Downs() { return static_cast<Subject*>(watcher_.slot()->actor)->downs; }
  void Provoke(const Ref<Subject>& subject) {
    ASSERT_EQ(watcher_.TrySend(subject), Answer::kAccepted);
    if (GetParam().where == Where::kHandler) {
      ASSERT_EQ(subject.TrySend(Poke{}), Answer::kAccepted);
    }
    if (GetParam().where == Where::kQuestion) {
      Worker& worker = runtime_.worker(0);
      step_.Round(2);
      worker.Enter();
      worker.RunHandler(asker_slot(), "test", [&] {
        (void)static_cast<Asker*>(asker_slot()->actor)
            ->Ask(subject, Query{}, absl::Seconds(60),
                  [this](absl::StatusOr<int> reply) { replies_.push_back(reply.status()); });
      });
      worker.Leave();
    }
  }
  class Asker : public Actor {
   public:
    using Actor::Ask;
  };
  Slot* asker_slot() {
    if (!asker_) {
      asker_ = runtime_.Spawn<Asker>();
      step_.Round(2);
    }
    return asker_.slot();
  }
  Plan plan_, helper_plan_, watcher_plan_;
  Runtime runtime_;
  Stepper step_;
  Ref<Subject> watcher_;
  Ref<Asker> asker_;
  std::vector<absl::Status> replies_;
};

class EndsTheActor : public Failure {};
TEST_P(EndsTheActor, WithItsTextAndNobodyElse) {
  const Ref<Subject> subject = runtime_.Spawn<Subject>(&plan_);
  Provoke(subject);
  ASSERT_TRUE(step_.Until([&] { return Downs().size() == 1; }));
  EXPECT_EQ(Downs()[0].reason, EndReason::kFailed);
  EXPECT_EQ(Downs()[0].text, TextOf(GetParam().kind));
  EXPECT_EQ(subject.TrySend(Poke{}), Answer::kClosed);
  EXPECT_EQ(plan_.born, 1);
  EXPECT_EQ(watcher_.TrySend(Poke{}), Answer::kAccepted);
  ASSERT_TRUE(step_.Until([&] { return watcher_plan_.pokes == 1; }));
  EXPECT_EQ(runtime_.TotalLedger().failed, 1);
  if (GetParam().where == Where::kQuestion) {
    ASSERT_TRUE(step_.Until([&] { return replies_.size() == 1; }));
    EXPECT_EQ(replies_[0].code(), absl::StatusCode::kAborted);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Exceptions, EndsTheActor,
    ::testing::ValuesIn(Cases({Where::kOnStart, Where::kHandler, Where::kQuestion, Where::kTimer,
                               Where::kCallback, Where::kOnDown, Where::kOnStop})),
    NameOf);

class IsRecreated : public Failure {};
TEST_P(IsRecreated, AfterAnException) {
  const Ref<Subject> subject = runtime_.SpawnRestarting<Subject>({}, {}, &plan_);
  Provoke(subject);
  ASSERT_TRUE(step_.Until([&] { return plan_.starts == 2; }));
  EXPECT_EQ(plan_.born, 2);
  EXPECT_EQ(subject.TrySend(Poke{}), Answer::kAccepted);
  ASSERT_TRUE(step_.Until([&] { return plan_.pokes == 1; }));
  EXPECT_EQ(runtime_.TotalLedger().failed, 1);
  EXPECT_EQ(runtime_.TotalLedger().restarted, 1);
  EXPECT_TRUE(Downs().empty());
  if (GetParam().where == Where::kQuestion) {
    ASSERT_TRUE(step_.Until([&] { return replies_.size() == 1; }));
    EXPECT_EQ(replies_[0].code(), absl::StatusCode::kAborted);
  }
}
INSTANTIATE_TEST_SUITE_P(Exceptions, IsRecreated,
                         ::testing::ValuesIn(Cases({Where::kOnStart, Where::kHandler,
                                                    Where::kQuestion, Where::kTimer,
                                                    Where::kCallback, Where::kOnDown})),
                         NameOf);

// An exception in OnStop ends the actor, whatever the policy. An exception in the first constructor
// fails the spawn.
class EndsThoughItMayRestart : public Failure {};
TEST_P(EndsThoughItMayRestart, WithItsText) {
  const Ref<Subject> subject = runtime_.SpawnRestarting<Subject>({}, {}, &plan_);
  ASSERT_EQ(watcher_.TrySend(subject), Answer::kAccepted);
  ASSERT_TRUE(step_.Until([&] { return Downs().size() == 1; }));
  EXPECT_EQ(plan_.born, 1);
  EXPECT_EQ(runtime_.TotalLedger().failed, 1);
  EXPECT_EQ(runtime_.TotalLedger().restarted, 0);
  EXPECT_EQ(subject.TrySend(Poke{}), Answer::kClosed);
}
INSTANTIATE_TEST_SUITE_P(Exceptions, EndsThoughItMayRestart,
                         ::testing::ValuesIn(Cases({Where::kConstructor, Where::kOnStop})), NameOf);

// The machine refuses this allocation; no test double plays the refusal.
TEST(Failures, ARealBadAllocEndsOneActor) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer's allocator ends the process where the machine's throws";
#endif
  class Greedy : public Actor {
   public:
    void On(Poke) {
      // The size is read at run time, or the compiler would see through it.
      volatile size_t bytes = std::numeric_limits<size_t>::max() / 4;
      keep_.resize(bytes);
    }

   private:
    std::string keep_;
  };
  Runtime runtime(SmallOptions(1));
  Stepper step(runtime);
  const Ref<Greedy> greedy = runtime.Spawn<Greedy>();
  ASSERT_EQ(greedy.TrySend(Poke{}), Answer::kAccepted);
  EXPECT_TRUE(step.Until([&] { return greedy.TrySend(Poke{}) == Answer::kClosed; }));
  EXPECT_EQ(runtime.TotalLedger().failed, 1);
}

// --- Sessions.
class SessionFailure : public ::testing::TestWithParam<Kind> {};

TEST_P(SessionFailure, InOnDataSendsWrittenBytesThenEnds) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.room = 4;  // The rest leaves after the session has ended.
  const Kind kind = GetParam();
  notes.on_data = [kind](ScriptSession& session, Input& in) {
    EXPECT_EQ(session.Write(in.TakeAll()), Answer::kAccepted);
    EXPECT_EQ(session.Write("and more"), Answer::kAccepted);
    Throw(kind);
  };
  rig.Open(wire, notes);
  auto [other_wire, other_notes] = rig.New();
  rig.Open(other_wire, other_notes);
  rig.Arrive(wire, "hello ");
  rig.Settle();
  EXPECT_EQ(wire.output, "hell");
  EXPECT_EQ(notes.session, nullptr);
  rig.Room(wire, 1'000);
  rig.Settle();
  EXPECT_EQ(wire.output, "hello and more");
  rig.Fin(wire);
  rig.Settle();
  EXPECT_EQ(rig.Closed(CloseReason::kFailed), 1);
  EXPECT_EQ(notes.heard.find('C'), notes.heard.size() - 1);  // Once, and last.
  EXPECT_EQ(notes.reason, CloseReason::kFailed);
  rig.Arrive(other_wire, "still here");
  rig.Settle();
  EXPECT_EQ(other_notes.data, "still here");
}

TEST_P(SessionFailure, InAnyOtherHandlerEndsTheConnectionOnce) {
  for (const char where : {'O', 'E', 'C'}) {
    Rig rig;
    auto [wire, notes] = rig.New();
    const auto fail = [kind = GetParam()](ScriptSession&) { Throw(kind); };
    if (where == 'O') notes.on_open = fail;
    if (where == 'E') notes.on_eof = fail;
    if (where == 'C') notes.on_close = fail;
    rig.Open(wire, notes);
    rig.Settle();
    rig.Fin(wire);
    rig.Settle();
    EXPECT_EQ(rig.Ledger().Open(), 0);
    EXPECT_EQ(rig.runtime.TotalLedger().failed, 1);
    EXPECT_TRUE(wire.closed);
  }
}
INSTANTIATE_TEST_SUITE_P(Exceptions, SessionFailure,
                         ::testing::Values(Kind::kStd, Kind::kInt, Kind::kOwnType,
                                           Kind::kBadAlloc));

TEST(Failures, AChildThatGivesUpEndsItsParentsConnection) {
  class Helper : public Actor {
   public:
    void OnStart() override { throw std::runtime_error("no database"); }
  };
  class Parent : public ScriptSession {
   public:
    using ScriptSession::ScriptSession;
    void OnOpen() override {
      WriteOrAbort("bye");
      SpawnRestarting<Helper>({.restarts_max = 2, .backoff_min = absl::ZeroDuration()}, {});
    }
  };
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.OpenAs<Parent>(wire, Connection::Start::kConnected, absl::InfiniteDuration(), &notes);
  rig.Settle();
  EXPECT_EQ(wire.output, "bye");
  rig.Fin(wire);
  rig.Settle();
  EXPECT_EQ(rig.Closed(CloseReason::kFailed), 1);
  EXPECT_EQ(rig.runtime.TotalLedger().escalated, 1);
}

}  // namespace
}  // namespace sluice::testing::failure_test
