// RunCommand runs a program as a shell would, and waits for its end.
//
// Owner: the caller. Thread: any; it waits. Bound: none. Errors: as the shell's, a code of 127.
#ifndef SLUICE_TESTS_SUPPORT_COMMAND_H_
#define SLUICE_TESTS_SUPPORT_COMMAND_H_

#include <sys/wait.h>

#include <cstdio>
#include <string>

namespace sluice::testing {

struct CommandResult {
  int code = 0;
  std::string text;  // Both stdout and stderr.
};

inline CommandResult RunCommand(const std::string& command) {
  CommandResult result;
  std::FILE* const output = popen((command + " 2>&1").c_str(), "r");
  for (int c = std::fgetc(output); c != EOF; c = std::fgetc(output)) {
    result.text += static_cast<char>(c);
  }
  result.code = WEXITSTATUS(pclose(output));
  return result;
}

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_SUPPORT_COMMAND_H_
