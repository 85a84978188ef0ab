// Tests of a connection's reads: when it reads, how much, and what becomes of unconsumed input.
#include <functional>
#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::connection_read_test {
namespace {

using Notes = ScriptSession::Notes;

TEST(ConnectionRead, EarlyBytesAreReadWithoutAnEvent) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.input = "early";
  rig.Open(wire, notes);
  rig.Settle();
  EXPECT_EQ(notes.data, "early");
  EXPECT_EQ(notes.heard, "OD");
}

TEST(ConnectionRead, AShortReadOnTcpSavesTheSecondOne) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  wire.reads = 0;
  rig.Arrive(wire, "ping");
  rig.Settle();
  EXPECT_EQ(notes.data, "ping");
  EXPECT_EQ(wire.reads, 1);
}

TEST(ConnectionRead, AShortReadProvesNothingOnAUnixSocket) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.tcp = false;
  wire.read_max = 1;
  rig.Open(wire, notes);
  rig.Arrive(wire, "abc");  // A single edge for all of it.
  rig.Settle();
  EXPECT_EQ(notes.data, "abc");
}

// At an urgent mark a read is short, data remains, and no event follows; FIN behind data gives no
// second event.
TEST(ConnectionRead, ShortReadProvesNothingAfterAnExceptionalEvent) {
  for (const uint32_t exceptional : {EPOLLPRI, EPOLLRDHUP, EPOLLHUP}) {
    Rig rig;
    auto [wire, notes] = rig.New();
    wire.read_max = 2;
    rig.Open(wire, notes);
    rig.Settle();
    wire.input = "abcdef";
    rig.os.Event(wire, EPOLLIN | exceptional);
    rig.Settle();
    EXPECT_EQ(notes.data, "abcdef");
    wire.input = "ghij";
    rig.os.Event(wire, EPOLLIN);
    rig.Settle();
    EXPECT_EQ(notes.data, "abcdefghij");
  }
}

TEST(ConnectionRead, FinBehindDataIsHeardWithoutASecondEvent) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_eof = [](ScriptSession&) {};
  rig.Open(wire, notes);
  rig.Settle();
  wire.input = "last words";
  rig.Fin(wire);
  rig.Settle();
  EXPECT_EQ(notes.data, "last words");
  EXPECT_EQ(notes.heard, "ODE");
}

TEST(ConnectionRead, PauseCostsNoSystemCallResumeNoEvent) {
  Rig rig;
  auto [wire, notes] = rig.New();
  rig.Open(wire, notes);
  rig.Settle();
  notes.session->PauseReading();
  wire.reads = 0;
  rig.Arrive(wire, "waits");
  rig.Settle();
  EXPECT_EQ(wire.reads, 0);
  EXPECT_EQ(rig.os.option_gets, 0);
  EXPECT_EQ(notes.data, "");
  notes.session->ResumeReading();
  rig.Settle();
  EXPECT_EQ(notes.data, "waits");
}

TEST(ConnectionRead, OneReadPerTurnKeepsAFloodFair) {
  Rig rig;
  auto [flood, flood_notes] = rig.New();
  auto [other, other_notes] = rig.New();
  rig.Open(flood, flood_notes);
  rig.Open(other, other_notes);
  rig.Settle();
  flood.reads = 0;
  rig.Arrive(flood, std::string(100 * Descriptors::kReadBytes, 'f'));
  rig.Turn();
  rig.Arrive(other, "me too");
  rig.Turn();
  rig.Turn();
  EXPECT_EQ(other_notes.data, "me too");
  EXPECT_LE(flood.reads, 3);
  rig.Settle();
  EXPECT_EQ(flood_notes.data.size(), 100 * Descriptors::kReadBytes);
}

// --- Input that is kept.

TEST(ConnectionRead, LeftoverInputIsOfferedAgainWithNewerBytes) {
  Rig rig;
  auto [wire, notes] = rig.New();
  std::string offers;
  notes.on_data = [&](ScriptSession&, Input& in) {
    offers += std::string(in.Peek()) + "|";
    if (in.size() >= 4) in.Take(4);
  };
  rig.Open(wire, notes);
  for (const char* piece : {"ab", "c", "defg", "h"}) {
    rig.Arrive(wire, piece);
    rig.Settle();
  }
  EXPECT_EQ(offers, "ab|abc|abcdefg|efgh|");
}

// A framed session stops between frames when it must, and goes on where it stopped.
void TakeFrames(ScriptSession& session, Input& in, std::string* frames,
                const std::function<void()>& on_frame) {
  while (session.MayGoOn() && in.size() >= 2) {
    *frames += in.Take(2);
    *frames += ' ';
    on_frame();
  }
}

TEST(ConnectionRead, KeptFramesComeBeforeNewerBytesAndEnd) {
  Rig rig;
  auto [wire, notes] = rig.New();
  std::string frames;
  notes.on_data = [&, &notes = notes](ScriptSession& session, Input& in) {
    TakeFrames(session, in, &frames, [&] { notes.session->PauseReading(); });
  };
  notes.on_eof = [&](ScriptSession& session) {
    frames += "end:" + std::string(session.Unconsumed());
  };
  rig.Open(wire, notes);
  rig.Arrive(wire, "aabb");
  rig.Settle();
  EXPECT_EQ(frames, "aa ");
  rig.Arrive(wire, "cc.");
  rig.Fin(wire);
  rig.Settle();
  EXPECT_EQ(frames, "aa ");
  for (const char* expected : {"aa bb ", "aa bb cc ", "aa bb cc end:."}) {
    notes.session->ResumeReading();
    rig.Settle();
    EXPECT_EQ(frames, expected);
  }
}

// The session must stop between two frames, but the reason to stop is over before the handler's
// slice ends. No event follows, so the connection itself must call the session again.
TEST(ConnectionRead, KeptFramesComeThoughStopEndedAtOnce) {
  Rig rig;
  auto [wire, notes] = rig.New();
  std::string frames;
  const std::string big(100 * 1024, 'x');  // Above the high watermark until the slice ends.
  notes.on_data = [&, &notes = notes](ScriptSession& session, Input& in) {
    TakeFrames(session, in, &frames,
               [&] { EXPECT_EQ(notes.session->Write(Bytes::Copy(big)), Answer::kAccepted); });
  };
  rig.Open(wire, notes);
  rig.Arrive(wire, "aabbcc");
  rig.Settle();
  EXPECT_EQ(frames, "aa bb cc ");
  EXPECT_EQ(wire.output.size(), 3 * big.size());
}

TEST(ConnectionRead, AmplifyingSessionStopsBetweenFramesAtTheWatermark) {
  Rig rig;
  auto [wire, notes] = rig.New();
  wire.room = 0;
  std::string frames;
  int refused = 0;
  notes.on_data = [&, &notes = notes](ScriptSession& session, Input& in) {
    TakeFrames(session, in, &frames, [&] {
      refused += notes.session->Write(std::string(10'000, 'x')) != Answer::kAccepted;
    });
  };
  rig.Open(wire, notes);
  std::string input;
  for (int i = 0; i < 1'000; ++i) input += "ff";
  rig.Arrive(wire, input);
  rig.Settle();
  EXPECT_EQ(refused, 0);
  EXPECT_LE(Rig::Of(notes.session->connection()->slot())->OutputBytes(), 80'000u);
  rig.Room(wire, INT64_MAX / 2);
  rig.Settle();
  EXPECT_EQ(frames.size(), 3'000u);
  EXPECT_EQ(refused, 0);
}

TEST(ConnectionRead, AClosingSessionWithKeptInputEndsWell) {
  Rig rig;
  auto [wire, notes] = rig.New();
  notes.on_data = [](ScriptSession& session, Input& in) {
    if (in.size() < 5) return;
    in.Take(4);
    EXPECT_EQ(session.Write("bye"), Answer::kAccepted);
    session.Close();
  };
  rig.Open(wire, notes);
  rig.Arrive(wire, "qu");
  rig.Settle();
  rig.Arrive(wire, "it and what nobody reads");
  rig.Settle();
  EXPECT_EQ(wire.output, "bye");
  EXPECT_TRUE(wire.fin);
  EXPECT_FALSE(wire.closed);  // Lingers: the peer has not ended its side.
  rig.Fin(wire);
  rig.Settle();
  EXPECT_EQ(notes.reason, CloseReason::kClosed);
}

// "The bytes stay where they are until OnData returns": this holds for kept bytes too, whatever the
// session did.
TEST(ConnectionRead, InputViewsOutliveAnAbortInTheHandler) {
  Rig rig;
  auto [wire, notes] = rig.New();
  std::string seen;
  notes.on_data = [&](ScriptSession& session, Input& in) {
    if (in.size() < 40) return;
    const std::string_view frame = in.Take(40);
    session.Abort();
    seen = frame;
    seen += in.Peek();
  };
  rig.Open(wire, notes);
  rig.Arrive(wire, std::string(30, 'a'));
  rig.Settle();
  rig.Arrive(wire, std::string(30, 'b'));
  rig.Settle();
  EXPECT_EQ(seen, std::string(30, 'a') + std::string(30, 'b'));
  EXPECT_EQ(notes.reason, CloseReason::kAborted);
  EXPECT_TRUE(wire.reset);
}

TEST(ConnectionRead, LastInputViewsOutliveCloseInOnEof) {
  Rig rig;
  auto [wire, notes] = rig.New();
  std::string seen;
  notes.on_data = [](ScriptSession& session, Input&) { session.CloseWrite(); };
  notes.on_eof = [&](ScriptSession& session) {
    const std::string_view rest = session.Unconsumed();
    session.Close();
    seen = rest;
  };
  rig.Open(wire, notes);
  rig.Arrive(wire, std::string(50, 'z'));
  rig.Settle();
  rig.Fin(wire);
  rig.Settle();
  EXPECT_EQ(seen, std::string(50, 'z'));
  EXPECT_TRUE(wire.closed);
}

TEST(ConnectionRead, UnconsumedInputStopsReadingAtInputBytesMax) {
  Rig rig;
  auto [wire, notes] = rig.New();
  size_t offered = 0;
  notes.on_data = [&](ScriptSession&, Input& in) { offered = in.size(); };
  rig.Open(wire, notes);
  rig.Arrive(wire, std::string(1024 * 1024, 'x'));
  rig.Settle();
  const size_t bound =
      static_cast<size_t>(rig.runtime.options().input_bytes_max) + Descriptors::kReadBytes;
  EXPECT_LE(offered, bound);
  EXPECT_GE(wire.input.size(), 1024 * 1024 - bound);
}

}  // namespace
}  // namespace sluice::testing::connection_read_test
