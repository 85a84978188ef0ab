// Runs a fuzz target on each input of its kept corpus, in every build and with every compiler.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/tests/fuzz/fuzz.h"

namespace {

std::string folder;

void Replay(const std::string& name, const std::string& input) {
  SCOPED_TRACE(name);
  std::cout << name << std::endl;  // Names the input, should it crash.
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

TEST(Corpus, EveryInputKeepsThePromises) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  EXPECT_FALSE(paths.empty()) << folder;
  Replay("(empty)", "");
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    Replay(path.filename(), std::string(std::istreambuf_iterator<char>(file), {}));
  }
}

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (argc != 2) return 2;
  folder = argv[1];
  return RUN_ALL_TESTS();
}
