// Here and not beside the slot's tests, as a question's deadline is handled by its actor.
#include "sluice/core/slot/open_questions.h"

#include <vector>

#include "gtest/gtest.h"

namespace sluice {
namespace {

void CloseById(OpenQuestions& questions, AskId id) {
  OpenQuestion* const question = questions.Find(id);
  ASSERT_NE(question, nullptr);
  questions.Close(*question);
}

TEST(OpenQuestions, APlaceThatIsUsedAgainHasAnotherId) {
  OpenQuestions questions;
  EXPECT_EQ(questions.Find(0), nullptr);
  const AskId first = questions.Open(nullptr).id();
  OpenQuestion* const place = questions.Find(first);
  CloseById(questions, first);
  const AskId second = questions.Open(nullptr).id();
  EXPECT_EQ(questions.Find(second), place);
  EXPECT_NE(first, second);
  EXPECT_EQ(questions.Find(first), nullptr);
  EXPECT_NE(second & kQuestionBit, 0u);
}

TEST(OpenQuestions, IdsComeInTheOrderOfAsking) {
  OpenQuestions questions;
  std::vector<AskId> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(questions.Open(nullptr).id());
  for (const int gone : {3, 17, 30}) {
    CloseById(questions, ids[gone]);
    ids[gone] = 0;
  }
  std::erase(ids, 0);
  // These take the places that were left, the last one first.
  for (int i = 0; i < 3; ++i) ids.push_back(questions.Open(nullptr).id());
  EXPECT_EQ(questions.Ids(), ids);
  EXPECT_EQ(questions.Size(), ids.size());
}

TEST(OpenQuestions, ManyPlacesGoBackWhenNoneIsOpen) {
  OpenQuestions questions;
  std::vector<AskId> ids;
  for (int i = 0; i < 1000; ++i) ids.push_back(questions.Open(nullptr).id());
  for (const AskId id : ids) CloseById(questions, id);
  EXPECT_TRUE(questions.Empty());
  EXPECT_TRUE(questions.Ids().empty());
  for (const AskId id : ids) EXPECT_EQ(questions.Find(id), nullptr);
  const AskId next = questions.Open(nullptr).id();
  EXPECT_GT(next, ids.back());
  EXPECT_NE(questions.Find(next), nullptr);
}

}  // namespace
}  // namespace sluice
