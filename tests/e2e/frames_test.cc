// Tests of the protocol of frames: each frame comes back whole and in order, however its bytes
// come; a frame that is too long ends its own connection; a reader that stops is slowed.

#include <signal.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

#include "gtest/gtest.h"
#include "sluice/tests/e2e/client.h"
#include "sluice/tests/e2e/server.h"

namespace sluice::e2e {
namespace {

constexpr size_t kBodyBytesMax = 256 * 1024;

std::string Header(uint32_t length) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(length >> shift & 0xFF);
  return bytes;
}
std::string Frame(std::string_view body) {
  return Header(static_cast<uint32_t>(body.size())).append(body);
}
// Many frames of all lengths below `length_max`, also empty ones.
std::string Frames(int count, size_t length_max) {
  std::string bytes;
  for (int i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    bytes += Frame(Pattern(at * 31, at * 7'919 % length_max));
  }
  return bytes;
}

testing::AssertionResult ComesBack(Client& client, const std::string& frames) {
  std::jthread sender([&] { client.Send(frames); });
  return SameBytes(frames, client.ReadExactly(frames.size()));
}

// By handlers, and by a task.
class FrameEcho : public testing::TestWithParam<const char*> {};

TEST_P(FrameEcho, AFrameInOneBytePiecesComesBack) {
  Server server(GetParam());
  Client client(server.address());
  const std::string frames = Frame("hello") + Frame("") + Frame("world");
  for (const char byte : frames) {
    ASSERT_TRUE(client.Send(std::string(1, byte)));
    ASSERT_TRUE(client.WaitUntilArrived());
  }
  EXPECT_EQ(client.ReadExactly(frames.size()), frames);
  EXPECT_FALSE(client.Readable());
}

TEST_P(FrameEcho, NothingComesBackBeforeAFrameIsWhole) {
  Server server(GetParam());
  Client client(server.address());
  Client witness(server.address());
  const std::string frame = Frame(Pattern(0, 1'000));
  ASSERT_TRUE(client.Send(frame.substr(0, frame.size() - 1)));
  ASSERT_TRUE(client.WaitUntilArrived());
  EXPECT_TRUE(ComesBack(witness, Frame("is served meanwhile")));
  EXPECT_FALSE(client.Readable());
  ASSERT_TRUE(client.Send(frame.substr(frame.size() - 1)));
  EXPECT_EQ(client.ReadExactly(frame.size()), frame);
}

TEST_P(FrameEcho, ManyFramesInOneWriteComeBackInOrder) {
  Server server(GetParam());
  Client client(server.address());
  EXPECT_TRUE(ComesBack(client, Frames(20'000, 10)));
  EXPECT_TRUE(ComesBack(client, Frames(300, 100'000)));
}

TEST_P(FrameEcho, TheLongestFramesComeBack) {
  Server server(GetParam());
  Client client(server.address());
  std::string frames;
  for (size_t less = 0; less < 20; ++less) frames += Frame(Pattern(less, kBodyBytesMax - less));
  EXPECT_TRUE(ComesBack(client, frames));
}

TEST_P(FrameEcho, ATooLongFrameEndsOnlyItsConnection) {
  Server server(GetParam());
  Client good(server.address());
  EXPECT_TRUE(ComesBack(good, Frame("before")));
  for (const uint32_t length : {uint32_t{kBodyBytesMax} + 1, UINT32_MAX}) {
    Client bad(server.address());
    EXPECT_TRUE(ComesBack(bad, Frame("a good frame")));
    ASSERT_TRUE(bad.Send(Header(length)));  // The body need not come.
    EXPECT_EQ(bad.ReadUntilEof(), "");
    EXPECT_EQ(bad.end(), End::kReset);
  }
  EXPECT_TRUE(ComesBack(good, Frame("after")));
  good.Close();
  EXPECT_EQ(server.Stop(), 0);
  // The log and the ledger.
  for (const char* reason :
       {"sent a frame longer than 262148 bytes", "(closed by the peer 1, frame too long 2)"}) {
    EXPECT_NE(server.StandardError().find(reason), std::string::npos) << server.StandardError();
  }
}

TEST_P(FrameEcho, AStoppedReaderIsSlowedAndLosesNothing) {
  for (const size_t length_max : {size_t{100}, kBodyBytesMax}) {
    Server server(GetParam());
    Client client(server.address(), {.receive_buffer_bytes = 4096});
    EXPECT_TRUE(ComesBack(client, Frame("served")));
    const int64_t memory = server.ResidentBytes();
    const std::string frames =
        Frames(static_cast<int>(size_t{50} * kMebibyte / length_max), length_max);
    const size_t sent = client.SendUntilStopped(frames);
    EXPECT_LT(sent, frames.size()) << "the client was never slowed";
    EXPECT_TRUE(server.GrewAtMost(8 * kMebibyte, memory));
    Client other(server.address());
    EXPECT_TRUE(ComesBack(other, Frame("is served meanwhile")));
    std::jthread sender([&] {
      EXPECT_TRUE(client.Send(std::string_view(frames).substr(sent)));
      client.ShutdownWrite();
    });
    EXPECT_TRUE(SameBytes(frames, client.ReadExactly(frames.size()))) << client.end();
    EXPECT_EQ(client.ReadUntilEof(), "");
    EXPECT_EQ(client.end(), End::kEof);
  }
}

TEST_P(FrameEcho, AHalfClosedPeerReadsAllItsAnswers) {
  Server server(GetParam());
  const std::string frames = Frames(1'000, 100);
  // Nothing, a header's half, or a body's half may be left at the end.
  for (const std::string& rest : {std::string(), Header(5).substr(0, 2), Header(5) + "hel"}) {
    Client client(server.address());
    ASSERT_TRUE(client.Send(frames + rest));
    client.ShutdownWrite();
    EXPECT_TRUE(SameBytes(frames, client.ReadUntilEof()));
    EXPECT_EQ(client.end(), End::kEof) << rest.size();
  }
}

TEST_P(FrameEcho, SigtermAnswersWhatHadArrived) {
  Server server(GetParam(), {"--drain_timeout=20s"});
  Client client(server.address());
  const std::string frames = Frames(1'000, 100);
  ASSERT_TRUE(client.Send(frames));
  ASSERT_TRUE(client.WaitUntilArrived());
  server.Signal(SIGTERM);
  EXPECT_TRUE(SameBytes(frames, client.ReadUntilEof()));
  EXPECT_EQ(client.end(), End::kEof);
  client.Close();
  EXPECT_EQ(server.Wait(), 0);
}

INSTANTIATE_TEST_SUITE_P(Examples, FrameEcho, testing::Values("frames", "frames_task"));

}  // namespace
}  // namespace sluice::e2e
