// Tests of the defaults of OnEof and OnDrain: the connection closes when the answers under way are
// written, and no earlier or later.
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/promise.h"
#include "sluice/tests/support/late_store.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::close_when_done_test {
namespace {

// Asks for each byte of its input; the byte says how.
class Asker : public ScriptSession {
 public:
  Asker(Notes* notes, Ref<LateStore> store) : ScriptSession(notes), store_(store) {}
  void OnData(Input& in) override {
    while (!in.empty() && MayGoOn()) {
      const char how = in.Take(1)[0];
      const auto answer = [this, how](const absl::StatusOr<std::string>& reply) {
        WriteOrAbort(reply.ok() ? *reply : "none ");
        if (how == 'a') AskOnce("again ");
      };
      if (how == 'o') {
        AskInOrder(store_, Get{}, absl::InfiniteDuration(), answer);
      } else {
        const auto timeout = how == 't' ? absl::Seconds(1) : absl::InfiniteDuration();
        EXPECT_EQ(Ask(store_, Get{}, timeout, answer), Answer::kAccepted);
      }
    }
  }

 private:
  void AskOnce(std::string_view text) {
    const auto write = [this, text](const absl::StatusOr<std::string>&) { WriteOrAbort(text); };
    EXPECT_EQ(Ask(store_, Get{}, absl::InfiniteDuration(), write), Answer::kAccepted);
  }
  const Ref<LateStore> store_;
};

class CloseWhenDone : public ::testing::Test {
 protected:
  CloseWhenDone() : store_(rig_.runtime.Spawn<LateStore>(&open_)) {}
  ~CloseWhenDone() override { open_.clear(); }

  Rig::Peer Connected() {
    Rig::Peer peer = rig_.New();
    rig_.OpenAs<Asker>(peer.wire, Connection::Start::kConnected, absl::InfiniteDuration(),
                       &peer.notes, store_);
    rig_.Settle();
    return peer;
  }
  void Answers(const std::string& text) {
    ASSERT_FALSE(open_.empty());
    Promise<std::string> promise = std::move(open_.front());
    open_.erase(open_.begin());
    promise.Resolve(text);
    rig_.Settle();
  }

  LateStore::Open open_;
  Rig rig_;
  Ref<LateStore> store_;
};

TEST_F(CloseWhenDone, AnswersAfterAHalfCloseReachThePeer) {
  auto [wire, notes] = Connected();
  rig_.Arrive(wire, "xx");
  rig_.Fin(wire);
  rig_.Settle();
  EXPECT_EQ(notes.heard, "OE");
  EXPECT_FALSE(wire.fin);
  Answers("one ");
  EXPECT_EQ(wire.output, "one ");
  EXPECT_FALSE(wire.closed);
  Answers("two ");
  EXPECT_EQ(wire.output, "one two ");
  EXPECT_TRUE(wire.closed);
  EXPECT_FALSE(wire.reset);
  EXPECT_EQ(notes.reason, CloseReason::kPeerClosed);
}

TEST_F(CloseWhenDone, ACallbackMayAskAgain) {
  auto [wire, notes] = Connected();
  rig_.Arrive(wire, "a");
  rig_.Fin(wire);
  rig_.Settle();
  Answers("first ");
  EXPECT_FALSE(wire.closed);
  Answers("ignored");
  EXPECT_EQ(wire.output, "first again ");
  EXPECT_TRUE(wire.closed);
}

TEST_F(CloseWhenDone, FramesThatWaitForAnAnswerInOrderAreAnsweredToo) {
  auto [wire, notes] = Connected();
  rig_.Arrive(wire, "oox");
  rig_.Fin(wire);
  rig_.Settle();
  EXPECT_EQ(notes.heard, "O") << "OnEof comes behind the frames";
  Answers("1 ");
  Answers("2 ");
  EXPECT_EQ(notes.heard, "OE");
  Answers("3 ");
  EXPECT_EQ(wire.output, "1 2 3 ");
  EXPECT_TRUE(wire.closed);
}

TEST_F(CloseWhenDone, APassedDeadlineEndsTheWait) {
  auto [wire, notes] = Connected();
  rig_.Arrive(wire, "t");
  rig_.Fin(wire);
  rig_.Settle();
  EXPECT_FALSE(wire.closed);
  rig_.Advance(absl::Seconds(2));
  EXPECT_EQ(wire.output, "none ");
  EXPECT_TRUE(wire.closed) << "the late reply's place is no reason to wait";
}

TEST_F(CloseWhenDone, ADroppedPromiseEndsTheWait) {
  auto [wire, notes] = Connected();
  rig_.Arrive(wire, "x");
  rig_.Fin(wire);
  rig_.Settle();
  open_.clear();
  rig_.Settle();
  EXPECT_EQ(wire.output, "none ");
  EXPECT_TRUE(wire.closed);
}

TEST_F(CloseWhenDone, AWriteThatWaitsForRoomIsWritten) {
  auto [wire, notes] = rig_.New();
  const std::string piece(static_cast<size_t>(rig_.runtime.options().output_bytes_max), 'x');
  int pieces = 3;
  const auto write = [&](ScriptSession& session) {
    while (pieces > 0 && session.Write(piece) == Answer::kAccepted) --pieces;
  };
  notes.on_open = write;
  notes.on_writable = write;
  wire.room = 0;
  rig_.Open(wire, notes);
  rig_.Fin(wire);
  rig_.Settle();
  EXPECT_EQ(notes.heard, "O") << "nothing is read while output is high";
  const size_t all = 3 * piece.size();
  for (int turns = 0; wire.output.size() < all && !wire.closed && turns < 10'000; ++turns) {
    rig_.Room(wire, 100'000);
    rig_.Settle();
  }
  EXPECT_EQ(wire.output.size(), all);
  EXPECT_TRUE(wire.closed);
}

TEST_F(CloseWhenDone, WantWritableKeepsTheSessionOpen) {
  auto [wire, notes] = rig_.New();
  notes.on_eof = [](ScriptSession& session) {
    EXPECT_EQ(session.Write(std::string(50'000, 'x')), Answer::kAccepted);
    session.WantWritable();
    session.Session::OnEof();
  };
  notes.on_writable = [](ScriptSession& session) {
    EXPECT_EQ(session.Write("end"), Answer::kAccepted);
  };
  wire.room = 0;
  rig_.Open(wire, notes);
  rig_.Fin(wire);
  rig_.Settle();
  EXPECT_EQ(notes.heard, "OE");
  rig_.Room(wire, 1'000'000);
  rig_.Settle();
  EXPECT_EQ(wire.output.size(), 50'003u);
  EXPECT_TRUE(wire.closed);
}

TEST_F(CloseWhenDone, ASessionThatClosesItselfDoesSoAtOnce) {
  auto [wire, notes] = Connected();
  notes.on_eof = [](ScriptSession& session) { session.Close(); };
  rig_.Arrive(wire, "x");
  rig_.Fin(wire);
  rig_.Settle();
  EXPECT_EQ(open_.size(), 1u);
  EXPECT_TRUE(wire.closed);
}

TEST_F(CloseWhenDone, APeerThatResetsEndsTheWait) {
  auto [wire, notes] = Connected();
  rig_.Arrive(wire, "x");
  rig_.Fin(wire);
  rig_.Settle();
  rig_.Reset(wire);
  rig_.Settle();
  EXPECT_TRUE(wire.closed);
  EXPECT_EQ(notes.reason, CloseReason::kReset);
}

TEST_F(CloseWhenDone, HalfClosedTimeoutStillEndsASessionThatNobodyAnswers) {
  auto [wire, notes] = Connected();
  rig_.Arrive(wire, "x");
  rig_.Fin(wire);
  rig_.Settle();
  rig_.Advance(rig_.runtime.options().half_closed_timeout + absl::Seconds(1));
  EXPECT_TRUE(wire.closed);
  EXPECT_EQ(notes.reason, CloseReason::kHalfClosed);
}

TEST_F(CloseWhenDone, AnEndOfTheWriteSideEndsTheWaitForRoom) {
  auto [wire, notes] = rig_.New();
  notes.on_eof = [](ScriptSession& session) {
    EXPECT_EQ(session.Write(std::string(50'000, 'x')), Answer::kAccepted);
    session.WantWritable();
    session.Session::OnEof();
  };
  notes.on_message = [](ScriptSession& session, int) { session.CloseWrite(); };
  wire.room = 0;
  Slot* const slot = rig_.Open(wire, notes);
  rig_.Fin(wire);
  rig_.Settle();
  EXPECT_EQ(Ref<ScriptSession>(slot, slot->generation).TrySend(ScriptSession::Poke{}),
            Answer::kAccepted);
  rig_.Settle();
  rig_.Room(wire, 1'000'000);
  rig_.Settle();
  EXPECT_TRUE(wire.closed);
  EXPECT_FALSE(wire.reset);
}

TEST_F(CloseWhenDone, ASessionThatIsDoneBeforeItsConnectionStandsCloses) {
  auto [wire, notes] = rig_.New();
  notes.on_start = [](ScriptSession& session) {
    EXPECT_EQ(session.Write("hello"), Answer::kAccepted);
    session.CloseWhenDone();
  };
  rig_.Open(wire, notes);
  rig_.Settle();
  EXPECT_EQ(wire.output, "hello");
  EXPECT_TRUE(wire.fin);
}

}  // namespace
}  // namespace sluice::testing::close_when_done_test
