// Calls of a session before its connection is open take effect when it opens; messages that arrive
// meanwhile wait for OnOpen(); after the session's end every call does nothing.
#include <cerrno>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/actor/mail_hold.h"
#include "sluice/protocols/line_session.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::session_early_test {
namespace {

// A session that runs the test's function in its constructor.
class Early : public ScriptSession {
 public:
  using Act = std::function<void(Early&)>;
  Early(Notes* notes, Act act) : ScriptSession(notes) { act(*this); }
  using Actor::HoldMail;
};

struct Connecting {
  explicit Connecting(
      Early::Act constructor = [](Early&) {}, absl::Duration timeout = absl::Seconds(10),
      Options options = WireOptions())
      : rig(options), peer(rig.New()) {
    act = std::move(constructor);
    start = [this, timeout] {
      slot =
          rig.OpenAs<Early>(peer.wire, Connection::Start::kConnecting, timeout, &peer.notes, act);
    };
  }
  void Begin() {
    start();
    rig.Settle();
  }
  void Stand() {
    rig.os.Event(peer.wire, EPOLLOUT);
    rig.Settle();
  }
  void Fail() {
    peer.wire.socket_error = ECONNREFUSED;
    rig.os.Event(peer.wire, EPOLLOUT | EPOLLERR | EPOLLHUP);
    rig.Settle();
  }
  Rig rig;
  Rig::Peer peer;
  Slot* slot = nullptr;
  Early::Act act;
  std::function<void()> start;
};

TEST(SessionEarly, MessagesWaitForOnOpen) {
  Connecting c;
  c.peer.notes.on_message = [&](ScriptSession&, int value) {
    c.peer.notes.heard += static_cast<char>('0' + value);
  };
  c.Begin();
  const Ref<ScriptSession> ref(c.slot, c.slot->generation);
  EXPECT_EQ(ref.TrySend(ScriptSession::Poke{1}), Answer::kAccepted);
  c.rig.Settle();
  EXPECT_EQ(ref.TrySend(ScriptSession::Poke{2}), Answer::kAccepted);
  c.rig.Settle();
  EXPECT_EQ(c.peer.notes.heard, "");
  c.Stand();
  EXPECT_EQ(c.peer.notes.heard, "O12");
}

// Before OnOpen the whole mailbox waits; behind it, the messages alone.
TEST(SessionEarly, MailThatAConstructorHoldsWaitsBehindOnOpenToo) {
  MailHold hold;
  Connecting c([&](Early& self) { hold = self.HoldMail(); });
  c.peer.notes.on_message = [&](ScriptSession&, int value) {
    c.peer.notes.heard += static_cast<char>('0' + value);
  };
  c.Begin();
  const Ref<ScriptSession> ref(c.slot, c.slot->generation);
  EXPECT_EQ(ref.TrySend(ScriptSession::Poke{1}), Answer::kAccepted);
  c.rig.Settle();
  c.Stand();
  EXPECT_EQ(ref.TrySend(ScriptSession::Poke{2}), Answer::kAccepted);
  c.rig.Arrive(c.peer.wire, "x");
  c.rig.Settle();
  EXPECT_EQ(c.peer.notes.heard, "OD");
  hold.Release();
  c.rig.Settle();
  EXPECT_EQ(c.peer.notes.heard, "OD12");
}

TEST(SessionEarly, MessagesForAFailedConnectAreCounted) {
  Connecting c;
  c.Begin();
  const Ref<ScriptSession> ref(c.slot, c.slot->generation);
  EXPECT_EQ(ref.TrySend(ScriptSession::Poke{1}), Answer::kAccepted);
  c.rig.Settle();
  c.Fail();
  EXPECT_EQ(c.peer.notes.heard, "C");
  EXPECT_EQ(c.rig.runtime.TotalLedger().dropped[static_cast<int>(DropReason::kTargetEnded)], 1);
  EXPECT_EQ(ref.TrySend(ScriptSession::Poke{2}), Answer::kClosed);
}

struct Where {
  using Reply = int;
};
struct Word {
  int value = 0;
};
class Guide : public Actor {
 public:
  int On(Where) { return 7; }
};
// Asks and monitors in OnStart(); a message, the reply and the Down arrive in the order sent.
class Asker : public ScriptSession {
 public:
  Asker(Notes* notes, Ref<Guide> guide) : ScriptSession(notes), notes_(*notes), guide_(guide) {}
  void OnStart() override {
    Monitor(guide_);
    EXPECT_EQ(Ask(guide_, Where{}, absl::InfiniteDuration(),
                  [this](absl::StatusOr<int>) { notes_.heard += 'r'; }),
              Answer::kAccepted);
    After(absl::Milliseconds(10), [this] { notes_.heard += 't'; });
  }
  void On(Word) { notes_.heard += 'm'; }
  void OnDown(const Down&) override { notes_.heard += 'd'; }

 private:
  Notes& notes_;
  const Ref<Guide> guide_;
};

TEST(SessionEarly, RepliesAndDownsWaitButTimersDoNot) {
  Rig rig;
  auto [wire, notes] = rig.New();
  const Ref<Guide> guide = rig.runtime.Spawn<Guide>();
  rig.Settle();
  Slot* slot =
      rig.OpenAs<Asker>(wire, Connection::Start::kConnecting, absl::Seconds(10), &notes, guide);
  rig.Settle();
  EXPECT_EQ(Ref<Asker>(slot, slot->generation).TrySend(Word{}), Answer::kAccepted);
  guide.Stop();
  rig.Settle();
  rig.Advance(absl::Milliseconds(20));
  EXPECT_EQ(notes.heard, "t");
  rig.os.Event(wire, EPOLLOUT);
  rig.Settle();
  EXPECT_EQ(notes.heard, "tOrmd");
}

class Mute : public Actor {
 public:
  void On(Where, Promise<int> promise) { promises_.push_back(std::move(promise)); }

 private:
  std::vector<Promise<int>> promises_;
};
class AsksMute : public ScriptSession {
 public:
  AsksMute(Notes* notes, Ref<Mute> mute) : ScriptSession(notes), notes_(*notes), mute_(mute) {}
  void OnStart() override {
    EXPECT_EQ(Ask(mute_, Where{}, absl::Seconds(1),
                  [this](absl::StatusOr<int> reply) {
                    EXPECT_EQ(reply.status().code(), absl::StatusCode::kDeadlineExceeded);
                    notes_.heard += 'x';
                  }),
              Answer::kAccepted);
  }
  void On(Word) { notes_.heard += 'm'; }

 private:
  Notes& notes_;
  const Ref<Mute> mute_;
};

// Mail may wait long for OnOpen(); a deadline does not wait behind it.
TEST(SessionEarly, QuestionTimesOutWhileMailIsHeld) {
  for (const bool stands : {true, false}) {
    Rig rig;
    auto [wire, notes] = rig.New();
    const Ref<Mute> mute = rig.runtime.Spawn<Mute>();
    rig.Settle();
    Slot* slot =
        rig.OpenAs<AsksMute>(wire, Connection::Start::kConnecting, absl::Seconds(10), &notes, mute);
    rig.Settle();
    EXPECT_EQ(Ref<AsksMute>(slot, slot->generation).TrySend(Word{}), Answer::kAccepted);
    rig.Advance(absl::Milliseconds(900));
    EXPECT_EQ(notes.heard, "");
    rig.Advance(absl::Milliseconds(200));
    EXPECT_EQ(notes.heard, "x");
    if (!stands) wire.socket_error = ECONNREFUSED;
    rig.os.Event(wire, stands ? EPOLLOUT : EPOLLOUT | EPOLLERR | EPOLLHUP);
    rig.Settle();
    EXPECT_EQ(notes.heard, stands ? "xOm" : "xC");
  }
}

// A session that parks in OnStart(), on a full target, gets no message before OnOpen() either.
TEST(SessionEarly, ParkedAcceptedSessionGetsOnOpenFirst) {
  Rig rig;
  auto [wire, notes] = rig.New();
  auto [other, other_notes] = rig.New();
  Slot* const full = rig.Open(other, other_notes);
  rig.Settle();
  rig.worker.Suspend(full);
  const Ref<ScriptSession> target(full, full->generation);
  for (uint32_t i = 0; i < rig.runtime.options().mailbox_messages_max; ++i) {
    EXPECT_EQ(target.TrySend(ScriptSession::Poke{}), Answer::kAccepted);
  }
  notes.on_start = [&](ScriptSession& session) {
    EXPECT_EQ(session.Send(target, ScriptSession::Poke{}), Answer::kAccepted);
  };
  notes.on_message = [&, &heard = notes.heard](ScriptSession&, int) { heard += 'm'; };
  Slot* const slot = rig.Open(wire, notes);
  rig.Settle();
  EXPECT_TRUE(slot->parked);
  EXPECT_EQ(Ref<ScriptSession>(slot, slot->generation).TrySend(ScriptSession::Poke{}),
            Answer::kAccepted);
  rig.Settle();
  EXPECT_EQ(notes.heard, "");
  rig.worker.Resume(full);
  rig.Settle();
  EXPECT_EQ(notes.heard, "Om");
}

TEST(SessionEarly, EarlyOutputLeavesWhenTheConnectionStands) {
  Connecting c([](Early& session) {
    EXPECT_EQ(session.Write("in the constructor, "), Answer::kAccepted);
    EXPECT_EQ(session.Write(Bytes::Copy("and shared, ")), Answer::kAccepted);
    EXPECT_EQ(session.OutputBytes(), 32u);
  });
  c.peer.notes.on_start = [](ScriptSession& session) {
    EXPECT_EQ(session.Write("in OnStart, "), Answer::kAccepted);
  };
  c.peer.notes.on_open = [](ScriptSession& session) {
    EXPECT_EQ(session.Write("in OnOpen"), Answer::kAccepted);
  };
  c.Begin();
  EXPECT_EQ(c.peer.notes.session->Write("while it connects, "), Answer::kAccepted);
  EXPECT_EQ(c.peer.notes.session->Write(std::string(40'000, '.')), Answer::kAccepted);
  c.rig.Settle();
  EXPECT_EQ(c.peer.wire.writes, 0);
  c.Stand();
  EXPECT_EQ(c.peer.notes.heard, "O");
  EXPECT_EQ(c.peer.wire.output, "in the constructor, and shared, in OnStart, while it connects, " +
                                    std::string(40'000, '.') + "in OnOpen");
}

TEST(SessionEarly, AnAcceptedSessionMayWriteInItsConstructor) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_open = [](ScriptSession& session) {
    EXPECT_EQ(session.Write("two"), Answer::kAccepted);
  };
  rig.OpenAs<Early>(
      wire, Connection::Start::kConnected, absl::InfiniteDuration(), &notes,
      Early::Act([](Early& session) { EXPECT_EQ(session.Write("one, "), Answer::kAccepted); }));
  rig.Settle();
  EXPECT_EQ(notes.heard, "O");
  EXPECT_EQ(wire.output, "one, two");
}

TEST(SessionEarly, AbortInAnAcceptedSessionsConstructorSendsNothing) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.OpenAs<Early>(wire, Connection::Start::kConnected, absl::InfiniteDuration(), &notes,
                    Early::Act([](Early& session) {
                      EXPECT_EQ(session.Write("a part"), Answer::kAccepted);
                      session.WriteOrAbort(std::string(2 << 20, 'x'));  // Never fits.
                    }));
  rig.Settle();
  EXPECT_EQ(notes.heard, "C");
  EXPECT_EQ(notes.reason, CloseReason::kOutputFull);
  EXPECT_EQ(wire.output, "") << "the peer takes a part for the whole";
  EXPECT_TRUE(wire.reset);
}

TEST(SessionEarly, WriteKeepsItsBoundAndOnWritableFollows) {
  const std::string most(1024 * 1024, 'x');
  Connecting c([&](Early& session) {
    EXPECT_EQ(session.Write(most + "x"), Answer::kTooLarge);
    EXPECT_EQ(session.Write(most), Answer::kAccepted);
    EXPECT_EQ(session.Write("more"), Answer::kFull);
  });
  c.Begin();
  EXPECT_EQ(c.peer.notes.session->Write("more"), Answer::kFull);
  EXPECT_EQ(c.peer.notes.heard, "");
  c.Stand();
  EXPECT_EQ(c.peer.notes.heard, "OW");
  EXPECT_EQ(c.peer.wire.output.size(), most.size());
}

TEST(SessionEarly, BytesForAFailedConnectCountAsLost) {
  Connecting c([](Early& session) { EXPECT_EQ(session.Write("12345"), Answer::kAccepted); });
  c.Begin();
  EXPECT_EQ(c.peer.notes.session->Write("678"), Answer::kAccepted);
  c.rig.Settle();
  c.Fail();
  EXPECT_EQ(c.peer.notes.reason, CloseReason::kConnectFailed);
  EXPECT_EQ(c.rig.Ledger().bytes_lost, 8);
}

TEST(SessionEarly, BytesOfAThrowingConstructorCountAsLost) {
  Rig rig;
  auto [wire, notes] = rig.New();
  Slot* slot = rig.worker.life().AllocateSlot();
  rig.worker.life().Open(slot, 16);
  internal::Construct<Early>(rig.worker, slot, &notes, Early::Act([](Early& session) {
                               EXPECT_EQ(session.Write("12345"), Answer::kAccepted);
                               throw std::runtime_error("no");
                             }));
  rig.Settle();
  EXPECT_EQ(rig.Ledger().bytes_lost, 5);
  EXPECT_EQ(rig.Ledger().BytesHeld(), 0);
}

// A connect may take a while: the time that the peer has for the first bytes begins when the
// connection opens.
TEST(SessionEarly, TheStallClockBeginsWhenTheConnectionStands) {
  Connecting c([](Early& session) { EXPECT_EQ(session.Write("hello"), Answer::kAccepted); },
               absl::InfiniteDuration());
  c.Begin();
  c.rig.Advance(absl::Seconds(70));
  c.peer.wire.room = 0;
  c.Stand();
  c.rig.Advance(absl::Seconds(59));
  EXPECT_FALSE(c.peer.wire.closed);
  c.rig.Advance(absl::Seconds(2));
  EXPECT_EQ(c.peer.notes.reason, CloseReason::kWriteStalled);
}

TEST(SessionEarly, CloseWriteSendsItsFinWhenTheConnectionStands) {
  for (const bool constructor : {true, false}) {
    for (const bool bytes : {true, false}) {
      const auto end = [=](ScriptSession& session) {
        if (bytes) session.WriteOrAbort("bye");
        session.CloseWrite();
        EXPECT_EQ(session.Write("more"), Answer::kClosed);
      };
      Connecting c([=](Early& session) {
        if (constructor) end(session);
      });
      if (!constructor) c.peer.notes.on_start = end;
      c.Begin();
      EXPECT_FALSE(c.peer.wire.fin);
      c.Stand();
      EXPECT_EQ(c.peer.notes.heard, "O");
      EXPECT_EQ(c.peer.wire.output, bytes ? "bye" : "");
      EXPECT_TRUE(c.peer.wire.fin);
      c.rig.Arrive(c.peer.wire, "answer");
      c.rig.Settle();
      EXPECT_EQ(c.peer.notes.data, "answer");
    }
  }
}

TEST(SessionEarly, CloseSendsTheOutputBeforeItEnds) {
  for (const bool constructor : {true, false}) {
    const auto end = [](ScriptSession& session) {
      EXPECT_EQ(session.Write("bye"), Answer::kAccepted);
      session.Close();
      EXPECT_EQ(session.Write("more"), Answer::kClosed);
    };
    Connecting c([=](Early& session) {
      if (constructor) end(session);
    });
    if (!constructor) c.peer.notes.on_start = end;
    c.Begin();
    EXPECT_EQ(c.peer.notes.heard, "");
    c.Stand();
    EXPECT_EQ(c.peer.wire.output, "bye");
    EXPECT_TRUE(c.peer.wire.fin);
    c.rig.Fin(c.peer.wire);
    c.rig.Settle();
    EXPECT_EQ(c.peer.notes.heard, "C");
    EXPECT_EQ(c.peer.notes.reason, CloseReason::kClosed);
  }
}

// Otherwise nothing would end the connect: the session is gone, and there is no connect timeout.
TEST(SessionEarly, CloseTimeoutLimitsAnUnlimitedConnect) {
  for (const bool stops : {false, true}) {
    Connecting c(
        [=](Early& session) {
          EXPECT_EQ(session.Write("bye"), Answer::kAccepted);
          if (!stops) session.Close();
        },
        absl::InfiniteDuration());
    c.Begin();
    c.rig.Advance(absl::Minutes(10));
    EXPECT_EQ(c.peer.wire.closed, !stops) << "before the close there is no limit";
    if (stops) {
      c.peer.notes.session->Stop();
      c.rig.Settle();
      c.rig.Advance(absl::Minutes(5) - absl::Milliseconds(1));
      EXPECT_FALSE(c.peer.wire.closed);
      c.rig.Advance(absl::Milliseconds(1));
    }
    EXPECT_TRUE(c.peer.wire.closed);
    EXPECT_EQ(c.peer.notes.heard, "C");
    EXPECT_EQ(c.rig.Closed(CloseReason::kConnectFailed), 1);
    EXPECT_EQ(c.rig.Ledger().bytes_lost, 3);
  }
}

TEST(SessionEarly, CloseTimeoutBeginsWhenTheConnectionStands) {
  Options options = WireOptions();
  options.close_timeout = absl::Seconds(1);
  Connecting c(
      [](Early& session) {
        EXPECT_EQ(session.Write("bye"), Answer::kAccepted);
        session.Close();
      },
      absl::Seconds(10), options);
  c.Begin();
  c.rig.Advance(absl::Seconds(3));
  ASSERT_FALSE(c.peer.wire.closed) << "the time to connect is not over";
  c.Stand();
  EXPECT_EQ(c.peer.wire.output, "bye");
  EXPECT_TRUE(c.peer.wire.fin);
  c.peer.wire.unacknowledged = 3;
  c.rig.Advance(absl::Milliseconds(999));
  EXPECT_FALSE(c.peer.wire.closed);
  c.rig.Advance(absl::Milliseconds(1));
  EXPECT_EQ(c.peer.notes.reason, CloseReason::kLingered);
}

// --- Drain.

TEST(SessionEarly, DrainEndsAConnectWithoutCallingOnDrain) {
  Connecting c([](Early&) {}, absl::InfiniteDuration());
  c.peer.notes.on_drain = [](ScriptSession& session) {
    EXPECT_EQ(session.Write("good bye"), Answer::kAccepted);
    session.Close();
  };
  c.Begin();
  c.rig.worker.drain().Begin();
  c.rig.Settle();
  EXPECT_FALSE(c.peer.wire.closed) << "others may still have a message for it";
  c.rig.worker.drain().Close();
  c.rig.Settle();
  EXPECT_EQ(c.peer.notes.heard, "C");
  EXPECT_EQ(c.peer.notes.reason, CloseReason::kAborted);
  EXPECT_TRUE(c.peer.wire.closed);
}

TEST(SessionEarly, ADrainLetsWhatWasWrittenEarlyLeave) {
  Connecting c([](Early& session) { EXPECT_EQ(session.Write("bye"), Answer::kAccepted); });
  c.Begin();
  c.rig.worker.drain().Begin();
  c.rig.worker.drain().Close();
  c.rig.Settle();
  EXPECT_FALSE(c.peer.wire.closed);
  c.Stand();
  EXPECT_EQ(c.peer.wire.output, "bye");
  EXPECT_TRUE(c.peer.wire.fin);
  c.rig.Fin(c.peer.wire);
  c.rig.Settle();
  EXPECT_EQ(c.peer.notes.heard, "C");
  EXPECT_EQ(c.peer.notes.reason, CloseReason::kClosed);
}

TEST(SessionEarly, AnActorThatStopsStillHasItsBytesSent) {
  Connecting c([](Early& session) { EXPECT_EQ(session.Write("bye"), Answer::kAccepted); });
  c.Begin();
  c.peer.notes.session->Stop();
  c.rig.Settle();
  c.Stand();
  EXPECT_EQ(c.peer.wire.output, "bye");
  EXPECT_TRUE(c.peer.wire.fin);
}

TEST(SessionEarly, CloseWithoutOutputAndAbortEndTheConnect) {
  for (const bool constructor : {true, false}) {
    for (const bool aborts : {true, false}) {
      const auto end = [=](ScriptSession& session) {
        if (aborts) {
          session.Abort(CloseReason::kSlow);
        } else {
          session.Close();
        }
      };
      Connecting c([=](Early& session) {
        if (constructor) end(session);
      });
      if (!constructor) c.peer.notes.on_start = end;
      c.Begin();
      EXPECT_EQ(c.peer.notes.heard, "C") << constructor << aborts;
      EXPECT_EQ(c.peer.notes.reason, aborts ? CloseReason::kSlow : CloseReason::kAborted);
      EXPECT_TRUE(c.peer.wire.closed);
    }
  }
}

TEST(SessionEarly, AcceptedSessionMayCloseBeforeOnOpen) {
  for (const bool constructor : {true, false}) {
    Rig rig;
    auto [wire, notes] = rig.New();
    const auto end = [](ScriptSession& session) {
      EXPECT_EQ(session.Write("busy"), Answer::kAccepted);
      session.Close();
    };
    if (!constructor) notes.on_start = end;
    rig.OpenAs<Early>(wire, Connection::Start::kConnected, absl::InfiniteDuration(), &notes,
                      Early::Act([=](Early& session) {
                        if (constructor) end(session);
                      }));
    rig.Settle();
    EXPECT_EQ(wire.output, "busy");
    EXPECT_TRUE(wire.fin);
    rig.Fin(wire);
    rig.Settle();
    EXPECT_EQ(notes.heard, "C");
  }
}

TEST(SessionEarly, APauseInTheConstructorHoldsUntilItResumes) {
  for (const auto start : {Connection::Start::kConnecting, Connection::Start::kConnected}) {
    Rig rig;
    auto [wire, notes] = rig.New();
    rig.OpenAs<Early>(wire, start, absl::InfiniteDuration(), &notes, Early::Act([](Early& session) {
                        session.PauseReading();
                        EXPECT_TRUE(session.ReadingHeld());
                      }));
    rig.os.Event(wire, EPOLLOUT);
    rig.Arrive(wire, "first");
    rig.Settle();
    EXPECT_EQ(notes.heard, "O");
    EXPECT_EQ(wire.reads, 0);
    notes.session->ResumeReading();
    rig.Settle();
    EXPECT_EQ(notes.data, "first");
  }
}

TEST(SessionEarly, AnInputMaximumSetInTheConstructorHolds) {
  for (const auto start : {Connection::Start::kConnecting, Connection::Start::kConnected}) {
    Rig rig;
    auto [wire, notes] = rig.New();
    notes.on_data = [&data = notes.data](ScriptSession&, Input& in) {
      if (in.size() == 200'000) data = in.TakeAll();
    };
    rig.OpenAs<Early>(wire, start, absl::InfiniteDuration(), &notes,
                      Early::Act([](Early& session) { session.SetInputMax(200'000); }));
    rig.os.Event(wire, EPOLLOUT);
    rig.Arrive(wire, std::string(200'000, 'f'));
    rig.Settle();
    EXPECT_EQ(notes.data.size(), 200'000u);
  }
}

class Lines : public LineSession {
 public:
  Lines(std::string* heard, bool closes) : LineSession(100), heard_(*heard) {
    EXPECT_EQ(Write("hello\n"), Answer::kAccepted);
    if (closes) CloseWrite();
  }
  void OnOpen() override { heard_ += "open "; }
  void OnLine(std::string_view line) override { heard_ += std::string(line) + " "; }
  void OnClose(CloseReason) override { heard_ += "close"; }
  void On(Word) { heard_ += "message "; }

 private:
  std::string& heard_;
};

// An input maximum of 0 means that nothing may be kept: unconsumed input is too long at once,
// wherever the session has set the maximum.
TEST(SessionEarly, ZeroInputMaximumHoldsInTheConstructorToo) {
  for (const bool constructor : {true, false}) {
    Rig rig;
    auto [wire, notes] = rig.New();
    const auto set = [](ScriptSession& session) { session.SetInputMax(0); };
    notes.on_data = [](ScriptSession&, Input&) {};
    if (!constructor) notes.on_start = set;
    rig.OpenAs<Early>(wire, Connection::Start::kConnected, absl::InfiniteDuration(), &notes,
                      Early::Act([=](Early& session) {
                        if (constructor) set(session);
                      }));
    rig.Arrive(wire, "x");
    rig.Settle();
    EXPECT_EQ(notes.reason, CloseReason::kInputFull) << constructor;
  }
}

TEST(SessionEarly, ALineSessionKeepsTheSameRule) {
  Rig rig;
  auto [wire, notes] = rig.New();
  std::string heard;
  Slot* const slot = rig.OpenAs<Lines>(wire, Connection::Start::kConnecting, absl::Seconds(10),
                                       &heard, /*closes=*/true);
  EXPECT_EQ(Ref<Lines>(slot, slot->generation).TrySend(Word{}), Answer::kAccepted);
  rig.Settle();
  EXPECT_EQ(heard, "");
  rig.os.Event(wire, EPOLLOUT);
  rig.Settle();
  EXPECT_EQ(wire.output, "hello\n");
  EXPECT_TRUE(wire.fin);
  rig.Arrive(wire, "one\ntwo");
  rig.Fin(wire);
  rig.Settle();
  EXPECT_EQ(heard, "open message one two close");
}

TEST(SessionEarly, AfterTheEndEveryCallDoesNothing) {
  Connecting c;
  int calls = 0;
  c.peer.notes.on_close = [&](ScriptSession& session) {
    ++calls;
    EXPECT_EQ(session.Write("late"), Answer::kClosed);
    EXPECT_EQ(session.Write(Bytes::Copy("late")), Answer::kClosed);
    session.Close();
    session.CloseWrite();
    session.Abort();
    session.PauseReading();
    session.ResumeReading();
    session.SetInputMax(1);
    session.WantWritable();
    EXPECT_EQ(session.OutputBytes(), 0u);
  };
  c.Begin();
  c.Fail();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(c.rig.Ledger().bytes_accepted, 0);
}

TEST(SessionEarly, NegativeConnectTimeoutExpiresAtOnce) {
  Connecting c([](Early&) {}, absl::Seconds(-1));
  c.Begin();
  c.rig.Advance(absl::Milliseconds(1));
  EXPECT_EQ(c.peer.notes.reason, CloseReason::kConnectFailed);
}

}  // namespace
}  // namespace sluice::testing::session_early_test
