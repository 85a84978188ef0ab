// Savina's benchmarks in CAF: bench/savina/README.md.
//
// Build it in the repository's root, with libcaf-dev:
//   g++ -std=c++20 -O2 -DNDEBUG -I. bench/savina/caf/*.cc -o savina -lcaf_core -pthread
#include "bench/savina/benchmarks.h"

int main(int argc, char** argv) { return bench::SavinaMain(argc, argv); }
