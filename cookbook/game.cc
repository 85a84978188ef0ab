// A game: players walk on a small map. A line ("n", "s", "e" or "w") says where to; each tick moves
// every player at most once, and tells all players what has changed: "ID X Y", or "ID gone".
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/protocols/line_session.h"
#include "sluice/sluice.h"

constexpr absl::Duration kTick = absl::Milliseconds(50);
constexpr int kMapSize = 16;
constexpr size_t kPlayersMax = 256;

struct Joined {
  uint64_t id = 0;
  std::string map;
};
struct Join {
  using Reply = Joined;
  sluice::Ref<sluice::Session> session;
};
struct Walk {
  uint64_t id;
  char to;
};

class World : public sluice::Actor {
 public:
  explicit World(sluice::Ref<sluice::Hub> news) : news_(news) {}
  void OnStart() override {
    Every(kTick, [this] { Tick(); });
  }
  absl::StatusOr<Joined> On(Join join) {
    if (pieces_.size() >= kPlayersMax) return absl::ResourceExhaustedError("the map is full");
    // The number of the monitor is the player's: OnDown follows, however the session ends.
    Joined joined{Monitor(join.session), ""};
    pieces_[joined.id] = Piece();
    for (const auto& [id, piece] : pieces_) joined.map += LineOf(id, piece);
    return joined;
  }
  // The last order before a tick counts: a player that sends many wins nothing.
  void On(Walk walk) {
    const auto found = pieces_.find(walk.id);
    if (found != pieces_.end()) found->second.to = walk.to;
  }
  void OnDown(const sluice::Down& down) override {
    pieces_[down.monitor].gone = pieces_[down.monitor].changed = true;
  }

 private:
  struct Piece {
    int x = kMapSize / 2;
    int y = kMapSize / 2;
    char to = ' ';
    bool changed = true;  // Not all players were told.
    bool gone = false;
  };

  static std::string LineOf(uint64_t id, const Piece& piece) {
    if (piece.gone) return absl::StrCat(id, " gone\n");
    return absl::StrCat(id, " ", piece.x, " ", piece.y, "\n");
  }
  static bool Step(int& at, int by) {
    return std::exchange(at, std::clamp(at + by, 0, kMapSize - 1)) != at;
  }
  void Tick() {
    for (auto next = pieces_.begin(); next != pieces_.end();) {
      auto& [id, piece] = *next++;
      const char to = std::exchange(piece.to, ' ');
      piece.changed |= Step(piece.x, (to == 'e') - (to == 'w'));
      piece.changed |= Step(piece.y, (to == 's') - (to == 'n'));
      if (piece.changed) piece.changed = !Tell(id, LineOf(id, piece));
      if (piece.gone && !piece.changed) pieces_.erase(id);
    }
  }
  // The piece is the key: of the lines that wait for a slow reader, a newer one replaces an older
  // one. False: there is no memory now, and the next tick tries again.
  bool Tell(uint64_t id, const std::string& line) {
    const std::optional<sluice::Bytes> bytes = sluice::Bytes::Copy(line, runtime().budget());
    return bytes && Send(news_, sluice::Publish{*bytes, {}, id}) == sluice::Answer::kAccepted;
  }

  const sluice::Ref<sluice::Hub> news_;
  std::map<uint64_t, Piece> pieces_;
};

class Player : public sluice::LineSession {
 public:
  Player(sluice::Ref<World> world, sluice::Ref<sluice::Hub> news)
      : LineSession(/*line_bytes_max=*/16), world_(world), news_(news) {}

  // The player subscribes, then joins, so that no change is missed; until then nothing is read.
  void OnOpen() override {
    hold_ = HoldReading();
    const sluice::SubscribeOptions options{.slow = sluice::SlowPolicy::kConflate,
                                           .keys_max = 2 * kPlayersMax};
    const auto asked = Send(news_, sluice::Subscribe(this, options));
    if (asked != sluice::Answer::kAccepted) Abort();
  }
  void On(sluice::Subscribed subscription) {
    if (!subscription.Joined()) return Abort();
    AskOrTell(world_, Join{RefOf<sluice::Session>(this)}, absl::Seconds(5),
              [this](absl::StatusOr<Joined> joined) {
                if (!joined.ok()) {
                  WriteOrAbort("error: the map is full\n");
                  return Close();
                }
                id_ = joined->id;
                WriteOrAbort(absl::StrCat("you are ", id_, "\n", joined->map));
                hold_.Release();
              });
  }
  void OnLine(std::string_view line) override {
    const bool walks = line == "n" || line == "e" || line == "s" || line == "w";
    if (!walks) return WriteOrAbort("error: n, e, s or w\n");
    if (Send(world_, Walk{id_, line[0]}) != sluice::Answer::kAccepted) Abort();
  }
  void OnLongLine() override { WriteOrAbort("error: n, e, s or w\n"); }

 private:
  const sluice::Ref<World> world_;
  const sluice::Ref<sluice::Hub> news_;
  sluice::ReadHold hold_;
  uint64_t id_ = 0;
};

int main(int argc, char** argv) {
  sluice::Runtime runtime(sluice::Options::FromFlags(argc, argv));
  sluice::HubOptions options;
  options.missed_notice = [](int64_t missed) { return absl::StrCat("missed ", missed, "\n"); };
  const auto news = runtime.Spawn<sluice::Hub>(options);
  runtime.Listen<Player>("127.0.0.1:7009", runtime.Spawn<World>(news), news);
  return runtime.RunUntilSignal();
}
