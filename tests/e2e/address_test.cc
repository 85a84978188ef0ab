// Tests of where a server listens: every kind of address, and the socket file that remains
// afterwards.

#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

bool StartsWith(const std::string& text, std::string_view prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

// The server does not start, and prints one clear line with `word` and nothing else.
void ExpectRefusal(const std::string& listen, const std::string& word) {
  Process process(ExamplePath("echo"), {"--listen=" + listen});
  EXPECT_GT(process.Wait().value_or(0), 0) << listen;
  const std::string error = process.StandardError();
  EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
  EXPECT_NE(error.find(word), std::string::npos) << error;
  EXPECT_EQ(process.StandardOutput(), "");
}

TEST(Address, PortZeroPicksOneAndSaysWhich) {
  Server server("echo", {"--listen=127.0.0.1:0"});
  ASSERT_TRUE(StartsWith(server.address(), "127.0.0.1:")) << server.address();
  EXPECT_GT(std::atoi(server.address().c_str() + 10), 0);
  Client client(server.address());
  EXPECT_TRUE(Echoes(client));
}

TEST(Address, Ipv6) {
  Server server("echo", {"--listen=[::1]:0"});
  ASSERT_TRUE(StartsWith(server.address(), "[::1]:")) << server.address();
  Client client(server.address());
  EXPECT_TRUE(Echoes(client));
}

TEST(Address, UnixPathIsServedAndItsFileRemoved) {
  TempDir folder;
  const std::string path = folder.Path("echo.sock");
  Server server("echo", {"--listen=unix:" + path});
  EXPECT_EQ(server.address(), "unix:" + path);
  Client client(server.address());
  EXPECT_TRUE(Echoes(client));
  client.Close();
  EXPECT_EQ(server.Stop(), 0);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Address, AUnixNameLeavesNothingInTheFileSystem) {
  const std::string name = UniqueSocketName();
  Server server("echo", {"--listen=unix:" + name});
  EXPECT_EQ(server.address(), "unix:" + name);
  Client client(server.address());
  EXPECT_TRUE(Echoes(client));
  EXPECT_FALSE(std::filesystem::exists(name));
}

TEST(Address, SeveralAreServedAndPrintedInTheirOrder) {
  TempDir folder;
  const std::string path = "unix:" + folder.Path("echo.sock");
  const std::string name = "unix:" + UniqueSocketName();
  Server server("echo", {"--listen=127.0.0.1:0,[::1]:0," + path + "," + name});
  ASSERT_EQ(server.addresses().size(), 4u);
  EXPECT_TRUE(StartsWith(server.addresses()[0], "127.0.0.1:"));
  EXPECT_TRUE(StartsWith(server.addresses()[1], "[::1]:"));
  EXPECT_EQ(server.addresses()[2], path);
  EXPECT_EQ(server.addresses()[3], name);
  for (const std::string& address : server.addresses()) {
    Client client(address);
    EXPECT_TRUE(client.EchoPattern(100'000)) << address;
  }
}

TEST(Address, AStaleUnixFileIsReplaced) {
  TempDir folder;
  const std::string path = folder.Path("echo.sock");
  {
    // Leaves its file, as a killed server does.
    Server killed("echo", {"--listen=unix:" + path});
  }
  ASSERT_TRUE(std::filesystem::exists(path));
  Server server("echo", {"--listen=unix:" + path});
  Client client(server.address());
  EXPECT_TRUE(Echoes(client));
}

TEST(Address, UnixFileInUseStaysWithItsServer) {
  TempDir folder;
  const std::string address = "unix:" + folder.Path("echo.sock");
  Server server("echo", {"--listen=" + address});
  ExpectRefusal(address, "in use");
  Client client(address);
  EXPECT_TRUE(Echoes(client));
}

TEST(Address, AFileThatIsNoSocketIsLeftAlone) {
  TempDir folder;
  const std::string path = folder.Path("letter.txt");
  std::ofstream(path) << "dear reader";
  ExpectRefusal("unix:" + path, path);
  std::string content;
  std::getline(std::ifstream(path) >> std::ws, content);
  EXPECT_EQ(content, "dear reader");
}

TEST(Address, NextServerTakesThePathDuringADrain) {
  TempDir folder;
  const std::string address = "unix:" + folder.Path("echo.sock");
  Server first("echo", {"--listen=" + address, "--drain_timeout=2s"});
  Client stopped(address);
  stopped.SendPatternUntilStopped(64 * kMebibyte, absl::Milliseconds(100));
  first.Signal(SIGTERM);
  ASSERT_TRUE(WaitFor([&] { return !Client(address).connected(); }));
  Server second("echo", {"--listen=" + address});
  EXPECT_EQ(first.Wait(), 0);
  Client client(address);
  EXPECT_TRUE(Echoes(client)) << "the first server removed the file of the second";
}

TEST(Address, EndingServerLeavesTheFileOfItsSuccessor) {
  TempDir folder;
  const std::string path = folder.Path("echo.sock");
  Server first("echo", {"--listen=unix:" + path});
  std::filesystem::remove(path);
  Server second("echo", {"--listen=unix:" + path});
  EXPECT_EQ(first.Stop(), 0);
  Client client(second.address());
  EXPECT_TRUE(Echoes(client));
}

TEST(Address, UnixFileHasTheModeOfTheFlag) {
  TempDir folder;
  for (const auto& [flag, mode] :
       {std::pair{"--unix_mode=0600", 0600}, {"--unix_mode=666", 0666}}) {
    const std::string path = folder.Path("echo.sock");
    Server server("echo", {"--listen=unix:" + path, flag});
    EXPECT_EQ(static_cast<int>(std::filesystem::status(path).permissions()), mode);
    EXPECT_EQ(server.Stop(), 0);
  }
}

TEST(Address, MappedAddressIsRefusedWithTheRightSpelling) {
  ExpectRefusal("[::ffff:127.0.0.1]:0", "write 127.0.0.1:0");
}

TEST(Address, AUnixNameInUseIsRefused) {
  const std::string address = "unix:" + UniqueSocketName();
  Server server("echo", {"--listen=" + address});
  ExpectRefusal(address, "in use");
}

TEST(Address, AUnixPathWithoutAFolderIsRefused) {
  ExpectRefusal("unix:/nonexistent-sluice/echo.sock", "/nonexistent-sluice/echo.sock");
}

TEST(Address, APortInUseIsRefused) {
  Server server("echo");
  ExpectRefusal(server.address(), server.address());
  ExpectRefusal(server.address(), "in use");
  ExpectRefusal("unix:" + UniqueSocketName() + "," + server.address(), "in use");
  Client client(server.address());
  EXPECT_TRUE(Echoes(client));
}

TEST(Address, PortIsFreeOnceItsServerHasEnded) {
  Server first("echo");
  const std::string address = first.address();
  Client client(address);
  ASSERT_TRUE(Echoes(client));
  EXPECT_EQ(first.Stop(), 0);
  Server second("echo", {"--listen=" + address});
  Client next(address);
  EXPECT_TRUE(Echoes(next));
}

}  // namespace
}  // namespace sluice::e2e
