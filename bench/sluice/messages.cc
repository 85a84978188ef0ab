// Measures messages between actors of Sluice: bench/sluice/README.md.
#include "bench/program/program.h"
#include "bench/sluice/workloads.h"

int main(int argc, char** argv) {
  return bench::Main(argc, argv,
                     {{"message", &bench::MessageOneWay},
                      {"ping_pong", &bench::PingPong},
                      {"one_producer", &bench::OneProducer},
                      {"four_producers", &bench::FourProducers},
                      {"ring", &bench::Ring},
                      {"fork_join", &bench::ForkJoin},
                      {"create", &bench::Create},
                      {"idle", &bench::Idle},
                      {"flood", &bench::Flood}});
}
