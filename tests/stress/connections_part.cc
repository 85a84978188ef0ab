#include "sluice/tests/stress/connections_part.h"

#include <chrono>
#include <future>
#include <memory>

#include "absl/strings/str_cat.h"
#include "sluice/core/base/strings.h"

namespace sluice::stress {

namespace {

constexpr size_t kNoiseBytes = 3 << 20;
constexpr size_t kEchoBytesMax = 1 << 20;
constexpr int kLineScripts = 48;
constexpr size_t kScriptBytesMax = 24 * 1024;

}  // namespace

uint16_t PortOf(Runtime& runtime, const Ref<Acceptor>& acceptor) {
  auto port = std::make_shared<std::promise<uint16_t>>();
  std::future<uint16_t> told = port->get_future();
  runtime.Call(acceptor.slot()->worker->Index(), [acceptor, port](Worker&) {
    const auto* actor = static_cast<const Acceptor*>(acceptor.slot()->actor);
    const std::vector<Address> addresses =
        actor == nullptr ? std::vector<Address>() : actor->Addresses();
    port->set_value(addresses.empty() ? 0 : addresses.front().port());
  });
  const bool in_time = told.wait_for(std::chrono::seconds(kSlack)) == std::future_status::ready;
  return in_time ? told.get() : 0;
}

ConnectionsPart::ConnectionsPart(Stress& stress) : stress_(stress), ends_(stress.laws) {
  Random random(stress.seed + 3);
  noise_.resize(kNoiseBytes);
  for (char& byte : noise_) {
    byte = static_cast<char>(random());
    if (byte == '\n') byte = 'n';
  }
  for (int i = 0; i < kLineScripts; ++i) line_scripts_.push_back(MakeLineScript(random));
}

ConnectionsPart::LineScript ConnectionsPart::MakeLineScript(Random& random) {
  LineScript script;
  const size_t bytes_max = random.Between(1, kScriptBytesMax);
  const auto text = [&](size_t size) {
    std::string line(size, ' ');
    for (char& c : line) c = static_cast<char>('a' + random.Below(26));
    return line;
  };
  const auto say = [&](const std::string& line) {
    absl::StrAppend(&script.input, line, random.OneIn(2) ? "\n" : "\r\n");
    if (line.size() > kLineBytesMax) {
      absl::StrAppend(&script.expected, ToAbsl(kLongLineAnswer));
    } else {
      absl::StrAppend(&script.expected, line, "\n");
    }
  };
  while (script.input.size() < bytes_max) {
    say(text(random.OneIn(64) ? random.Between(kLineBytesMax - 2, kLineBytesMax + 2'000)
                              : random.Below(300)));
  }
  switch (random.Below(4)) {
    case 0:  // A last line without its end.
      script.must_half_close = true;
      script.input += "and that is all";
      script.expected += "and that is all\n";
      break;
    case 1:
      script.server_ends = true;
      absl::StrAppend(&script.input, ToAbsl(kThrowLine), "\n");
      absl::StrAppend(&script.expected, ToAbsl(kThrowAnswer));
      break;
    default:
      break;
  }
  return script;
}

void ConnectionsPart::Prepare() {
  echo_ = stress_.runtime.Listen<EchoSession>("127.0.0.1:0", &stress_, &ends_);
  lines_ = stress_.runtime.Listen<LineEchoSession>("127.0.0.1:0", &stress_, &ends_);
  bool set = echo_.TrySend(SetConnectionLimit{kEchoMax, AtLimit::kRefuse}) == Answer::kAccepted;
  // At this acceptor's limit clients wait in the backlog instead.
  set &= lines_.TrySend(SetConnectionLimit{kLinesMax, AtLimit::kWait}) == Answer::kAccepted;
  if (!set) stress_.laws.Broken("set-up", "an acceptor takes no limit");
}

void ConnectionsPart::Start() {
  echo_port_ = PortOf(stress_.runtime, echo_);
  lines_port_ = PortOf(stress_.runtime, lines_);
  loops_.push_back(
      std::make_unique<ClientLoop>(stress_, stress_.seed + 100, kEchoClients,
                                   [this](Random& random) { return MakeEchoClient(random); }));
  loops_.push_back(
      std::make_unique<ClientLoop>(stress_, stress_.seed + 101, kLineClients,
                                   [this](Random& random) { return MakeLineClient(random); }));
  for (const auto& loop : loops_) loop->Start();
}

std::unique_ptr<Client> ConnectionsPart::MakeBadClient(BadClient::Kind kind, uint16_t port,
                                                       Random& random) {
  bad_[static_cast<int>(kind)].Add();
  return std::make_unique<BadClient>(kind, port, noise_, random());
}

std::unique_ptr<Client> ConnectionsPart::MakeEchoClient(Random& random) {
  if (random.OneIn(3)) {
    auto kind = static_cast<BadClient::Kind>(random.Below(BadClient::kKinds));
    if (kind == BadClient::Kind::kBomb) kind = BadClient::Kind::kResets;
    return MakeBadClient(kind, echo_port_, random);
  }
  GoodClient::Script script;
  script.manner = static_cast<GoodClient::Manner>(random.Below(8));
  if (script.manner > GoodClient::Manner::kPausing) script.manner = GoodClient::Manner::kBrisk;
  const size_t size = script.manner == GoodClient::Manner::kOneByte ? random.Below(600)
                      : random.OneIn(24)                            ? random.Below(kEchoBytesMax)
                                                                    : random.Below(30'000);
  good_[static_cast<int>(script.manner)].Add();
  script.port = echo_port_;
  script.input = std::string_view(noise_).substr(random.Below(kNoiseBytes - kEchoBytesMax), size);
  script.expected = script.input;
  return std::make_unique<GoodClient>(stress_, ends_, tally_, script, random());
}

std::unique_ptr<Client> ConnectionsPart::MakeLineClient(Random& random) {
  if (random.OneIn(6)) {
    const auto kind = random.OneIn(3)
                          ? BadClient::Kind::kBomb
                          : static_cast<BadClient::Kind>(random.Below(BadClient::kKinds));
    return MakeBadClient(kind, lines_port_, random);
  }
  const LineScript& lines = line_scripts_[random.Below(line_scripts_.size())];
  GoodClient::Script script;
  script.manner = random.OneIn(4) ? GoodClient::Manner::kPausing : GoodClient::Manner::kBrisk;
  good_[static_cast<int>(script.manner)].Add();
  script.port = lines_port_;
  script.input = lines.input;
  script.expected = lines.expected;
  script.must_half_close = lines.must_half_close;
  script.server_ends = lines.server_ends;
  return std::make_unique<GoodClient>(stress_, ends_, tally_, script, random());
}

bool ConnectionsPart::Done() {
  for (const auto& loop : loops_) {
    if (!loop->Quiet()) return false;
  }
  return true;
}

std::string ConnectionsPart::State() {
  return absl::StrCat("sessions begun ", ends_.Begun(), ", ended ", ends_.Ended(),
                      "; good clients done ", tally_.good_done.Get(), ", refused ",
                      tally_.refused.Get());
}

void ConnectionsPart::Finish() {
  for (const auto& loop : loops_) loop->Finish();
  if (ends_.Begun() != ends_.Ended()) {
    stress_.laws.Broken(
        "L9", absl::StrCat("of ", ends_.Begun(), " sessions ", ends_.Ended(), " got OnClose"));
  }
}

std::vector<Rate> ConnectionsPart::Rates() const {
  std::vector<Rate> rates = {{"sessions", ends_.Begun()},
                             {"good done", tally_.good_done.Get()},
                             {"bytes checked", tally_.bytes_checked.Get()},
                             {"refused", tally_.refused.Get()},
                             {"cut short", tally_.cut.Get()}};
  static constexpr const char* kManners[] = {"good brisk", "good one byte", "good late reader",
                                             "good pausing"};
  for (size_t i = 0; i < good_.size(); ++i) rates.push_back({kManners[i], good_[i].Get()});
  for (int i = 0; i < BadClient::kKinds; ++i) {
    rates.push_back({std::string(BadClient::Name(static_cast<BadClient::Kind>(i))), bad_[i].Get()});
  }
  int64_t not_made = 0;
  for (const auto& loop : loops_) not_made += loop->NotMade();
  rates.push_back({"no port or descriptor", not_made});
  return rates;
}

}  // namespace sluice::stress
