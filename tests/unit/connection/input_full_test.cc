// Tests of frames that are longer than the input that a session may keep.
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/base/log.h"
#include "sluice/tests/support/log_level_scope.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::input_full_test {
namespace {

// Consumes nothing: waits for a whole frame.
void WaitForMore(ScriptSession&, Input&) {}

TEST(InputFull, OversizedFrameEndsItsConnectionAndIsLogged) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_data = WaitForMore;
  rig.Open(wire, notes);
  rig.Settle();
  const LogLevelScope level(LogLevel::kWarning);
  EXPECT_TRUE(LogFlush());  // Lines of earlier tests.
  ::testing::internal::CaptureStderr();
  rig.Arrive(wire, std::string(200'000, 'f'));
  rig.Settle();
  EXPECT_TRUE(LogFlush());
  const std::string lines = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(CloseReasonName(notes.reason), "frame too long");
  EXPECT_TRUE(wire.reset);
  EXPECT_NE(rig.Ledger().ToString().find("frame too long 1"), std::string::npos)
      << rig.Ledger().ToString();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 1) << lines;
  EXPECT_NE(lines.find("65536"), std::string::npos) << lines;
}

// Before the fix, the first such peer pinned the whole memory budget, and no other peer was served.
TEST(InputFull, EightySuchPeersLeaveTheServerServing) {
  Options options = WireOptions();
  options.memory_bytes_max = 4 * 1024 * 1024;
  Rig rig(options);
  for (int i = 0; i < 80; ++i) {
    auto [wire, notes] = rig.New();
    notes.on_data = WaitForMore;
    rig.Open(wire, notes);
    rig.Arrive(wire, std::string(70'000, 'f'));
    rig.Settle();
  }
  rig.Advance(absl::Seconds(1));
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Arrive(wire, "served?");
  rig.Settle();
  EXPECT_EQ(notes.data, "served?");
}

TEST(InputFull, AFrameOfExactlyTheMaximumIsTaken) {
  Rig rig;
  auto [wire, notes] = rig.New();
  const size_t most = static_cast<size_t>(rig.runtime.options().input_bytes_max);
  notes.on_data = [&, &data = notes.data](ScriptSession&, Input& in) {
    if (in.size() >= most) data += in.Take(most);
  };
  rig.Open(wire, notes);
  rig.Arrive(wire, std::string(most, 'f') + std::string(most, 'g'));
  rig.Settle();
  EXPECT_EQ(notes.data.size(), 2 * most);
  EXPECT_FALSE(wire.closed);
}

// Many frames have arrived at once and OnData() takes one of them per call: the connection makes
// progress, so its input is not full.
TEST(InputFull, TakingOneFramePerCallIsProgress) {
  Rig rig;
  auto [wire, notes] = rig.New();
  const auto end = [](ScriptSession& session) { session.ResumeReading(); };
  notes.on_open = [](ScriptSession& session) { session.SetInputMax(10'000); };
  notes.on_message = [&](ScriptSession& session, int) { end(session); };
  notes.on_data = [&data = notes.data](ScriptSession&, Input& in) { data += in.Take(100); };
  rig.Open(wire, notes);
  rig.Arrive(wire, std::string(30'000, 'f'));
  rig.Settle();
  EXPECT_FALSE(wire.closed);
  EXPECT_GT(notes.data.size(), 20'000u);
}

// Overrides OnInputFull().
class Framed : public ScriptSession {
 public:
  using ScriptSession::ScriptSession;
  void OnInputFull() override {
    ++full;
    if (on_full) on_full(*this);
  }
  static inline int full = 0;
  static inline std::function<void(Framed&)> on_full;
};

struct Full {
  explicit Full(std::function<void(Framed&)> on_full) : peer(rig.New()) {
    Framed::full = 0;
    Framed::on_full = std::move(on_full);
    peer.notes.on_data = [&data = peer.notes.data](ScriptSession&, Input& in) {
      if (in.size() >= 150'000) data += in.Take(150'000);
    };
    slot = rig.OpenAs<Framed>(peer.wire, Connection::Start::kConnected, absl::InfiniteDuration(),
                              &peer.notes);
    rig.Arrive(peer.wire, std::string(150'000, 'f') + "next");
    rig.Settle();
  }
  Rig rig;
  Rig::Peer peer;
  Slot* slot = nullptr;
};

TEST(InputFull, ASessionMayRaiseTheMaximumAndGoOn) {
  Full at([](Framed& session) { session.SetInputMax(200'000); });
  EXPECT_EQ(Framed::full, 1);
  EXPECT_EQ(at.peer.notes.data.size(), 150'000u);
  EXPECT_FALSE(at.peer.wire.closed);
}

TEST(InputFull, ASessionMayAnswerAndClose) {
  Full at([](Framed& session) {
    EXPECT_EQ(session.Write("too long\n"), Answer::kAccepted);
    session.Close();
  });
  EXPECT_EQ(Framed::full, 1);
  EXPECT_EQ(at.peer.wire.output, "too long\n");
  EXPECT_TRUE(at.peer.wire.fin);
  EXPECT_FALSE(at.peer.wire.reset);
  at.rig.Fin(at.peer.wire);
  at.rig.Settle();
  EXPECT_EQ(at.peer.notes.reason, CloseReason::kClosed);
}

TEST(InputFull, AnOverrideThatDoesNothingIsFollowedByTheDefault) {
  Full at([](Framed&) {});
  EXPECT_EQ(Framed::full, 1);
  EXPECT_TRUE(at.peer.wire.reset);
  EXPECT_EQ(at.peer.notes.reason, CloseReason::kInputFull);
}

TEST(InputFull, ASessionThatHoldsReadingIsAskedAgainBehindTheHold) {
  Full at([](Framed& session) { session.PauseReading(); });
  EXPECT_EQ(Framed::full, 1);
  EXPECT_TRUE(at.peer.notes.session->ReadingHeld());
  const int reads = at.peer.wire.reads;
  at.peer.notes.session->ResumeReading();
  at.rig.Settle();
  EXPECT_EQ(Framed::full, 2);
  EXPECT_EQ(at.peer.wire.reads, reads);
  at.peer.notes.session->SetInputMax(200'000);
  at.peer.notes.session->ResumeReading();
  at.rig.Settle();
  EXPECT_EQ(at.peer.notes.data.size(), 150'000u);
}

TEST(InputFull, ASessionMayAbortOrThrow) {
  {
    Full at([](Framed& session) { session.Abort(); });
    EXPECT_EQ(at.peer.notes.reason, CloseReason::kAborted);
    EXPECT_TRUE(at.peer.wire.reset);
  }
  Full at([](Framed&) { throw 1; });
  EXPECT_EQ(at.peer.notes.session, nullptr);
  EXPECT_EQ(at.rig.Closed(CloseReason::kFailed) + at.rig.Ledger().Open(), 1);
}

}  // namespace
}  // namespace sluice::testing::input_full_test
