// Connections far above capacity: good clients that check each byte among bad ones of every kind.
//
// Checks L9: each session opens and ends once; a good client gets each byte, or is refused at once.
#ifndef SLUICE_TESTS_STRESS_CONNECTIONS_PART_H_
#define SLUICE_TESTS_STRESS_CONNECTIONS_PART_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sluice/actors/peers/acceptor.h"
#include "sluice/tests/stress/bad_client.h"
#include "sluice/tests/stress/client.h"
#include "sluice/tests/stress/good_client.h"
#include "sluice/tests/stress/part.h"
#include "sluice/tests/stress/sessions.h"

namespace sluice::stress {

// The port of an acceptor of 127.0.0.1:0. Waits for the acceptor's worker; 0 if that does not
// answer.
uint16_t PortOf(Runtime& runtime, const Ref<Acceptor>& acceptor);

class ConnectionsPart : public Part {
 public:
  // Maxima at once: connections that the runtime serves, and clients that want one.
  static constexpr int kEchoMax = 96;
  static constexpr int kLinesMax = 64;
  static constexpr int kEchoClients = 320;  // At the limit they are refused.
  static constexpr int kLineClients = 112;  // At the limit they wait, so there are fewer of them.

  explicit ConnectionsPart(Stress& stress);
  std::string Name() const override { return "connections"; }
  void Prepare() override;
  void Start() override;
  bool Done() override;
  std::string State() override;
  int64_t Progress() const override { return tally_.good_done.Get(); }
  void Finish() override;
  std::vector<Rate> Rates() const override;

 private:
  struct LineScript {
    std::string input;
    std::string expected;
    bool must_half_close = false;
    bool server_ends = false;
  };
  std::unique_ptr<Client> MakeEchoClient(Random& random);
  std::unique_ptr<Client> MakeLineClient(Random& random);
  std::unique_ptr<Client> MakeBadClient(BadClient::Kind kind, uint16_t port, Random& random);
  LineScript MakeLineScript(Random& random);

  Stress& stress_;
  SessionEnds ends_;
  ClientTally tally_;
  std::array<Count, BadClient::kKinds> bad_;
  std::array<Count, 4> good_;  // By manner.
  std::string noise_;          // Echo clients send pieces of it. No LF in it.
  std::vector<LineScript> line_scripts_;
  Ref<Acceptor> echo_, lines_;
  uint16_t echo_port_ = 0, lines_port_ = 0;
  std::vector<std::unique_ptr<ClientLoop>> loops_;
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_CONNECTIONS_PART_H_
