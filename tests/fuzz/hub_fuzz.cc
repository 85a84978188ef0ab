// A hub with one publisher and a few subscribers. The input decides how much their sockets take;
// every policy, filters, short memory, subscribers that leave or are reset.
//
// Checked: the ledger adds up after each step; each subscriber receives its messages in order and
// once, and each gap is explained exactly: received + missed + skipped = published since joined.
#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "sluice/actors/connection/connection.h"
#include "sluice/actors/hub/hub.h"
#include "sluice/tests/fuzz/fuzz.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing {
namespace {

constexpr int kMembers = 4;
constexpr int kStepsMax = 100;

std::string Notice(int64_t missed) { return absl::StrCat("missed ", missed, "\n"); }
bool IsFor(uint64_t number) { return number % 3 != 0; }  // True: a filter lets it through.

struct Leave {};

class Member : public Session {
 public:
  Member(Ref<Hub> hub, SubscribeOptions options, Subscribed* subscribed)
      : hub_(hub), options_(std::move(options)), subscribed_(*subscribed) {}
  void OnOpen() override { EXPECT_EQ(Send(hub_, Subscribe(this, options_)), Answer::kAccepted); }
  void On(Subscribed subscribed) { subscribed_ = subscribed; }
  void On(Leave) {
    if (subscribed_.Joined()) Unsubscribe(*this, subscribed_);
  }
  void OnData(Input& in) override { in.TakeAll(); }

 private:
  const Ref<Hub> hub_;
  const SubscribeOptions options_;
  Subscribed& subscribed_;
};

class World {
 public:
  explicit World(Reader& reader)
      : reader_(reader),
        rig_(AnyOptions(reader)),
        hub_(rig_.runtime.Spawn<Hub>(HubOptions{&Notice})) {
    rig_.Settle();
  }

  void Run() {
    for (int i = 0; i < kStepsMax && !reader_.Empty(); ++i) {
      Step();
      if (reader_.Bool()) {
        rig_.Turn();
      } else {
        rig_.Settle();
      }
      CheckSums();
    }
    rig_.TakeMemory(false);
    rig_.Advance(absl::Milliseconds(20));
    for (Seat& seat : seats_) {
      if (seat.wire != nullptr) rig_.Room(*seat.wire, INT64_MAX / 2);
    }
    rig_.Advance(absl::Milliseconds(20));
    CheckSums();
    EXPECT_EQ(Totals().queued, 0) << Totals().ToString();
    EXPECT_EQ(Totals().published, published_);
    for (const Seat& seat : seats_) CheckReceived(seat);
  }

 private:
  struct Seat {
    Wire* wire = nullptr;
    Ref<Member> member;
    Subscribed subscribed;
    SlowPolicy policy = SlowPolicy::kPark;
    bool filtered = false;
    bool left = false;
  };

  static Options AnyOptions(Reader& reader) {
    Options options = WireOptions();
    options.shed_after = absl::InfiniteDuration();
    options.output_bytes_low = static_cast<int64_t>(reader.Number(63));
    options.output_bytes_high = options.output_bytes_low + 64;
    options.output_bytes_max = options.output_bytes_high + static_cast<int64_t>(reader.Number(127));
    return options;
  }

  void Step() {
    Seat& seat = seats_[reader_.Number(kMembers - 1)];
    switch (reader_.Number(11)) {
      case 0:
        if (seat.wire == nullptr) Join(seat);
        break;
      case 1:
      case 2:
      case 3:
      case 4:
        Publish();
        break;
      case 5:
      case 6:
        if (seat.wire != nullptr) rig_.Room(*seat.wire, static_cast<int64_t>(reader_.Number(255)));
        break;
      case 7:
        rig_.os.Advance(absl::Milliseconds(reader_.Number(2'000)));
        break;
      case 8:
        if (seat.wire == nullptr) break;
        if (reader_.Bool()) {
          rig_.Reset(*seat.wire);
        } else {
          rig_.Fin(*seat.wire);
        }
        break;
      case 9:
        if (seat.wire == nullptr) break;
        seat.left = true;
        (void)seat.member.TrySend(Leave{});
        break;
      case 10:
        rig_.TakeMemory(reader_.Bool());
        break;
      case 11:
        for (uint64_t left = reader_.Number(15); left > 0; --left) Publish();
        break;
    }
  }

  void Join(Seat& seat) {
    constexpr SlowPolicy kPolicies[] = {SlowPolicy::kPark, SlowPolicy::kDropOldest,
                                        SlowPolicy::kDropNewest, SlowPolicy::kDisconnect,
                                        SlowPolicy::kConflate};
    SubscribeOptions options;
    options.slow = seat.policy = kPolicies[reader_.Number(4)];
    options.queue_messages_max = 1 + static_cast<uint32_t>(reader_.Number(7));
    options.keys_max = 1 + static_cast<uint32_t>(reader_.Number(3));
    options.park_timeout = absl::Milliseconds(1 + reader_.Number(1'000));
    seat.filtered = reader_.Bool();
    if (seat.filtered) {
      options.filter = [](std::string_view payload, uint64_t) {
        return IsFor(NumberOf(payload.substr(0, payload.find(' '))));
      };
    }
    Wire& wire = rig_.os.NewWire();
    seat.wire = &wire;
    wire.room = static_cast<int64_t>(reader_.Number(255));
    if (reader_.Bool()) wire.write_max = 1 + reader_.Number(15);
    Slot* slot = rig_.OpenAs<Member>(wire, Connection::Start::kConnected, absl::InfiniteDuration(),
                                     hub_, std::move(options), &seat.subscribed);
    seat.member = Ref<Member>(slot, slot->generation);
  }

  void Publish() {
    const uint64_t key = reader_.Number(5);
    const std::string text =
        absl::StrCat(published_ + 1, " ", std::string(reader_.Number(31), '.'), "\n");
    std::optional<Bytes> payload = Bytes::Copy(text, rig_.runtime.budget());
    if (!payload.has_value()) return;
    if (hub_.TrySend(sluice::Publish{*std::move(payload), {}, key}) == Answer::kAccepted) {
      ++published_;
    }
  }

  HubTotals Totals() { return HubLedger::Of(rig_.runtime); }
  void CheckSums() {
    const HubTotals t = Totals();
    EXPECT_EQ(t.due, t.received + t.missed + t.conflated + t.skipped + t.queued) << t.ToString();
    EXPECT_GE(t.queued, 0);
  }

  static uint64_t NumberOf(std::string_view text) {
    uint64_t number = 0;
    EXPECT_TRUE(absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &number)) << text;
    return number;
  }
  // Counts the messages after `from` and before `to` that are meant for the seat.
  static int64_t Meant(const Seat& seat, uint64_t from, uint64_t to) {
    int64_t count = 0;
    for (uint64_t i = from + 1; i < to; ++i) count += !seat.filtered || IsFor(i);
    return count;
  }

  // All output has been written: each gap is exactly as long as its notice says.
  void CheckReceived(const Seat& seat) {
    if (seat.wire == nullptr || !seat.subscribed.Joined()) return;
    uint64_t last = seat.subscribed.sequence;
    int64_t missed = 0;
    // In all; for kConflate, which orders messages by the first places of their keys.
    int64_t told = 0;
    int64_t received = 0;
    const bool in_order = seat.policy != SlowPolicy::kConflate;
    std::vector<std::string> lines = absl::StrSplit(seat.wire->output, '\n');
    lines.pop_back();  // Empty, or cut by the end of the connection.
    for (const std::string& line : lines) {
      if (absl::StartsWith(line, "missed ")) {
        missed += static_cast<int64_t>(NumberOf(std::string_view(line).substr(7)));
        EXPECT_GT(missed, 0);
        continue;
      }
      const uint64_t number = NumberOf(std::string_view(line).substr(0, line.find(' ')));
      ++received;
      EXPECT_TRUE(!seat.filtered || IsFor(number)) << number;
      if (in_order) {
        ASSERT_GT(number, last);
        EXPECT_EQ(missed, Meant(seat, last, number)) << number;
      }
      told += std::exchange(missed, 0);
      last = number;
    }
    told += missed;
    if (seat.wire->closed || seat.wire->fin || seat.left || seat.wire->write_error != 0) return;
    EXPECT_EQ(received + told, Meant(seat, seat.subscribed.sequence, published_ + 1));
  }

  Reader& reader_;
  std::array<Seat, kMembers> seats_;
  Rig rig_;
  Ref<Hub> hub_;
  int64_t published_ = 0;
};

}  // namespace
}  // namespace sluice::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::testing::Reader reader(data, size);
  sluice::testing::World(reader).Run();
  return 0;
}
