// Connections on a real worker, stepped. The input decides how the kernel behaves (bytes come in
// pieces, late, with resets; room for few bytes or none; spurious events), what sessions do in
// their handlers, how time passes, when memory is short and when the runtime drains.
//
// Checked after each step, and at the end: each byte arrives once and in order in both directions;
// each connection ends once, with one reason; accepted bytes are sent, lost and counted, or held
// (L9, tests/support/wire.h); no session waits for what is there already; a whole stream ends with
// FIN, and a stream that was cut short with a reset; and nothing is left.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/core/memory/buffer.h"
#include "sluice/tests/fuzz/fuzz.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing {
namespace {

constexpr int kPeers = 3;
constexpr int kStepsMax = 60;

// Byte `i` of a stream; a missing, doubled or misplaced byte shows.
char ByteAt(size_t i) { return static_cast<char>(i * 131 + (i >> 7) * 31); }
std::string StreamBytes(size_t from, size_t count) {
  std::string bytes(count, '\0');
  for (size_t i = 0; i < count; ++i) bytes[i] = ByteAt(from + i);
  return bytes;
}

struct Token {};
class Wall
    : public Actor {  // Takes one message, and is suspended: the sender of a second one is parked.
 public:
  void On(Token) {}
};

class World {
 public:
  explicit World(Reader& reader)
      : reader_(reader),
        rig_(AnyOptions(reader)),
        wall_(rig_.runtime.SpawnWith<Wall>(WallOptions())) {
    rig_.Settle();
    rig_.worker.Suspend(wall_.slot());
  }

  void Run() {
    for (int i = 0; i < kStepsMax && !reader_.Empty(); ++i) Step();
    // Stop acting, and let everything go on until it ends.
    acting_ = false;
    rig_.TakeMemory(false);
    rig_.worker.Resume(wall_.slot());
    rig_.Advance(absl::Milliseconds(20));
    CheckProgress();
    for (Peer& peer : peers_) {
      if (peer.wire != nullptr) peer.wire->delay = nullptr;
    }
    rig_.worker.drain().ShutdownAll();
    rig_.Settle();
    for (const Peer& peer : peers_) CheckEnd(peer);
    const ConnectionLedger::Totals totals = rig_.Ledger();
    EXPECT_EQ(totals.Open(), 0);
    EXPECT_EQ(rig_.runtime.budget().UsedBytes(), rig_.worker.lease().LeftBytes());
  }

 private:
  struct Peer {
    Wire* wire = nullptr;
    Rig::Notes* notes = nullptr;
    Ref<ScriptSession> session;
    size_t arrived = 0;   // Bytes that the peer has sent...
    size_t consumed = 0;  // ...and the session took.
    size_t accepted = 0;  // Bytes that Write took...
    size_t checked = 0;   // ...and that were seen to leave in order.
    bool wants_writable = false;
    bool close_was_last = false;  // OnClose came when the connection had ended.
    bool threw = false;
  };

  static SpawnOptions WallOptions() {
    SpawnOptions options;
    options.mailbox_messages_max = 1;
    return options;
  }
  static Options AnyOptions(Reader& reader) {
    Options options = WireOptions();
    options.shed_after = absl::InfiniteDuration();
    const uint64_t kind = reader.Number(255);
    if ((kind & 1) != 0) {
      options.output_bytes_low = static_cast<int64_t>(reader.Number(64));
      options.output_bytes_high =
          options.output_bytes_low + static_cast<int64_t>(reader.Number(64));
      options.output_bytes_max =
          options.output_bytes_high + static_cast<int64_t>(reader.Number(64));
      options.input_bytes_max = 1 + static_cast<int64_t>(reader.Number(64));
    }
    if ((kind & 2) != 0) options.idle_timeout = absl::Milliseconds(500);
    if ((kind & 4) != 0) options.lifetime_timeout = absl::Seconds(3);
    if ((kind & 8) != 0) options.half_closed_timeout = absl::Milliseconds(300);
    if ((kind & 16) != 0) options.write_stalled_timeout = absl::Milliseconds(200);
    if ((kind & 32) != 0) options.linger_timeout = absl::Milliseconds(100);
    if ((kind & 64) != 0) options.close_timeout = absl::Milliseconds(700);
    return options;
  }

  void Step() {
    Peer& peer = peers_[reader_.Number(kPeers - 1)];
    if (peer.wire != nullptr) {
      Kernel(peer);
    } else if (!rig_.worker.ShuttingDown()) {  // No connection opens later.
      Open(peer);
    }
    if (reader_.Bool()) {
      rig_.Turn();
    } else {
      rig_.Settle();
      CheckProgress();
    }
    Check();
  }

  void Open(Peer& peer) {
    auto [wire, notes] = rig_.New();
    peer.wire = &wire;
    peer.notes = &notes;
    const uint64_t kind = reader_.Number(255);
    wire.tcp = (kind & 1) != 0;
    // On TCP a short read promises that nothing is left.
    if (!wire.tcp && (kind & 2) != 0) wire.read_max = 256 + reader_.Number(255);
    if ((kind & 4) != 0) wire.room = static_cast<int64_t>(reader_.Size(100'000));
    if ((kind & 8) != 0) wire.write_max = 1 + reader_.Number(255);
    if ((kind & 16) != 0) {
      wire.delay = [this, &wire = wire] {
        if (reader_.Empty() || !reader_.Bool()) return false;
        rig_.os.Event(wire, EPOLLIN | EPOLLOUT);  // Not now, but soon.
        return true;
      };
    }
    notes.on_open = [this, &peer](ScriptSession& session) { Act(peer, session); };
    notes.on_data = [this, &peer](ScriptSession& session, Input& in) { OnData(peer, session, in); };
    notes.on_eof = [this, &peer](ScriptSession& session) {
      EXPECT_EQ(session.Unconsumed(), StreamBytes(peer.consumed, peer.arrived - peer.consumed));
      Act(peer, session);
    };
    notes.on_writable = [this, &peer](ScriptSession& session) {
      peer.wants_writable = false;
      Act(peer, session);
    };
    notes.on_drain = [this, &peer](ScriptSession& session) { Act(peer, session); };
    notes.on_message = [this, &peer](ScriptSession& session, int) { Act(peer, session); };
    notes.on_close = [this, &peer](ScriptSession& session) {
      peer.close_was_last = session.connection() == nullptr;
      Act(peer, session);
    };
    rig_.os.add_error = (kind & 224) == 224 ? ENOSPC : 0;
    Slot* slot = (kind & 32) != 0
                     ? rig_.OpenConnecting(wire, notes, absl::Milliseconds(reader_.Number(1'000)))
                     : rig_.Open(wire, notes);
    rig_.os.add_error = 0;
    peer.session = Ref<ScriptSession>(slot, slot->generation);
  }

  // An act of the kernel, or time that passes.
  void Kernel(Peer& peer) {
    Wire& wire = *peer.wire;
    switch (reader_.Number(15)) {
      case 0:
      case 1:
      case 2:
        if (wire.ended || wire.read_error != 0) break;
        {
          const size_t count = reader_.Size(100'000);
          rig_.Arrive(wire, StreamBytes(peer.arrived, count));
          peer.arrived += count;
        }
        break;
      case 3:
        rig_.Fin(wire);
        break;
      case 4:
        rig_.Reset(wire, reader_.Bool() ? ECONNRESET : ETIMEDOUT);
        break;
      case 5:
        wire.write_error = EPIPE;
        break;
      case 6:
      case 7:
        if (wire.room != INT64_MAX) rig_.Room(wire, static_cast<int64_t>(reader_.Size(300'000)));
        break;
      case 8: {
        constexpr uint32_t kEvents[] = {EPOLLIN,    EPOLLOUT, EPOLLPRI,
                                        EPOLLRDHUP, EPOLLHUP, EPOLLERR};
        for (const uint32_t event : kEvents) {
          if (reader_.Bool()) rig_.os.Event(wire, event);
        }
        break;
      }
      case 9:
        wire.unacknowledged = static_cast<int64_t>(reader_.Number(3));
        break;
      case 10:
        rig_.os.Advance(absl::Milliseconds(reader_.Number(4'000)));
        break;
      case 11:
      case 12:
        (void)peer.session.TrySend(ScriptSession::Poke{});
        break;
      case 13:
        rig_.TakeMemory(reader_.Bool());
        break;
      case 14:
        if (reader_.Bool()) {
          rig_.worker.Resume(wall_.slot());
        } else {
          rig_.worker.Suspend(wall_.slot());
        }
        break;
      case 15:
        switch (reader_.Number(15)) {
          case 0:
            rig_.worker.drain().Begin();
            break;
          case 1:
            rig_.worker.drain().Begin();
            rig_.worker.drain().Close();
            break;
          case 2:
            rig_.worker.drain().ShutdownAll();
            break;
        }
        break;
    }
  }

  // The acts of a session in a handler.
  void Act(Peer& peer, ScriptSession& session) {
    if (!acting_) return;
    for (uint64_t left = reader_.Number(3); left > 0; --left) {
      switch (reader_.Number(15)) {
        case 0:
        case 1:
        case 2: {
          const size_t count = reader_.Size(300'000);
          Wrote(peer, session.Write(StreamBytes(peer.accepted, count)), count);
          break;
        }
        case 3: {
          const size_t count = reader_.Size(100'000);
          Wrote(peer, session.Write(Bytes::Copy(StreamBytes(peer.accepted, count))), count);
          break;
        }
        case 4:
          session.Close();
          break;
        case 5:
          session.CloseWrite();
          break;
        case 6:
          session.Abort();
          break;
        case 7:
          session.Stop("stopped by the input");
          break;
        case 8:
          if (reader_.Number(3) != 0) break;
          peer.threw = true;
          throw std::runtime_error("thrown by the input");
        case 9:
          if (session.connection() != nullptr) session.PauseReading();
          break;
        case 10:
          if (session.connection() != nullptr) session.ResumeReading();
          break;
        case 11:
          if (session.connection() != nullptr) session.WantWritable();
          break;
        case 12:
          (void)session.Send(wall_, Token{});
          break;
        case 13: {  // Writes to another connection from this session's handler.
          Peer& other = peers_[reader_.Number(kPeers - 1)];
          if (other.notes == nullptr || other.notes->session == nullptr) break;
          const size_t count = reader_.Size(40'000);
          Wrote(other, other.notes->session->Write(StreamBytes(other.accepted, count)), count);
          break;
        }
        default:
          break;
      }
    }
  }
  static void Wrote(Peer& peer, Answer answer, size_t count) {
    if (answer == Answer::kAccepted) peer.accepted += count;
    if (answer == Answer::kFull) peer.wants_writable = true;
  }

  void OnData(Peer& peer, ScriptSession& session, Input& in) {
    ASSERT_LE(peer.consumed + in.size(), peer.arrived);
    ASSERT_EQ(in.Peek(), StreamBytes(peer.consumed, in.size()));
    const size_t before = in.size();
    if (!acting_ || reader_.Bool()) {
      in.TakeAll();
    } else {
      in.Skip(reader_.Size(in.size()));
    }
    peer.consumed += before - in.size();
    Act(peer, session);
  }

  void Check() {
    int64_t accepted = 0;
    int64_t read = 0;
    for (Peer& peer : peers_) {
      if (peer.wire == nullptr) continue;
      accepted += static_cast<int64_t>(peer.accepted);
      read += static_cast<int64_t>(peer.arrived - peer.wire->input.size());
      const std::string& output = peer.wire->output;
      ASSERT_LE(output.size(), peer.accepted);
      ASSERT_EQ(std::string_view(output).substr(peer.checked),
                StreamBytes(peer.checked, output.size() - peer.checked));
      peer.checked = output.size();
      EXPECT_LE(peer.consumed, peer.arrived - peer.wire->input.size());
    }
    const ConnectionLedger::Totals totals = rig_.Ledger();
    EXPECT_EQ(totals.bytes_accepted, accepted);
    EXPECT_EQ(totals.bytes_read, read);
  }

  // At rest: no session waits for what is there already.
  void CheckProgress() {
    if (rig_.memory_taken != 0 || rig_.worker.memory().ReadingPaused()) return;
    for (const Peer& peer : peers_) {
      if (peer.notes == nullptr || peer.notes->session == nullptr) continue;
      ScriptSession& session = *peer.notes->session;
      Connection* connection = session.connection();
      if (connection == nullptr || peer.notes->heard.find('O') == std::string::npos) continue;
      const Wire& wire = *peer.wire;
      if (wire.room > 0) {
        EXPECT_EQ(session.OutputBytes(), 0u);
      }
      if (session.MayGoOn() && !rig_.worker.Draining()) {
        EXPECT_EQ(wire.input, "");
        if (wire.ended) {
          EXPECT_NE(peer.notes->heard.find('E'), std::string::npos);
        }
      }
      const Slot* slot = peer.session.slot();
      if (slot->Runnable() && !slot->has_outbox && connection->WriteOpen()) {
        // (Full and low at once: OnWritable comes when the output has moved; otherwise a busy
        // loop.)
        EXPECT_FALSE(peer.wants_writable && session.OutputBytes() == 0);
      }
    }
  }

  void CheckEnd(const Peer& peer) {
    if (peer.wire == nullptr) return;
    const std::string& heard = peer.notes->heard;
    EXPECT_TRUE(peer.wire->closed);
    EXPECT_EQ(peer.notes->session, nullptr);
    const auto closes = std::count(heard.begin(), heard.end(), 'C');
    if (!peer.threw) {
      EXPECT_EQ(closes, 1) << heard << ", " << rig_.Ledger().ToString();
    }
    if (closes > 0) {
      EXPECT_EQ(heard.find('C'), heard.size() - 1) << heard;
    }
    EXPECT_LE(std::count(heard.begin(), heard.end(), 'E'), 1) << heard;
    EXPECT_LE(std::count(heard.begin(), heard.end(), 'H'), 1) << heard;
    if (peer.wire->output.size() < peer.accepted) {
      EXPECT_TRUE(peer.wire->reset);
    }
    const CloseReason reason = peer.notes->reason;
    if (peer.close_was_last &&
        (reason == CloseReason::kClosed || reason == CloseReason::kPeerClosed)) {
      EXPECT_EQ(peer.wire->output.size(), peer.accepted);
      EXPECT_FALSE(peer.wire->reset);
    }
  }

  Reader& reader_;
  std::array<Peer, kPeers> peers_;
  Rig rig_;
  Ref<Wall> wall_;
  bool acting_ = true;
};

}  // namespace
}  // namespace sluice::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::testing::Reader reader(data, size);
  sluice::testing::World(reader).Run();
  return 0;
}
