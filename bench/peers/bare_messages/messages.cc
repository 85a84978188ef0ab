// Measures what a message costs without any framework: the limit of bench/sluice:messages.
#include "bench/peers/bare_messages/workloads.h"
#include "bench/program/program.h"

namespace {

template <void (*kOneThread)(const bench::Run&), void (*kTwoThreads)(const bench::Run&)>
void ByWorkers(const bench::Run& run) {
  (run.workers == 1 ? kOneThread : kTwoThreads)(run);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace bench;  // NOLINT: a program.
  return Main(argc, argv,
              {{"message", &MessageOneWay},
               {"ping_pong", &ByWorkers<&PingPongHere, &PingPongAcross>},
               {"one_producer", &OneProducer},
               {"four_producers", &FourProducers},
               {"moodycamel_one_producer", &MoodycamelOneProducer},
               {"moodycamel_four_producers", &MoodycamelFourProducers},
               {"ring", &ByWorkers<&RingHere, &RingAcross>},
               {"fork_join", &ByWorkers<&ForkJoinHere, &ForkJoinAcross>},
               {"create", &ByWorkers<&CreateHere, &CreateAcross>},
               {"idle", &Idle},
               {"flood", &Flood}});
}
