// Every user callback may call every public function: a table of callback x call, each on sessions
// with a peer, a hub, another session and a few actors around them. Whatever is called, no handler
// runs inside another one, each session gets OnClose() once and nothing after it, and at the end
// nothing is held.
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/tests/support/running.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::reentry_test {
namespace {

enum class Where {
  kConstructor,
  kOnStart,
  kOnOpen,
  kOnData,
  kOnEof,
  kOnWritable,
  kOnDrain,
  kOnClose,
  kOnCloseOfFailed,
  kMessage,
  kQuestion,
  kReply,
  kReplyInOrder,
  kReplyTimedOut,
  kBlockingReply,
  kAfter,
  kEvery,
  kOnDown,
  kFilter,
  kMissedNotice,
  kDestructor,
  // The destructor of a callback's captures: when its timer is cancelled, or when its actor has
  // ended.
  kCancelled,
  kTimerEnded,
  kReplyEnded,
  kBlockingEnded,
  kFilterEnded,
  kCount,
};
constexpr const char* kWhereNames[] = {
    "Constructor",   "OnStart",       "OnOpen",          "OnData",    "OnEof",      "OnWritable",
    "OnDrain",       "OnClose",       "OnCloseOfFailed", "Message",   "Question",   "Reply",
    "ReplyInOrder",  "ReplyTimedOut", "BlockingReply",   "After",     "Every",      "OnDown",
    "Filter",        "MissedNotice",  "Destructor",      "Cancelled", "TimerEnded", "ReplyEnded",
    "BlockingEnded", "FilterEnded",
};
static_assert(std::size(kWhereNames) == static_cast<size_t>(Where::kCount));

// An exception may leave any callback except a destructor.
bool MayThrow(Where where) { return where < Where::kDestructor; }

struct Note {
  int value = 0;
};
struct Question {
  using Reply = int;
};
struct Never {  // A question that is never answered.
  using Reply = int;
};

// Checks that no handler runs inside another one.
struct Watch {
  int depth = 0;
  int wrong = 0;
};
class Inside {
 public:
  explicit Inside(Watch& watch) : watch_(watch) { watch_.wrong += watch_.depth++ != 0; }
  ~Inside() { --watch_.depth; }

 private:
  Watch& watch_;
};

class Friend : public Actor {
 public:
  explicit Friend(Watch* watch) : watch_(*watch) {}
  void OnStart() override { const Inside inside(watch_); }
  void OnStop() override { const Inside inside(watch_); }
  void On(Note) { const Inside inside(watch_); }
  int On(Question) {
    const Inside inside(watch_);
    return 1;
  }
  void On(Never, Promise<int> promise) {
    const Inside inside(watch_);
    kept_.push_back(std::move(promise));
  }

 private:
  Watch& watch_;
  std::vector<Promise<int>> kept_;
};

class Broken : public Actor {
 public:
  Broken() { throw std::runtime_error("not to be"); }
  void On(Note) {}
};

class Caller;
using Call = std::function<void(Caller&)>;

// The state of one case; outlives the sessions.
struct Case {
  Where where = Where::kCount;
  Call call;
  Watch watch;
  Ref<Hub> hub;
  Ref<Friend> other_actor;
  Caller* self = nullptr;
  Caller* other = nullptr;
  bool end_back = false;  // The other session's OnClose() ends this session.
  int called = 0;
  int opened = 0;
  int closed = 0;
  int late = 0;  // Handlers that ran after OnClose().
};

class Caller : public Session {
 public:
  Caller(Case* of, bool is_self) : case_(*of), is_self_(is_self) {
    (is_self ? case_.self : case_.other) = this;
    try {
      At(Where::kConstructor);
    } catch (...) {
      case_.self = nullptr;
      throw;
    }
  }
  ~Caller() override {
    {
      const Inside inside(case_.watch);
      At(Where::kDestructor);
    }
    (is_self_ ? case_.self : case_.other) = nullptr;
  }
  void OnStart() override {
    const Inside inside(case_.watch);
    started_ = true;
    ++case_.opened;
    At(Where::kOnStart);
  }
  void OnOpen() override {
    const Handler handler(*this);
    Prepare();
    At(Where::kOnOpen);
  }
  void OnData(Input& in) override {
    const Handler handler(*this);
    in.TakeAll();
    At(Where::kOnData);
  }
  void OnEof() override {
    const Handler handler(*this);
    At(Where::kOnEof);
    Session::OnEof();
  }
  void OnWritable() override {
    const Handler handler(*this);
    At(Where::kOnWritable);
  }
  void OnDrain() override {
    const Handler handler(*this);
    At(Where::kOnDrain);
    Session::OnDrain();
  }
  void OnClose(CloseReason reason) override {
    const Handler handler(*this);
    ++case_.closed;
    closed_ = true;
    if (!is_self_ && case_.end_back && case_.self != nullptr) case_.self->Abort();
    At(reason == CloseReason::kFailed ? Where::kOnCloseOfFailed : Where::kOnClose);
  }
  void OnDown(const Down&) override {
    const Handler handler(*this);
    At(Where::kOnDown);
  }
  void On(Note note) {
    const Handler handler(*this);
    if (note.value < 0) throw std::runtime_error("told to");
    if (note.value == 1) At(Where::kMessage);
  }
  int On(Question) {
    const Handler handler(*this);
    At(Where::kQuestion);
    return 2;
  }
  void On(Never, Promise<int>) { const Handler handler(*this); }
  void On(const Subscribed& subscribed) {
    const Handler handler(*this);
    if (subscribed.Joined()) subscription_ = subscribed;
  }
  using Actor::After;
  using Actor::Ask;
  using Actor::CancelTimer;
  using Actor::Demonitor;
  using Actor::Every;
  using Actor::Monitor;
  using Actor::Now;
  using Actor::RefOf;
  using Actor::RunBlocking;
  using Actor::runtime;
  using Actor::Send;
  using Actor::SetName;
  using Actor::Spawn;
  using Actor::SpawnRestarting;
  using Actor::Stop;
  using Session::Abort;
  using Session::AskInOrder;
  using Session::Close;
  using Session::CloseWrite;
  using Session::FlushSubscriptions;
  using Session::HoldReading;
  using Session::MayGoOn;
  using Session::OutputBytes;
  using Session::PeerAddress;
  using Session::ReadingHeld;
  using Session::SetInputMax;
  using Session::Unconsumed;
  using Session::WantWritable;
  using Session::Write;
  Case& of() { return case_; }
  const Subscribed& subscription() const { return subscription_; }
  std::vector<TimerId> timers;
  ReadHold hold;

  void At(Where where) {
    // Twice at most: many calls bring about the same callback again.
    if (!is_self_ || where != case_.where || doing_ || case_.called == 2) return;
    doing_ = true;
    ++case_.called;
    struct Done {
      ~Done() { doing = false; }
      bool& doing;
    } const done{doing_};
    case_.call(*this);
  }

 private:
  struct Handler {
    explicit Handler(Caller& of) : inside(of.case_.watch) { of.case_.late += of.closed_; }
    const Inside inside;
  };
  // The destructor is the callback.
  struct Guard {
    Guard(Caller* of, Where at) : caller(of), where(at) {}
    ~Guard() { caller->At(where); }
    Caller* const caller;
    const Where where;
  };

  void Prepare() {
    if (!is_self_) return;
    const auto guard = std::make_shared<Guard>(
        this, case_.where > Where::kDestructor ? case_.where : Where::kCount);
    const auto callback = [this](Where where) {
      return [this, where](auto&&...) {
        const Handler handler(*this);
        At(where);
      };
    };
    SubscribeOptions options;
    options.slow = SlowPolicy::kDropNewest;
    options.queue_messages_max = 1;
    switch (case_.where) {
      case Where::kOnWritable:
        WantWritable();
        break;
      case Where::kQuestion:
        (void)case_.other->Ask(RefOf(this), Question{}, absl::Seconds(9),
                               [](absl::StatusOr<int>) {});
        break;
      case Where::kReply:
        (void)Ask(case_.other_actor, Question{}, absl::Seconds(9), callback(Where::kReply));
        break;
      case Where::kReplyInOrder:
        AskInOrder(case_.other_actor, Question{}, absl::Seconds(9), callback(Where::kReplyInOrder));
        break;
      case Where::kReplyTimedOut:
        (void)Ask(case_.other_actor, Never{}, absl::Milliseconds(5),
                  callback(Where::kReplyTimedOut));
        break;
      case Where::kBlockingReply:
        (void)RunBlocking([] { return 1; }, callback(Where::kBlockingReply));
        break;
      case Where::kAfter:
        timers.push_back(After(absl::Milliseconds(5), callback(Where::kAfter)));
        break;
      case Where::kEvery:
        timers.push_back(Every(absl::Milliseconds(5), callback(Where::kEvery)));
        break;
      case Where::kOnDown:
        Monitor(Ref<Friend>());
        break;
      case Where::kFilter:
        options.filter = [this](std::string_view, uint64_t) {
          const Inside inside(case_.watch);
          At(Where::kFilter);
          return true;
        };
        break;
      case Where::kFilterEnded:
        options.filter = [guard](std::string_view, uint64_t) { return guard != nullptr; };
        break;
      case Where::kTimerEnded:
        After(absl::Hours(1), [guard] {});
        break;
      case Where::kReplyEnded:
        (void)Ask(case_.other_actor, Never{}, absl::Hours(1), [guard](absl::StatusOr<int>) {});
        break;
      case Where::kBlockingEnded:
        (void)RunBlocking([] { return 1; }, [guard](absl::StatusOr<int>) {});
        break;
      case Where::kCancelled: {
        const TimerId timer = After(absl::Hours(1), [guard] {});
        After(absl::Milliseconds(1), [this, timer] { CancelTimer(timer); });
        break;
      }
      default:
        break;
    }
    if (case_.where == Where::kBlockingEnded) Abort();
    (void)Send(case_.hub, Subscribe(this, options, "hello\n"));
  }

  Case& case_;
  const bool is_self_;
  bool started_ = false;
  bool closed_ = false;
  bool doing_ = false;
  Subscribed subscription_;
};

struct NamedCall {
  const char* name;
  bool throws;
  Call call;
};

const std::vector<NamedCall>& Calls() {
  static const auto* const calls = new std::vector<NamedCall>{
      {"Nothing", false, [](Caller&) {}},
      {"Stop", false, [](Caller& self) { self.Stop("enough"); }},
      {"RefStop", false, [](Caller& self) { self.RefOf(&self).Stop(); }},
      {"Abort", false, [](Caller& self) { self.Abort(); }},
      {"Close", false, [](Caller& self) { self.Close(); }},
      {"CloseWrite", false, [](Caller& self) { self.CloseWrite(); }},
      {"Write", false,
       [](Caller& self) {
         (void)self.Write("some");
         (void)self.Write(std::string(100'000, 'x'));
         (void)self.Write(*Bytes::Copy("shared", self.runtime().budget()));
       }},
      {"WriteAndAbort", false,
       [](Caller& self) {
         (void)self.Write("some");
         self.Abort();
         (void)self.Write("more");
         self.Close();
       }},
      {"Hold", false, [](Caller& self) { self.hold = self.HoldReading(); }},
      {"Release", false,
       [](Caller& self) {
         self.hold = self.HoldReading();
         self.hold.Release();
         self.WantWritable();
         self.SetInputMax(100'000);
       }},
      {"Look", false,
       [](Caller& self) {
         (void)self.MayGoOn();
         (void)self.OutputBytes();
         (void)self.Unconsumed().size();
         (void)self.ReadingHeld();
         (void)self.PeerAddress().ToString();
         (void)self.Now();
       }},
      {"Subscribe", false,
       [](Caller& self) { (void)self.Send(self.of().hub, Subscribe(&self, {}, "again\n")); }},
      {"Unsubscribe", false, [](Caller& self) { Unsubscribe(self, self.subscription()); }},
      {"UnsubscribeAndAbort", false,
       [](Caller& self) {
         Unsubscribe(self, self.subscription());
         self.Abort();
       }},
      {"Publish", false,
       [](Caller& self) {
         (void)self.Send(self.of().hub,
                         Publish{*Bytes::Copy("said\n", self.runtime().budget()), {}});
       }},
      {"FlushSubscriptions", false, [](Caller& self) { self.FlushSubscriptions(); }},
      {"Spawn", false, [](Caller& self) { self.Spawn<Friend>(&self.of().watch); }},
      {"SpawnBroken", false,
       [](Caller& self) {
         self.Spawn<Broken>();
         self.SpawnRestarting<Broken>({}, {});
       }},
      {"SpawnAndStop", false,
       [](Caller& self) {
         self.Spawn<Friend>(&self.of().watch).Stop();
         self.Monitor(self.Spawn<Friend>(&self.of().watch));
         self.Stop();
       }},
      {"Send", false,
       [](Caller& self) {
         (void)self.Send(self.of().other_actor, Note{});
         (void)self.Send(self.RefOf(&self), Note{});
         (void)self.of().other_actor.TrySend(Note{});
         (void)self.RefOf(&self).TrySend(Note{});
       }},
      {"SendMuch",  // More than the mailbox holds: parks.
       false,
       [](Caller& self) {
         for (int i = 0; i < 600; ++i) (void)self.Send(self.of().other_actor, Note{});
       }},
      {"SendMuchAndStop", false,
       [](Caller& self) {
         for (int i = 0; i < 600; ++i) (void)self.Send(self.of().other_actor, Note{});
         self.Stop();
       }},
      {"Ask", false,
       [](Caller& self) {
         const auto answered = [&self](absl::StatusOr<int>) { self.of().watch.wrong += 0; };
         (void)self.Ask(self.of().other_actor, Question{}, absl::Seconds(9), answered);
         (void)self.Ask(self.of().other_actor, Never{}, absl::Milliseconds(5), answered);
         (void)self.Ask(self.RefOf(&self), Question{}, absl::Seconds(9), answered);
         (void)self.Ask(Ref<Friend>(), Question{}, absl::Seconds(9), answered);
       }},
      {"AskInOrder", false,
       [](Caller& self) {
         self.AskInOrder(self.of().other_actor, Question{}, absl::Seconds(9),
                         [](absl::StatusOr<int>) {});
       }},
      {"RunBlocking", false,
       [](Caller& self) { (void)self.RunBlocking([] { return 1; }, [](absl::StatusOr<int>) {}); }},
      {"Timers", false,
       [](Caller& self) {
         self.timers.push_back(self.After(absl::ZeroDuration(), [] {}));
         self.timers.push_back(self.Every(absl::Milliseconds(1), [] {}));
         for (const TimerId timer : self.timers) self.CancelTimer(timer);
         self.After(absl::ZeroDuration(), [&self] { self.Stop(); });
       }},
      {"TimerAndAbort", false,
       [](Caller& self) {
         for (const TimerId timer : self.timers) self.CancelTimer(timer);
         self.After(absl::ZeroDuration(), [] {});
         self.Abort();
       }},
      {"Monitor", false,
       [](Caller& self) {
         self.Demonitor(self.Monitor(self.of().other_actor));
         self.Monitor(self.of().other_actor);
         self.Monitor(self.RefOf(&self));
         self.Monitor(Ref<Friend>());
       }},
      {"Name", false,
       [](Caller& self) {
         self.SetName("renamed");
         (void)self.runtime().Register("caller", self.RefOf(&self));
         (void)self.runtime().Find<Caller>("caller");
         self.runtime().Unregister("caller");
       }},
      {"EndOther", false,
       [](Caller& self) {
         if (self.of().other != nullptr) self.of().other->Abort();
       }},
      {"CloseOther", false,
       [](Caller& self) {
         if (self.of().other != nullptr) self.of().other->Close();
       }},
      {"StopOther", false,
       [](Caller& self) {
         if (self.of().other != nullptr) self.of().other->Stop();
       }},
      {"EndBoth", false,
       [](Caller& self) {
         if (self.of().other != nullptr) self.of().other->Abort();
         self.Abort();
       }},
      {"EndOtherThatEndsThis", false,
       [](Caller& self) {
         self.of().end_back = true;
         if (self.of().other != nullptr) self.of().other->Abort();
       }},
      {"Throw", true, [](Caller&) { throw std::runtime_error("from a callback"); }},
      {"AbortAndThrow", true,
       [](Caller& self) {
         self.Abort();
         throw std::runtime_error("from a callback");
       }},
      {"StopAndThrow", true,
       [](Caller& self) {
         self.Stop();
         throw 42;
       }},
      {"EndOtherAndThrow", true,
       [](Caller& self) {
         self.of().end_back = true;
         if (self.of().other != nullptr) self.of().other->Abort();
         throw std::runtime_error("from a callback");
       }},
  };
  return *calls;
}

class Reentry : public ::testing::TestWithParam<int> {
 protected:
  static Options ReentryOptions() {
    Options options = WireOptions();
    options.output_bytes_low = 100;
    options.output_bytes_high = 1'000;
    return options;
  }

  void Run(Where where, const NamedCall& call) {
    SCOPED_TRACE(absl::StrCat(kWhereNames[static_cast<int>(where)], " x ", call.name));
    Case of;
    of.where = where;
    of.call = call.call;
    {
      Rig rig(ReentryOptions());
      HubOptions hub_options;
      hub_options.missed_notice = [&of](int64_t) {
        if (of.where == Where::kMissedNotice && of.self != nullptr) of.self->At(of.where);
        return std::string("missed\n");
      };
      of.hub = rig.runtime.Spawn<Hub>(hub_options);
      of.other_actor = rig.runtime.Spawn<Friend>(&of.watch);
      rig.Settle();
      Rig::Peer near = rig.New();
      Rig::Peer far = rig.New();
      rig.OpenAs<Caller>(far.wire, Connection::Start::kConnected, absl::InfiniteDuration(), &of,
                         /*is_self=*/false);
      rig.Settle();
      Slot* const slot = rig.worker.life().AllocateSlot();
      rig.worker.life().Open(slot, rig.runtime.options().mailbox_messages_max);
      internal::Construct<Caller>(rig.worker, slot, &of, /*is_self=*/true);
      if (slot->actor != nullptr) {
        Connection::Open(rig.worker, slot, std::make_unique<WireStream>(near.wire),
                         ConnectionOwner{});
        rig.Settle();
        Provoke(rig, of, near);
      }
      rig.Settle();
      rig.Advance(absl::Milliseconds(20));
      for (Wire* wire : {&near.wire, &far.wire}) rig.Reset(*wire);
      rig.Settle();
      rig.Advance(absl::Seconds(20));
      rig.os.clock_runs = true;
      rig.worker.Leave();
      rig.runtime.Drain(absl::Seconds(10));
      rig.worker.Enter();
      EXPECT_TRUE(rig.runtime.TotalLedger().Balanced()) << rig.runtime.TotalLedger().ToString();
      EXPECT_EQ(rig.runtime.ActorCount(), 0);
      const HubTotals totals = HubLedger::Of(rig.runtime);
      EXPECT_EQ(totals.due,
                totals.received + totals.missed + totals.conflated + totals.skipped + totals.queued)
          << totals.ToString();
      EXPECT_EQ(totals.queued, 0) << totals.ToString();
    }
    EXPECT_GE(of.called, 1) << "it was not called";
    EXPECT_EQ(of.watch.wrong, 0) << "a handler ran inside another one";
    EXPECT_EQ(of.late, 0) << "a handler ran after OnClose";
    EXPECT_EQ(of.opened, of.closed) << "each session that has started hears OnClose, once";
    EXPECT_EQ(of.self, nullptr);
    EXPECT_EQ(of.other, nullptr);
  }

  static void Say(Rig& rig, Case& of, size_t bytes) {
    (void)of.hub.TrySend(
        Publish{*Bytes::Copy(std::string(bytes, 's') + "\n", rig.runtime.budget()), {}});
    rig.Settle();
  }

  // Brings about the callback, unless opening the connection has done so.
  static void Provoke(Rig& rig, Case& of, Rig::Peer& near) {
    switch (of.where) {
      case Where::kOnData:
        rig.Arrive(near.wire, "data");
        break;
      case Where::kOnEof:
        rig.Fin(near.wire);
        break;
      case Where::kOnDrain:
        rig.worker.drain().Begin();
        rig.worker.drain().Close();
        rig.Advance(absl::Milliseconds(50));  // Long enough that the peer counts as silent.
        break;
      case Where::kMessage:
        if (of.self != nullptr) (void)of.self->RefOf(of.self).TrySend(Note{1});
        break;
      case Where::kOnCloseOfFailed:
        if (of.self != nullptr) (void)of.self->RefOf(of.self).TrySend(Note{-1});
        break;
      case Where::kReplyTimedOut:
      case Where::kAfter:
      case Where::kEvery:
      case Where::kCancelled:
        rig.Advance(absl::Milliseconds(20));
        break;
      case Where::kBlockingReply:
        EXPECT_TRUE(Eventually([&] {
          rig.Turn();
          return of.called > 0;
        }));
        break;
      case Where::kFilter:
        Say(rig, of, 10);
        Say(rig, of, 10);
        break;
      case Where::kMissedNotice:
        near.wire.room = 0;
        for (int i = 0; i < 5; ++i) Say(rig, of, 900);
        rig.Room(near.wire, 100'000);
        rig.Settle();
        Say(rig, of, 10);
        break;
      default:
        break;
    }
    rig.Settle();
    Say(rig, of, 10);  // The hub still works.
  }
};

TEST_P(Reentry, AnyCallIsSafeInThisCallback) {
  const auto where = static_cast<Where>(GetParam());
  for (const NamedCall& call : Calls()) {
    if (call.throws && !MayThrow(where)) continue;
    Run(where, call);
  }
}

INSTANTIATE_TEST_SUITE_P(Callbacks, Reentry, ::testing::Range(0, static_cast<int>(Where::kCount)),
                         [](const ::testing::TestParamInfo<int>& tested) {
                           return std::string(kWhereNames[tested.param]);
                         });

// The destructor of a failed incarnation may call any function, too.
class Moody : public Actor {
 public:
  struct Plan {
    int born = 0;
    int gone = 0;
    std::function<void(Moody&)> on_gone;
    Ref<Friend> other_actor;
  };
  explicit Moody(Plan* plan) : plan_(*plan) { ++plan_.born; }
  ~Moody() override {
    ++plan_.gone;
    if (plan_.on_gone) plan_.on_gone(*this);
  }
  void On(Note note) {
    if (note.value < 0) throw std::runtime_error("told to");
  }
  using Actor::After;
  using Actor::Ask;
  using Actor::Monitor;
  using Actor::RefOf;
  using Actor::RunBlocking;
  using Actor::runtime;
  using Actor::Send;
  using Actor::Spawn;
  using Actor::Stop;
  Plan& plan() { return plan_; }

 private:
  Plan& plan_;
};

TEST(ReentryRestart, FailedIncarnationsDestructorMayStopItsActor) {
  Moody::Plan plan;
  plan.on_gone = [](Moody& self) { self.Stop("no more"); };
  Rig rig;
  const Ref<Moody> moody = rig.runtime.SpawnRestarting<Moody>({}, {}, &plan);
  rig.Settle();
  ASSERT_EQ(moody.TrySend(Note{-1}), Answer::kAccepted);
  ASSERT_EQ(moody.TrySend(Note{0}), Answer::kAccepted);
  rig.Settle();
  EXPECT_EQ(plan.born, 1);  // Stopped, so it is not recreated.
  EXPECT_EQ(plan.gone, 1);
  EXPECT_EQ(moody.TrySend(Note{0}), Answer::kClosed);
  EXPECT_EQ(rig.runtime.ActorCount(), 0);
  EXPECT_TRUE(rig.runtime.TotalLedger().Balanced()) << rig.runtime.TotalLedger().ToString();
}

TEST(ReentryRestart, TheDestructorOfAFailedIncarnationMayCallAnything) {
  const std::vector<std::pair<const char*, std::function<void(Moody&)>>> calls = {
      {"RefStop", [](Moody& self) { self.RefOf(&self).Stop(); }},
      {"Spawn", [](Moody& self) { self.Spawn<Broken>(); }},
      {"After", [](Moody& self) { self.After(absl::ZeroDuration(), [&self] { self.Stop(); }); }},
      {"Ask",
       [](Moody& self) {
         (void)self.Ask(self.plan().other_actor, Question{}, absl::Seconds(1),
                        [&self](absl::StatusOr<int>) { self.Stop(); });
       }},
      {"RunBlocking",
       [](Moody& self) {
         (void)self.RunBlocking([] { return 1; }, [&self](absl::StatusOr<int>) { self.Stop(); });
       }},
      {"Monitor", [](Moody& self) { self.Monitor(self.plan().other_actor); }},
      {"Send",
       [](Moody& self) {
         for (int i = 0; i < 600; ++i) (void)self.Send(self.plan().other_actor, Note{});
         (void)self.Send(self.RefOf(&self), Note{});
         (void)self.plan().other_actor.TrySend(Note{});
       }},
      {"SendAndStop",
       [](Moody& self) {
         for (int i = 0; i < 600; ++i) (void)self.Send(self.plan().other_actor, Note{});
         self.Stop();
       }},
  };
  for (const auto& [name, call] : calls) {
    SCOPED_TRACE(name);
    Watch watch;
    Moody::Plan plan;
    plan.on_gone = call;
    Rig rig;
    plan.other_actor = rig.runtime.Spawn<Friend>(&watch);
    const Ref<Moody> moody = rig.runtime.SpawnRestarting<Moody>({}, {}, &plan);
    rig.Settle();
    for (int i = 0; i < 2; ++i) {
      (void)moody.TrySend(Note{-1});
      rig.Settle();
      rig.Advance(absl::Seconds(2));
    }
    rig.worker.Leave();
    rig.os.clock_runs = true;
    rig.runtime.Drain(absl::Seconds(10));
    rig.worker.Enter();
    EXPECT_EQ(plan.born, plan.gone);
    EXPECT_EQ(watch.wrong, 0);
    EXPECT_EQ(rig.runtime.ActorCount(), 0);
    EXPECT_TRUE(rig.runtime.TotalLedger().Balanced()) << rig.runtime.TotalLedger().ToString();
  }
}

}  // namespace
}  // namespace sluice::testing::reentry_test
