// Tests of a connection's end: half-close both ways, lingering close, aborts, failures, the drain.
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::connection_close_test {
namespace {

using Notes = ScriptSession::Notes;

// A drain stops reading a nearby peer after so long a silence.
constexpr absl::Duration kSilence = absl::Milliseconds(50);

// --- The peer ends first.

TEST(ConnectionClose, LastBytesArriveWhenPeerHalfClosesFirst) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_data = [](ScriptSession& session, Input& in) {
    EXPECT_EQ(session.Write(in.TakeAll()), Answer::kAccepted);
  };
  rig.Open(wire, notes);
  rig.Settle();
  wire.room = 0;
  rig.Arrive(wire, "question");
  rig.Fin(wire);
  rig.Settle();
  EXPECT_FALSE(wire.closed);
  rig.Room(wire, 100);
  rig.Settle();
  EXPECT_EQ(wire.output, "question");
  EXPECT_TRUE(wire.closed);
  EXPECT_FALSE(wire.reset);
  EXPECT_EQ(notes.reason, CloseReason::kPeerClosed);
}

TEST(ConnectionClose, SessionMayWriteAfterEndOfStream) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_eof = [](ScriptSession&) {};
  rig.Open(wire, notes);
  rig.Fin(wire);
  rig.Settle();
  EXPECT_EQ(notes.session->Write("still here"), Answer::kAccepted);
  rig.Advance(absl::Minutes(4));
  EXPECT_EQ(wire.output, "still here");
  EXPECT_FALSE(wire.closed);
  notes.session->Close();
  rig.Settle();
  EXPECT_EQ(notes.reason, CloseReason::kPeerClosed);
}

// --- This side ends first.

TEST(ConnectionClose, CloseSendsAllThenReadsUntilPeerFin) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.room = 5;
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write("last words"), Answer::kAccepted);
  notes.session->Close();
  EXPECT_EQ(notes.session->Write("no more"), Answer::kClosed);
  rig.Settle();
  EXPECT_FALSE(wire.fin);
  rig.Room(wire, 5);
  rig.Settle();
  EXPECT_EQ(wire.output, "last words");
  EXPECT_TRUE(wire.fin);
  EXPECT_FALSE(wire.closed);  // Not close(): unread input would become a reset.
  rig.Arrive(wire, "what nobody reads");
  rig.Settle();
  EXPECT_EQ(wire.input, "");
  EXPECT_EQ(notes.data, "");
  rig.Fin(wire);
  rig.Settle();
  EXPECT_TRUE(wire.closed);
  EXPECT_FALSE(wire.reset);
  EXPECT_EQ(notes.reason, CloseReason::kClosed);
}

TEST(ConnectionClose, CloseDiscardsUnreadInputWithoutAnEvent) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->PauseReading();
  rig.Arrive(wire, "unread");
  rig.Fin(wire);
  rig.Settle();
  notes.session->Close();
  rig.Settle();
  EXPECT_EQ(wire.input, "");
  EXPECT_EQ(notes.reason, CloseReason::kClosed);
}

TEST(ConnectionClose, ClosingSideGivesUpOnAnEndlessSender) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->Close();
  for (int i = 0; i < 100 && !wire.closed; ++i) {
    rig.Arrive(wire, std::string(100'000, 'x'));
    rig.Settle();
  }
  EXPECT_TRUE(wire.closed);
  EXPECT_EQ(notes.reason, CloseReason::kLingered);
}

// The peer does not have all of our answer yet: a close would send a reset and lose it. Meanwhile
// the peer is not read any more.
TEST(ConnectionClose, EndlessSenderWithoutTheAnswerIsNotRead) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write("answer"), Answer::kAccepted);
  notes.session->Close();
  rig.Settle();
  wire.unacknowledged = 6;
  for (int i = 0; i < 100; ++i) {
    rig.Arrive(wire, std::string(100'000, 'x'));
    rig.Settle();
  }
  EXPECT_FALSE(wire.closed);
  EXPECT_GE(wire.input.size(), 8'000'000u);
  wire.unacknowledged = 0;
  rig.Advance(absl::Seconds(5));
  EXPECT_EQ(notes.reason, CloseReason::kLingered);
}

TEST(ConnectionClose, AHalfCloseOfOurOwnGoesOnReading) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_eof = [](ScriptSession&) {};
  wire.room = 0;
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write("request"), Answer::kAccepted);
  notes.session->CloseWrite();
  EXPECT_EQ(notes.session->Write("more"), Answer::kClosed);
  rig.Arrive(wire, "early answer, ");  // Arrives while the request is still in the output.
  rig.Settle();
  EXPECT_EQ(notes.data, "early answer, ");
  rig.Room(wire, 100);
  rig.Settle();
  EXPECT_TRUE(wire.fin);
  rig.Arrive(wire, "late answer");
  rig.Fin(wire);
  rig.Settle();
  EXPECT_EQ(notes.data, "early answer, late answer");
  EXPECT_EQ(notes.heard, "ODDEC");
  EXPECT_EQ(notes.reason, CloseReason::kClosed);
  EXPECT_FALSE(wire.reset);
}

TEST(ConnectionClose, CloseAfterOurHalfCloseLingersAsLong) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->CloseWrite();
  rig.Settle();
  rig.Advance(absl::Minutes(2));
  notes.session->Close();
  rig.Settle();
  rig.Advance(absl::Seconds(1));
  EXPECT_FALSE(wire.closed);
  rig.Fin(wire);
  rig.Settle();
  EXPECT_EQ(notes.reason, CloseReason::kClosed);
}

TEST(ConnectionClose, AnAbortResetsAndCountsWhatIsLost) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.room = 4;
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write("half of it"), Answer::kAccepted);
  rig.Settle();
  notes.session->Abort();
  EXPECT_TRUE(wire.reset);
  rig.Settle();
  EXPECT_EQ(rig.Ledger().bytes_lost, 6);
  EXPECT_EQ(notes.reason, CloseReason::kAborted);
}

TEST(ConnectionClose, AbortingHandlersBytesAreLostAndCounted) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_data = [](ScriptSession& session, Input& in) {
    in.TakeAll();
    EXPECT_EQ(session.Write("gathered"), Answer::kAccepted);
    session.Abort();
    EXPECT_EQ(session.Write("more"), Answer::kClosed);
  };
  rig.Open(wire, notes);
  rig.Arrive(wire, "?");
  rig.Settle();
  EXPECT_EQ(wire.output, "");
  EXPECT_EQ(rig.Ledger().bytes_lost, 8);
}

// --- The session ends the connection in each of its callbacks.

TEST(ConnectionClose, SessionMayEndItInEachCallback) {
  using Handler = std::function<void(ScriptSession&)>;
  const Handler ways[] = {[](ScriptSession& s) { s.Close(); }, [](ScriptSession& s) { s.Abort(); },
                          [](ScriptSession& s) { s.Stop("enough"); },
                          [](ScriptSession& s) { s.CloseWrite(), s.Close(); },
                          [](ScriptSession&) { throw std::runtime_error("thrown by the test"); }};
  for (const char* place :
       {"start", "open", "data", "eof", "writable", "drain", "message", "close"}) {
    for (size_t way = 0; way < std::size(ways); ++way) {
      SCOPED_TRACE(std::string(place) + ", way " + std::to_string(way));
      Rig rig;
      auto [wire, notes] = rig.New();
      const Handler& end = ways[way];
      const std::string where = place;
      if (where == "start") notes.on_start = end;
      if (where == "open") notes.on_open = end;
      if (where == "data") notes.on_data = [&](ScriptSession& s, Input& in) { in.Take(1), end(s); };
      notes.on_eof = where == "eof" ? end : [](ScriptSession&) {};
      if (where == "writable") notes.on_writable = end;
      if (where == "drain") notes.on_drain = end;
      if (where == "message") notes.on_message = [&](ScriptSession& s, int) { end(s); };
      if (where == "close") notes.on_close = end;
      wire.room = 1'000;
      Slot* slot = rig.Open(wire, notes);
      const Ref<ScriptSession> ref(slot, slot->generation);
      const auto session_live = [&, &notes = notes] {
        return notes.session != nullptr && notes.session->connection() != nullptr;
      };
      // The session may have ended already.
      if (session_live()) (void)notes.session->Write(std::string(2'000, 'x'));
      if (session_live()) (void)notes.session->Write(std::string(1'048'000, 'x'));
      rig.Arrive(wire, "abc");
      rig.Settle();
      (void)ref.TrySend(ScriptSession::Poke{1});
      rig.Settle();
      rig.Room(wire, 4'000'000);
      rig.Settle();
      rig.worker.drain().Begin();
      rig.Settle();
      rig.worker.drain().Close();
      rig.Advance(kSilence);
      rig.Fin(wire);
      rig.Settle();
      if (where == "close" && session_live()) notes.session->Close();
      rig.Settle();
      if (where == "eof" || where == "close") {
        rig.worker.drain()
            .ShutdownAll();  // The drain reads no more: the FIN may not have been seen.
        rig.Settle();
      }
      EXPECT_TRUE(wire.closed);
      EXPECT_EQ(notes.session, nullptr);
      EXPECT_EQ(rig.Ledger().ClosedTotal(), 1);
    }
  }
}

TEST(ConnectionClose, OutputOfAFailedSessionIsStillSent) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.room = 2;
  notes.on_data = [](ScriptSession& session, Input& in) {
    in.TakeAll();
    EXPECT_EQ(session.Write("before"), Answer::kAccepted);
    throw std::runtime_error("thrown by the test");
  };
  rig.Open(wire, notes);
  rig.Arrive(wire, "?");
  rig.Settle();
  EXPECT_EQ(notes.session, nullptr);
  EXPECT_FALSE(wire.fin);
  rig.Room(wire, 100);
  rig.Settle();
  EXPECT_EQ(wire.output, "before");
  EXPECT_TRUE(wire.fin);
  rig.Fin(wire);
  rig.Settle();
  EXPECT_EQ(rig.Closed(CloseReason::kFailed), 1);
  EXPECT_FALSE(wire.reset);
}

TEST(ConnectionClose, OnCloseMayWriteWhenTheActorStops) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_message = [](ScriptSession& session, int) { session.Stop(); };
  notes.on_close = [](ScriptSession& session) {
    EXPECT_EQ(session.Write("bye"), Answer::kAccepted);
  };
  Slot* slot = rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(Ref<ScriptSession>(slot, slot->generation).TrySend(ScriptSession::Poke{}),
            Answer::kAccepted);
  rig.Settle();
  rig.Fin(wire);
  rig.Settle();
  EXPECT_EQ(wire.output, "bye");
  EXPECT_TRUE(wire.closed);
}

TEST(ConnectionClose, AConnectionThatThePollerRefusesEndsAtOnce) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.os.add_error = ENOSPC;
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_TRUE(wire.closed);
  EXPECT_EQ(notes.heard, "C");
  EXPECT_EQ(notes.reason, CloseReason::kError);
}

TEST(ConnectionClose, ATruncatedStreamNeverLooksLikeAnEnd) {
  Options options = WireOptions();
  options.lifetime_timeout = absl::Seconds(10);
  Rig rig(options);
  auto [wire, notes] = rig.New();
  wire.room = 3;
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write("truncated"), Answer::kAccepted);
  rig.Settle();
  rig.Advance(absl::Seconds(11));
  EXPECT_TRUE(wire.closed);
  EXPECT_TRUE(wire.reset);
}

// The handler's own socket has failed, but no event has reported that yet. The session is notified
// when its handler is over, not in the middle of it because it ended another connection.
TEST(ConnectionClose, AHandlerThatEndsAnotherConnectionKeepsItsOwn) {
  Rig rig;
  auto [own, own_notes] = rig.New();
  auto [other, other_notes] = rig.New();
  rig.Open(own, own_notes);
  rig.Open(other, other_notes);
  rig.Settle();
  own.write_error = ECONNRESET;
  bool kept = false;
  own_notes.on_data = [&, &ended = other_notes](ScriptSession& session, Input& in) {
    in.TakeAll();
    EXPECT_EQ(session.Write("to a socket that has failed"), Answer::kAccepted);
    ended.session->Abort();
    kept = session.connection() != nullptr;
  };
  rig.Arrive(own, "?");
  rig.Settle();
  EXPECT_TRUE(other.closed);
  EXPECT_TRUE(kept);
  EXPECT_EQ(own_notes.reason, CloseReason::kReset);
}

// --- Outgoing connections.

TEST(ConnectionClose, ARefusedConnectIsTold) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.OpenConnecting(wire, notes, absl::Seconds(10));
  wire.socket_error = ECONNREFUSED;
  rig.os.Event(wire, EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP);
  rig.Settle();
  EXPECT_EQ(notes.heard, "C");
  EXPECT_EQ(notes.reason, CloseReason::kConnectFailed);
}

TEST(ConnectionClose, AConnectThatGetsNoAnswerTimesOut) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.OpenConnecting(wire, notes, absl::Seconds(10));
  rig.Advance(absl::Seconds(9));
  EXPECT_FALSE(wire.closed);
  rig.Advance(absl::Milliseconds(1'001));
  EXPECT_EQ(notes.reason, CloseReason::kConnectFailed);
}

TEST(ConnectionClose, ConnectWithoutTimeStillReportsFailure) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.OpenConnecting(wire, notes, absl::ZeroDuration());
  rig.Settle();
  EXPECT_EQ(notes.heard, "C");
  EXPECT_EQ(notes.reason, CloseReason::kConnectFailed);
}

TEST(ConnectionClose, DrainEndsAConnectionThatIsStillConnecting) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.OpenConnecting(wire, notes, absl::InfiniteDuration());
  rig.worker.drain().Begin();
  rig.Settle();
  rig.worker.drain().Close();
  rig.Settle();
  EXPECT_TRUE(wire.closed);
}

// --- The drain.

TEST(ConnectionClose, DrainAnswersAllThatHadArrivedThenCloses) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_data = [](ScriptSession& session, Input& in) {
    EXPECT_EQ(session.Write(in.TakeAll()), Answer::kAccepted);
  };
  rig.Open(wire, notes);
  rig.Settle();
  wire.room = 0;
  const std::string sent(400'000, 'd');
  wire.input = sent;  // Arrived, and no event was taken yet.
  rig.worker.drain().Begin();
  rig.Settle();
  rig.worker.drain().Close();
  rig.Settle();
  EXPECT_EQ(notes.heard.find('H'), std::string::npos);  // Backpressure holds OnDrain back.
  while (!wire.fin && wire.output.size() < sent.size()) {
    rig.Room(wire, 50'000);
    rig.Settle();
  }
  EXPECT_EQ(wire.output, sent);
  EXPECT_FALSE(wire.fin) << "more may be on its way";
  rig.Advance(kSilence);
  EXPECT_TRUE(wire.fin);
  EXPECT_EQ(notes.heard.back(), 'H');
  rig.Fin(wire);
  rig.Settle();
  EXPECT_EQ(notes.reason, CloseReason::kClosed);
}

// A drain of a session that does not end in OnDrain.
struct Draining {
  explicit Draining(int64_t round_trip_ms, Options options = WireOptions()) : rig(options) {
    notes.on_drain = [](ScriptSession&) {};
    wire.round_trip_ms = round_trip_ms;
    rig.Open(wire, notes);
    rig.Settle();
    rig.worker.drain().Begin();
    rig.worker.drain().Close();
    rig.Settle();
  }
  bool Told() const { return notes.heard.find('H') != std::string::npos; }
  Rig rig;
  Rig::Peer peer = rig.New();
  Wire& wire = peer.wire;
  Notes& notes = peer.notes;
};

TEST(ConnectionDrain, ReadsUntilSilenceForARoundTrip) {
  Draining one(/*round_trip_ms=*/30);
  std::string all;
  for (int i = 0; i < 10; ++i) {
    one.rig.Advance(absl::Milliseconds(79));
    ASSERT_FALSE(one.Told());
    one.rig.Arrive(one.wire, "more");
    one.rig.Settle();
    all += "more";
    EXPECT_EQ(one.notes.data, all);
  }
  one.rig.Advance(absl::Milliseconds(80));
  EXPECT_TRUE(one.Told());
  one.rig.Arrive(one.wire, "too late");
  one.rig.Settle();
  EXPECT_EQ(one.notes.data, all);
}

TEST(ConnectionDrain, FarPeerGetsAQuarterOfTheTime) {
  Draining one(/*round_trip_ms=*/5'000);
  one.rig.Advance(WireOptions().drain_timeout / 4 - absl::Milliseconds(1));
  EXPECT_FALSE(one.Told());
  one.rig.Advance(absl::Milliseconds(1));
  EXPECT_TRUE(one.Told());
}

TEST(ConnectionDrain, APeersEndIsWaitedForNoLonger) {
  Draining one(/*round_trip_ms=*/500);
  one.rig.Arrive(one.wire, "all");
  one.rig.Fin(one.wire);
  one.rig.Settle();
  EXPECT_EQ(one.notes.data, "all");
  EXPECT_TRUE(one.wire.closed);
  EXPECT_FALSE(one.wire.reset);
}

TEST(ConnectionDrain, UnreadInputIsNoSilence) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_data = [](ScriptSession& session, Input& in) {
    EXPECT_EQ(session.Write(in.TakeAll()), Answer::kAccepted);
  };
  rig.Open(wire, notes);
  rig.Settle();
  wire.room = 0;
  rig.Arrive(wire, std::string(200'000, 'u'));
  rig.Settle();
  rig.worker.drain().Begin();
  rig.worker.drain().Close();
  rig.Advance(absl::Seconds(1));
  EXPECT_EQ(notes.heard.find('H'), std::string::npos);
  wire.room = INT64_MAX;
  rig.os.Event(wire, EPOLLOUT);
  rig.Settle();
  EXPECT_EQ(wire.output.size(), 200'000u);
  rig.Advance(kSilence - absl::Milliseconds(1));
  EXPECT_FALSE(wire.fin) << "its silence began only when all was read";
  rig.Advance(absl::Milliseconds(1));
  EXPECT_TRUE(wire.fin);
}

TEST(ConnectionDrain, EndlessSenderIsClosedInOrderBeforeDeadline) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  rig.worker.drain().Begin();
  rig.worker.drain().Close();
  for (int i = 0; i < 100; ++i) {
    rig.Arrive(wire, "x");
    rig.Advance(absl::Milliseconds(10));
  }
  EXPECT_EQ(notes.data.size(), 100u);
  EXPECT_FALSE(wire.fin);
  rig.worker.drain().EndReading();
  rig.Arrive(wire, "1234567");
  rig.Settle();
  EXPECT_EQ(notes.data.size(), 100u);
  EXPECT_TRUE(wire.fin);
  EXPECT_EQ(rig.Ledger().bytes_discarded, 7);
  rig.Fin(wire);
  rig.Settle();
  EXPECT_EQ(notes.reason, CloseReason::kClosed);
}

TEST(ConnectionClose, AHalfClosedConnectionHearsOnDrainToo) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_eof = [](ScriptSession&) {};
  rig.Open(wire, notes);
  rig.Fin(wire);
  rig.Settle();
  rig.worker.drain().Begin();
  rig.Settle();
  rig.worker.drain().Close();
  rig.Settle();
  EXPECT_EQ(notes.heard, "OEHC");
  EXPECT_EQ(notes.reason, CloseReason::kPeerClosed);
}

TEST(ConnectionClose, ConnectionDuringTheDrainIsAnsweredAndClosed) {
  Rig rig;
  rig.worker.drain().Begin();
  rig.worker.drain().Close();
  auto [wire, notes] = rig.New();
  notes.on_data = [](ScriptSession& session, Input& in) {
    EXPECT_EQ(session.Write(in.TakeAll()), Answer::kAccepted);
  };
  wire.input = "just in time";
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(wire.output, "just in time");
  rig.Advance(kSilence);
  EXPECT_EQ(notes.heard, "ODH");
}

TEST(ConnectionClose, TheDrainsDeadlineCountsWhatIsLost) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.room = 0;
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write("never sent"), Answer::kAccepted);
  rig.Settle();
  rig.worker.drain().Begin();
  rig.worker.drain().ShutdownAll();
  rig.Settle();
  EXPECT_EQ(notes.reason, CloseReason::kShutdown);
  EXPECT_TRUE(wire.reset);
  EXPECT_EQ(rig.Ledger().bytes_lost, 10);
}

// --- A drain meets connections that are closing already.

TEST(ConnectionDrain, LingeringTimeCountsFromTheDrainsStart) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.room = 100;
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write("answer"), Answer::kAccepted);
  notes.session->Close();
  rig.Settle();
  rig.Advance(absl::Seconds(2));  // Lingers: the peer has not ended its side.
  EXPECT_FALSE(wire.closed);
  rig.worker.drain().Begin();
  rig.Settle();
  rig.Advance(absl::Milliseconds(99));
  EXPECT_FALSE(wire.closed) << "the peer was given no time in the drain";
  rig.Advance(absl::Milliseconds(2));
  EXPECT_TRUE(wire.closed);
  EXPECT_FALSE(wire.reset);
  EXPECT_EQ(wire.output, "answer");
  EXPECT_EQ(notes.reason, CloseReason::kClosed);
}

TEST(ConnectionDrain, LingeringCloseReadsWhileThePeerSends) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.room = 100;
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write("answer"), Answer::kAccepted);
  notes.session->Close();
  rig.Settle();
  rig.Advance(absl::Seconds(2));
  rig.worker.drain().Begin();
  for (int i = 0; i < 20; ++i) {
    rig.Arrive(wire, "more");
    rig.Settle();
    rig.Advance(absl::Milliseconds(60));
    EXPECT_FALSE(wire.closed) << i;
  }
  rig.Fin(wire);
  rig.Settle();
  EXPECT_TRUE(wire.closed);
  EXPECT_FALSE(wire.reset);
}

TEST(ConnectionDrain, OneThatStillFlushesSendsAllBeforeItEnds) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.room = 4;
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.session->Write("0123456789"), Answer::kAccepted);
  notes.session->Close();
  rig.Settle();
  rig.worker.drain().Begin();
  rig.Settle();
  rig.worker.drain().Close();
  rig.Advance(absl::Seconds(1));
  EXPECT_FALSE(wire.closed);
  rig.Room(wire, 100);
  rig.Settle();
  EXPECT_EQ(wire.output, "0123456789");
  rig.Fin(wire);
  rig.Settle();
  EXPECT_TRUE(wire.closed);
  EXPECT_FALSE(wire.reset);
  EXPECT_EQ(rig.Ledger().bytes_lost, 0);
}

// --- Monitors of sessions that have ended with output still on the way.

class Watcher : public Actor {
 public:
  explicit Watcher(std::vector<std::pair<MonitorId, EndReason>>* downs) : downs_(*downs) {}
  void OnDown(const Down& down) override { downs_.emplace_back(down.monitor, down.reason); }
  using Actor::Monitor;

 private:
  std::vector<std::pair<MonitorId, EndReason>>& downs_;
};

TEST(ConnectionMonitors, ReportASessionsEndOnceWhileOutputWaits) {
  for (const bool fails : {false, true}) {
    SCOPED_TRACE(fails ? "failed" : "stopped");
    Rig rig;
    auto [wire, notes] = rig.New();
    wire.room = 4;
    if (fails) notes.on_message = [](ScriptSession&, int) { throw std::runtime_error("boom"); };
    Slot* const slot = rig.Open(wire, notes);
    rig.Settle();
    const Ref<ScriptSession> session(slot, slot->generation);
    std::vector<std::pair<MonitorId, EndReason>> downs;
    const Ref<Watcher> watcher = rig.runtime.SpawnWith<Watcher>(
        {.name = "", .mailbox_messages_max = 0, .worker = 0}, &downs);
    rig.Settle();
    std::vector<MonitorId> monitors;
    const auto monitor = [&] {
      rig.worker.RunHandler(watcher.slot(), "test", [&] {
        monitors.push_back(static_cast<Watcher*>(watcher.slot()->actor)->Monitor(session));
      });
      rig.Settle();
    };
    monitor();
    EXPECT_EQ(notes.session->Write("0123456789"), Answer::kAccepted);
    rig.Settle();
    EXPECT_TRUE(downs.empty());
    if (fails) {
      EXPECT_EQ(session.TrySend(ScriptSession::Poke{1}), Answer::kAccepted);
    } else {
      session.Stop();
    }
    rig.Settle();
    ASSERT_EQ(notes.session, nullptr) << "the session has ended";
    ASSERT_FALSE(wire.closed) << "its output is still on the way";
    EXPECT_EQ(downs.size(), 1u);
    monitor();  // Too late for the session, but its connection is still there...
    EXPECT_EQ(downs.size(), 2u);
    rig.Room(wire, 100);
    rig.Settle();
    rig.Fin(wire);
    rig.Settle();
    EXPECT_TRUE(wire.closed);
    monitor();  // ...and now the connection is gone too.
    ASSERT_EQ(downs.size(), 3u);
    const EndReason reason = fails ? EndReason::kFailed : EndReason::kStopped;
    EXPECT_EQ(downs[0], (std::pair{monitors[0], reason}));
    EXPECT_EQ(downs[1], (std::pair{monitors[1], reason}));
    EXPECT_EQ(downs[2], (std::pair{monitors[2], EndReason::kNotFound}));
  }
}

}  // namespace
}  // namespace sluice::testing::connection_close_test
