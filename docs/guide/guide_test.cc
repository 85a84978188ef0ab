// Each program of docs/guide.md prints what the guide says, and the pages show the current code.
#include <stdio.h>
#include <sys/wait.h>

#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace {

// Stdout of the command, and its exit code.
std::pair<std::string, int> OutputOf(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return {"popen failed", -1};
  std::string output;
  char bytes[4096];
  while (const size_t count = fread(bytes, 1, sizeof(bytes), pipe)) output.append(bytes, count);
  const int status = pclose(pipe);
  return {output, WIFEXITED(status) ? WEXITSTATUS(status) : 128};
}

class Guide : public testing::TestWithParam<const char*> {};

TEST_P(Guide, ProgramPrintsWhatTheGuideSays) {
  const std::string path = std::string("docs/guide/") + GetParam();
  std::stringstream expected;
  expected << std::ifstream(path + ".out").rdbuf();
  ASSERT_NE(expected.str(), "");
  EXPECT_EQ(OutputOf(path), std::pair(expected.str(), 0));
}

INSTANTIATE_TEST_SUITE_P(Programs, Guide, testing::Values(GUIDE_PROGRAMS),
                         [](const auto& info) { return std::string(info.param); });

TEST(Docs, ShowTheCodeAndEveryBoundsDefault) {
  EXPECT_EQ(OutputOf("python3 tools/docs.py --check"), std::pair(std::string(), 0));
}

}  // namespace
