// Tests of sessions that answer later than they are asked, with the default OnEof and OnDrain, over
// real sockets: a peer that half-closes at once, and one whose server drains, gets all answers.
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/protocols/line_session.h"
#include "sluice/sluice.h"
#include "sluice/tests/e2e/client.h"

namespace sluice::e2e {
namespace {

constexpr size_t kPieceBytes = 50'000;
constexpr size_t kFileBytes = 6'500'000;

struct Get {
  using Reply = std::string;
  std::string key;
  int64_t HeldBytes() const { return sluice::HeldBytes(key); }
};

// Answers each question 20 ms later.
class Store : public Actor {
 public:
  void On(Get get, Promise<std::string> promise) {
    const TimerId timer = After(absl::Milliseconds(20),
                                [promise = std::move(promise), key = std::move(get.key)]() mutable {
                                  promise.Resolve("value of " + key + "\n");
                                });
    EXPECT_NE(timer, 0u);
  }
};

class Asker : public LineSession {
 public:
  explicit Asker(Ref<Store> store) : LineSession(1'000), store_(store) {}
  void OnLine(std::string_view line) override {
    EXPECT_EQ(Ask(store_, Get{std::string(line)}, absl::Seconds(30),
                  [this](const absl::StatusOr<std::string>& value) {
                    WriteOrAbort(value.ok() ? *value : value.status().ToString());
                  }),
              Answer::kAccepted);
  }

 private:
  const Ref<Store> store_;
};

// Answers the first byte with a file, which it reads in pieces on the blocking pool.
class Filer : public Session {
 public:
  void OnData(Input& in) override {
    in.TakeAll();
    ReadPiece();
  }
  void OnWritable() override { WritePiece(); }

 private:
  void ReadPiece() {
    EXPECT_EQ(RunBlocking([from = sent_] { return Pattern(from, kPieceBytes); },
                          [this](absl::StatusOr<std::string> piece) {
                            piece_ = *std::move(piece);
                            WritePiece();
                          }),
              Answer::kAccepted);
  }
  void WritePiece() {
    if (Write(piece_) == Answer::kFull) return;
    sent_ += kPieceBytes;
    if (sent_ < kFileBytes) ReadPiece();
  }

  std::string piece_;
  size_t sent_ = 0;
};

class LateAnswers : public ::testing::Test {
 protected:
  LateAnswers() : runtime_(SmallOptions()) {
    runtime_.Listen<Asker>("127.0.0.1:0", runtime_.Spawn<Store>());
    runtime_.Listen<Filer>("127.0.0.1:0");
    EXPECT_TRUE(runtime_.Start().ok());
    const std::vector<std::string> addresses = runtime_.Listening();
    asker_ = addresses[0];
    filer_ = addresses[1];
  }
  ~LateAnswers() override { runtime_.Drain(absl::Seconds(5)); }

  static Options SmallOptions() {
    Options options;
    options.workers = 2;
    options.memory_bytes_max = 64 * 1024 * 1024;
    options.max_connections = 16;
    options.log_level = "warning";
    return options;
  }

  Runtime runtime_;
  std::string asker_;
  std::string filer_;
};

TEST_F(LateAnswers, EachQuestionIsAnsweredAfterAHalfClose) {
  Client client(asker_);
  ASSERT_TRUE(client.Send("a\nb\nc"));
  client.ShutdownWrite();
  EXPECT_EQ(client.ReadUntilEof(), "value of a\nvalue of b\nvalue of c\n");
  EXPECT_EQ(client.end(), End::kEof);
}

TEST_F(LateAnswers, AFileArrivesWholeAfterAHalfClose) {
  Client client(filer_, {.receive_buffer_bytes = 20'000});
  ASSERT_TRUE(client.Send("f"));
  client.ShutdownWrite();
  EXPECT_TRUE(client.ReadPattern(kFileBytes));
  EXPECT_EQ(client.ReadUntilEof(), "");
  EXPECT_EQ(client.end(), End::kEof);
}

TEST_F(LateAnswers, ADrainWaitsForThemAndEndsRightAfter) {
  Client asks(asker_);
  Client reads(filer_, {.receive_buffer_bytes = 20'000});
  ASSERT_TRUE(asks.Send("a\n"));
  EXPECT_EQ(asks.ReadLine(), "value of a");
  ASSERT_TRUE(reads.Send("f"));
  EXPECT_TRUE(reads.ReadPattern(kPieceBytes));  // The file is under way.
  ASSERT_TRUE(asks.Send("b\nc\n"));
  ASSERT_TRUE(asks.WaitUntilArrived());
  const absl::Time start = absl::Now();
  std::thread drain([this] { runtime_.Drain(absl::Seconds(60)); });
  EXPECT_EQ(asks.ReadUntilEof(), "value of b\nvalue of c\n");
  EXPECT_TRUE(reads.ReadPattern(kFileBytes - kPieceBytes));
  EXPECT_EQ(reads.ReadUntilEof(), "");
  EXPECT_EQ(reads.end(), End::kEof);
  asks.Close();
  reads.Close();
  drain.join();
  EXPECT_LT(absl::Now() - start, absl::Seconds(25)) << "not even half of the drain's time";
}

}  // namespace
}  // namespace sluice::e2e
