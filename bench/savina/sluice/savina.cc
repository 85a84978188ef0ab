// Savina's benchmarks in Sluice: bench/savina/README.md.
#include "bench/savina/benchmarks.h"

int main(int argc, char** argv) { return bench::SavinaMain(argc, argv); }
