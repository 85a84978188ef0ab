// Tests of AskPipelined: answers leave in the order of the requests, whatever order they come in,
// and within the bounds of a connection.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/actors/connection/task_session.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/actor/promise.h"
#include "sluice/core/os/open_file.h"
#include "sluice/tests/support/late_store.h"
#include "sluice/tests/support/wire.h"

namespace sluice::testing::ask_pipelined_test {
namespace {

std::string Encode(const absl::StatusOr<std::string>& reply) {
  return reply.ok() ? *reply : std::string(reply.status().message());
}

// Each byte of its input is a request: 'g' and 't' ask, the latter with a deadline of a second;
// 'x' calls Close, 'w' calls CloseWrite, any other byte is written.
class Clerk : public ScriptSession {
 public:
  Clerk(Notes* notes, Ref<LateStore> store) : ScriptSession(notes), store_(store) {}
  void OnData(Input& in) override {
    while (!in.empty() && MayGoOn()) Serve(in.Take(1)[0]);
  }

 private:
  void Serve(char request) {
    if (request == 'g' || request == 't') {
      const auto timeout = request == 't' ? absl::Seconds(1) : absl::InfiniteDuration();
      AskPipelined(store_, Get{}, timeout, &Encode);
    } else if (request == 'x') {
      Close();
      EXPECT_EQ(Write("late"), Answer::kClosed);
    } else if (request == 'w') {
      CloseWrite();
      EXPECT_EQ(Write("late"), Answer::kClosed);
    } else {
      WriteOrAbort(std::string(1, request));
    }
  }
  const Ref<LateStore> store_;
};

Options FewAnswers() {
  Options options = WireOptions();
  options.answers_max = 4;
  return options;
}

class AskPipelined : public ::testing::Test {
 protected:
  explicit AskPipelined(const Options& options = FewAnswers())
      : rig_(options), store_(rig_.runtime.Spawn<LateStore>(&open_)) {}
  ~AskPipelined() override { open_.clear(); }

  template <class S = Clerk>
  Rig::Peer Connected() {
    Rig::Peer peer = rig_.New();
    slot_ = rig_.OpenAs<S>(peer.wire, Connection::Start::kConnected, absl::InfiniteDuration(),
                           &peer.notes, store_);
    rig_.Settle();
    return peer;
  }
  void Comes(Wire& wire, std::string_view requests) {
    rig_.Arrive(wire, requests);
    rig_.Settle();
  }
  bool Eventually(const std::function<bool()>& true_now) {
    for (int i = 0; i < 5'000 && !true_now(); ++i) rig_.Turn();
    return true_now();
  }
  void Answers(size_t which, const std::string& text) {
    ASSERT_LT(which, open_.size());
    Promise<std::string> promise = std::move(open_[which]);
    open_.erase(open_.begin() + static_cast<int64_t>(which));
    promise.Resolve(text);
    rig_.Settle();
  }

  LateStore::Open open_;
  Rig rig_;
  Ref<LateStore> store_;
  Slot* slot_ = nullptr;
};

TEST_F(AskPipelined, AnswersLeaveInTheOrderOfTheRequests) {
  auto [wire, notes] = Connected();
  Comes(wire, "ggg");
  ASSERT_EQ(open_.size(), 3u) << "all are under way at once";
  Answers(2, "3");
  Answers(1, "2");
  EXPECT_EQ(wire.output, "");
  Answers(0, "1");
  EXPECT_EQ(wire.output, "123");
}

TEST_F(AskPipelined, AWriteLeavesBehindTheAnswersBeforeIt) {
  auto [wire, notes] = Connected();
  Comes(wire, "agbgc");
  EXPECT_EQ(wire.output, "a");
  Answers(1, "2");
  EXPECT_EQ(wire.output, "a");
  Answers(0, "1");
  EXPECT_EQ(wire.output, "a1b2c");
  Comes(wire, "d");
  EXPECT_EQ(wire.output, "a1b2cd");
}

TEST_F(AskPipelined, ADeadlineIsAnAnswerInItsPlace) {
  auto [wire, notes] = Connected();
  Comes(wire, "gt.");
  rig_.Advance(absl::Seconds(2));
  EXPECT_EQ(wire.output, "");
  Answers(0, "1 ");
  EXPECT_EQ(wire.output, "1 no answer before the deadline.");
  Answers(0, "late");
  EXPECT_EQ(wire.output, "1 no answer before the deadline.");
}

TEST_F(AskPipelined, ARefusedQuestionIsAnsweredInItsPlace) {
  auto [wire, notes] = Connected();
  Comes(wire, "g");
  store_.Stop();
  rig_.Settle();
  Comes(wire, "g.");
  EXPECT_EQ(wire.output, "");
  Answers(0, "1 ");
  EXPECT_EQ(wire.output, "1 the actor asked has ended.");
}

TEST_F(AskPipelined, ReadingStopsAtAnswersMax) {
  auto [wire, notes] = Connected();
  Comes(wire, "gggggggg");
  EXPECT_EQ(open_.size(), 4u);
  Comes(wire, "gg");
  EXPECT_EQ(open_.size(), 4u);
  EXPECT_EQ(wire.input, "gg") << "what comes now stays with the kernel";
  for (int i = 0; i < 10; ++i) Answers(0, std::to_string(i));
  EXPECT_EQ(wire.output, "0123456789");
}

TEST_F(AskPipelined, AHalfCloseWaitsForAllAnswers) {
  auto [wire, notes] = Connected();
  rig_.Arrive(wire, "gggggg");
  rig_.Fin(wire);
  rig_.Settle();
  for (const char* text : {"1", "2", "3", "4", "5"}) Answers(0, text);
  EXPECT_FALSE(wire.closed);
  Answers(0, "6");
  EXPECT_EQ(wire.output, "123456");
  EXPECT_TRUE(wire.closed);
  EXPECT_FALSE(wire.reset);
}

TEST_F(AskPipelined, ADrainWaitsForAllAnswers) {
  auto [wire, notes] = Connected();
  Comes(wire, "gg");
  rig_.worker.drain().Begin();
  rig_.worker.drain().EndReading();
  rig_.worker.drain().Close();
  rig_.Settle();
  EXPECT_EQ(notes.heard, "OH");
  EXPECT_FALSE(wire.fin);
  Answers(1, "2");
  Answers(0, "1");
  EXPECT_EQ(wire.output, "12");
  EXPECT_TRUE(wire.fin);
}

TEST_F(AskPipelined, CloseLetsTheAnswersBeforeItLeave) {
  auto [wire, notes] = Connected();
  Comes(wire, "gbx");
  EXPECT_FALSE(wire.fin);
  Comes(wire, "g");
  EXPECT_EQ(open_.size(), 1u) << "a closing session gets no more input";
  Answers(0, "a");
  EXPECT_EQ(wire.output, "ab");
  EXPECT_TRUE(wire.fin);
}

TEST_F(AskPipelined, CloseWriteLetsTheAnswersBeforeItLeave) {
  auto [wire, notes] = Connected();
  Comes(wire, "gbw");
  EXPECT_FALSE(wire.fin);
  Answers(0, "a");
  EXPECT_EQ(wire.output, "ab");
  EXPECT_TRUE(wire.fin);
  EXPECT_FALSE(wire.closed);
}

TEST_F(AskPipelined, AnAbortCountsAnswersThatWaited) {
  auto [wire, notes] = Connected();
  Comes(wire, "gg");
  Answers(1, std::string(1000, 'x'));
  EXPECT_GE(rig_.worker.lease().LeftBytes(), 0);
  notes.session->Abort();
  rig_.Settle();
  EXPECT_TRUE(wire.reset);
  EXPECT_EQ(rig_.Ledger().bytes_lost, 1000);
  Answers(0, "nobody waits");
}

TEST_F(AskPipelined, ASessionThatStopsBeforeItsAnswersResets) {
  auto [wire, notes] = Connected();
  Comes(wire, "gg");
  Answers(1, "2");
  notes.session->Stop();
  rig_.Settle();
  EXPECT_TRUE(wire.reset) << "after a FIN the peer would take that for all answers";
  EXPECT_EQ(rig_.Ledger().bytes_lost, 1);
}

// The peer reads late: what waits for it stays bounded, and nothing is lost.
TEST_F(AskPipelined, AnswersToAPeerThatReadsLateStayBounded) {
  auto [wire, notes] = Connected();
  wire.room = 0;
  const std::string answer(400'000, 'x');
  const std::string requests(300, 'g');
  rig_.Arrive(wire, requests);
  rig_.Settle();
  int64_t most = 0;
  int given = 0;
  for (; !open_.empty(); ++given) {
    Answers(0, answer);
    most = std::max(most, rig_.runtime.budget().UsedBytes());
  }
  EXPECT_LE(given, 12);
  EXPECT_LE(most, 8'000'000);
  while (given < 300 || wire.output.size() < 300 * answer.size()) {
    rig_.Room(wire, 1'000'000);
    rig_.Settle();
    for (; !open_.empty(); ++given) Answers(0, answer);
  }
  EXPECT_EQ(wire.output.size(), 300 * answer.size());
}

TEST_F(AskPipelined, OnWritableFollowsAFullWriteBehindAnswers) {
  auto [wire, notes] = Connected();
  Comes(wire, "g");
  const std::string most(static_cast<size_t>(rig_.runtime.options().output_bytes_max), 'x');
  EXPECT_EQ(notes.session->Write(most + "x"), Answer::kTooLarge);
  EXPECT_EQ(notes.session->Write(most), Answer::kAccepted);
  EXPECT_EQ(notes.session->Write("y"), Answer::kFull);
  notes.on_writable = [](ScriptSession& self) { self.WriteOrAbort("z"); };
  rig_.Settle();
  EXPECT_EQ(notes.heard, "O");
  Answers(0, "a");
  EXPECT_EQ(notes.heard, "OW");
  EXPECT_EQ(wire.output, "a" + most + "z");
}

// All leaves at once when the answer comes: no later event would say so.
TEST_F(AskPipelined, OnWritableFollowsThoughTheOutputIsHighThen) {
  auto [wire, notes] = Connected();
  Comes(wire, "g");
  const std::string half(600'000, 'x');
  EXPECT_EQ(notes.session->Write(half), Answer::kAccepted);
  EXPECT_EQ(notes.session->Write(half), Answer::kFull);
  wire.room = 0;
  Answers(0, "a");
  EXPECT_EQ(notes.heard, "O");
  rig_.Room(wire, 10'000'000);
  rig_.Settle();
  EXPECT_EQ(notes.heard, "OW");
}

TEST_F(AskPipelined, AFileKeepsItsPlaceAmongAnswers) {
  auto [wire, notes] = Connected();
  Comes(wire, "g");
  const SharedFile file = *OpenFile::ForReading("/proc/self/exe");
  std::string start(100, ' ');
  ASSERT_EQ(pread(file->Descriptor(), start.data(), 100, 0), 100);
  EXPECT_EQ(notes.session->SendFile(file, 0, 100), Answer::kAccepted);
  EXPECT_EQ(notes.session->Write("behind"), Answer::kAccepted);
  EXPECT_EQ(notes.session->SendFile(file, -1, 100), Answer::kInvalid);
  Comes(wire, "g");
  EXPECT_EQ(open_.size(), 1u) << "a file that waits is output that is high";
  Answers(0, "a");
  const std::string& output = wire.output;
  EXPECT_TRUE(Eventually([&] { return output == "a" + start + "behind"; })) << output;
  EXPECT_TRUE(Eventually([&] { return open_.size() == 1; }));
}

TEST_F(AskPipelined, FewAreAskedAtOnceUntilTheAnswersLengthIsKnown) {
  Options options = WireOptions();
  Rig rig(options);
  LateStore::Open open;
  const Ref<LateStore> store = rig.runtime.Spawn<LateStore>(&open);
  Rig::Peer peer = rig.New();
  rig.OpenAs<Clerk>(peer.wire, Connection::Start::kConnected, absl::InfiniteDuration(), &peer.notes,
                    store);
  rig.Arrive(peer.wire, std::string(300, 'g'));
  rig.Settle();
  EXPECT_EQ(open.size(), 8u) << "each answer may be as long as the output";
  const auto answer = [&](size_t bytes) {
    open.front().Resolve(std::string(bytes, 'x'));
    open.erase(open.begin());
    rig.Settle();
  };
  for (int i = 0; i < 8; ++i) answer(10);
  EXPECT_EQ(open.size(), 128u) << "answers_max";
  answer(600'000);
  for (int i = 0; i < 127; ++i) answer(10);
  const size_t before = open.size();
  for (int i = 0; i < 5; ++i) answer(600'000);
  EXPECT_EQ(open.size(), before - 5) << "no more is asked while answers are long";
  open.clear();
  rig.Settle();
}

TEST_F(AskPipelined, NothingIsAnsweredThatIsAskedBehindACloseWrite) {
  auto [wire, notes] = Connected();
  Comes(wire, "gwg");
  EXPECT_EQ(open_.size(), 2u);
  Answers(1, "too late");
  Answers(0, "a");
  EXPECT_EQ(wire.output, "a");
  EXPECT_TRUE(wire.fin);
}

TEST_F(AskPipelined, ASessionThatStopsWithOpenQuestionsResets) {
  auto [wire, notes] = Connected();
  Comes(wire, "g");
  notes.session->Stop();
  rig_.Settle();
  EXPECT_TRUE(wire.reset) << "after a FIN the peer would take that for all answers";
}

TEST_F(AskPipelined, WithoutMemoryForAnAnswerTheConnectionEnds) {
  auto [wire, notes] = Connected();
  Comes(wire, "gg");
  rig_.TakeMemory(true);
  Promise<std::string> promise = std::move(open_[1]);
  open_.pop_back();
  promise.Resolve(std::string(1'000'000, 'x'));
  for (int i = 0; i < 5; ++i) rig_.Turn();
  EXPECT_EQ(notes.reason, CloseReason::kMemory);
  EXPECT_TRUE(wire.reset);
  rig_.TakeMemory(false);
}

// A task that asks for each byte, and goes on to read.
class TaskClerk : public TaskSession {
 public:
  TaskClerk(Rig::Notes* notes, Ref<LateStore> store) : notes_(*notes), store_(store) {}
  Task<> Serve() override {
    while (const auto byte = co_await Exactly(1)) {
      if (*byte == "g") {
        AskPipelined(store_, Get{}, absl::InfiniteDuration(), &Encode);
      } else {
        co_await Write(*byte);
      }
    }
  }
  void OnClose(CloseReason reason) override { notes_.reason = reason; }

 private:
  Rig::Notes& notes_;
  const Ref<LateStore> store_;
};

TEST_F(AskPipelined, ATaskThatReturnsLetsItsAnswersLeave) {
  auto [wire, notes] = Connected<TaskClerk>();
  rig_.Arrive(wire, "gbggggc");
  rig_.Fin(wire);
  rig_.Settle();
  EXPECT_EQ(open_.size(), 4u);
  Answers(3, "5");
  Answers(2, "4");
  Answers(1, "3");
  Answers(0, "1");
  EXPECT_EQ(wire.output, "1b345");
  Answers(0, "6");
  EXPECT_EQ(wire.output, "1b3456c");
  EXPECT_TRUE(wire.closed);
  EXPECT_FALSE(wire.reset);
}

}  // namespace
}  // namespace sluice::testing::ask_pipelined_test
