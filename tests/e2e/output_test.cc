// A server goes on serving whatever happens to its standard streams.

#include <signal.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

// Makes the server log: connections, refusals, resets and dumps at the most verbose level. Also
// checks that each byte still comes back: a log line that lands in a socket would show here.
void ExpectToServe(Server& server) {
  std::vector<Client> clients;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back(server.address());
    ASSERT_TRUE(clients.back().connected());
    if (i % 2 == 0) clients.back().Reset();
  }
  for (int i = 0; i < 50; ++i) server.Signal(SIGUSR1);
  for (size_t i = 1; i < clients.size(); i += 2) EXPECT_TRUE(clients[i].EchoPattern(100'000)) << i;
  clients.clear();
  EXPECT_TRUE(server.Running());
  EXPECT_EQ(server.Stop(), 0);
}

std::vector<std::string> Flags() {
  return {"--listen=unix:" + UniqueSocketName(), "--log_level=trace"};
}

// The server prints nothing readable: once it answers, it runs and takes signals.
void WaitUntilItListens(const Server& server) {
  ASSERT_TRUE(WaitFor([&] { return Client(server.address()).EchoPattern(1); }));
}

TEST(Output, StandardOutputIsClosed) {
  Server server("echo", Flags(), {.standard_output = Output::kClosed});
  WaitUntilItListens(server);
  ExpectToServe(server);
}

TEST(Output, StandardErrorIsClosed) {
  Server server("echo", Flags(), {.standard_error = Output::kClosed});
  ExpectToServe(server);
}

TEST(Output, BothAreClosed) {
  Server server("echo", Flags(),
                {.standard_output = Output::kClosed, .standard_error = Output::kClosed});
  WaitUntilItListens(server);
  ExpectToServe(server);
}

TEST(Output, NobodyReadsStandardOutputAnyMore) {
  Server server("echo", Flags(), {.standard_output = Output::kBrokenPipe});
  WaitUntilItListens(server);
  ExpectToServe(server);
}

TEST(Output, NobodyReadsStandardErrorAnyMore) {
  Server server("echo", Flags(), {.standard_error = Output::kBrokenPipe});
  ExpectToServe(server);
}

TEST(Output, FullDiskIsReportedAndEndsNothing) {
  Server server("echo", Flags(), {.standard_output = Output::kFullDisk});
  WaitUntilItListens(server);
  EXPECT_TRUE(WaitFor([&] {
    return server.StandardError().find("cannot write \"listening on " + server.address() +
                                       "\" to stdout: write: No space left on device") !=
           std::string::npos;
  })) << server.StandardError();
  ExpectToServe(server);
}

TEST(Output, AFileAtItsLimitEndsNothing) {
  TempDir folder;
  const std::string address = "unix:" + UniqueSocketName();
  // Not only the first line: output at exit would raise SIGXFSZ, too. stderr is a pipe, as the
  // limit applies to every file.
  Process server("/bin/sh",
                 {"-c", "ulimit -f 0; exec \"$0\" --listen=\"$1\" > \"$2\"", ExamplePath("echo"),
                  address, folder.Path("output")},
                 {.standard_error = Output::kBrokenPipe});
  ASSERT_TRUE(WaitFor([&] { return Client(address).EchoPattern(100'000); }));
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0);
}

TEST(Output, AClosedStandardOutputIsNamedOnStandardError) {
  Server server("echo", Flags(), {.standard_output = Output::kClosed});
  WaitUntilItListens(server);
  EXPECT_TRUE(WaitFor([&] {
    return server.StandardError().find("to stdout: write: Bad file descriptor") !=
           std::string::npos;
  })) << server.StandardError();
  ExpectToServe(server);
}

TEST(Output, AFullPipeOnStandardErrorBlocksNothing) {
  Server server("echo", Flags(), {.standard_error = Output::kFullPipe});
  ExpectToServe(server);
}

}  // namespace
}  // namespace sluice::e2e
