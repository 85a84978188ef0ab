#include "sluice/core/runtime/names.h"

#include <gtest/gtest.h>

#include <typeinfo>

namespace sluice::testing::names_test {
namespace {

class NamesTest : public ::testing::Test {
 protected:
  // An actor "lives" in a slot while the mailbox word has its generation.
  NamesTest() { a_.mailbox.Open(1), b_.mailbox.Open(1); }
  static uint32_t GenerationOf(const Slot& slot) { return slot.mailbox.Word().Generation(); }
  absl::Status Add(Names& names, std::string_view name, Slot& slot) {
    return names.Add(name, &slot, GenerationOf(slot), typeid(int));
  }

  Slot a_{nullptr, 1};
  Slot b_{nullptr, 2};
};

TEST_F(NamesTest, NameOfALiveActorIsTaken) {
  Names names(10);
  EXPECT_TRUE(Add(names, "door", a_).ok());
  EXPECT_EQ(Add(names, "door", b_).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(names.Find("door", typeid(int)).first, &a_);
}

TEST_F(NamesTest, NameOfAnEndedActorIsFree) {
  Names names(10);
  EXPECT_TRUE(Add(names, "door", a_).ok());
  a_.mailbox.Close(GenerationOf(a_));
  EXPECT_EQ(names.Find("door", typeid(int)).first, nullptr);
  EXPECT_TRUE(Add(names, "door", b_).ok());
}

TEST_F(NamesTest, OtherTypeDoesNotFindIt) {
  Names names(10);
  EXPECT_TRUE(Add(names, "door", a_).ok());
  EXPECT_EQ(names.Find("door", typeid(long)).first, nullptr);
}

TEST_F(NamesTest, NamesOfEndedActorsMakeRoom) {
  Names names(1);
  EXPECT_TRUE(Add(names, "a", a_).ok());
  EXPECT_EQ(Add(names, "b", b_).code(), absl::StatusCode::kResourceExhausted);
  a_.mailbox.Close(GenerationOf(a_));
  EXPECT_TRUE(Add(names, "b", b_).ok());
  EXPECT_EQ(names.Count(), 1u);
}

TEST_F(NamesTest, RemovedNameIsFree) {
  Names names(10);
  EXPECT_TRUE(Add(names, "door", a_).ok());
  names.Remove("door");
  names.Remove("nobody");
  EXPECT_TRUE(Add(names, "door", b_).ok());
}

TEST_F(NamesTest, EmptyRefIsRefusedInWords) {
  Names names(10);
  const absl::Status status = names.Add("door", nullptr, 0, typeid(int));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "cannot register \"door\": the Ref is empty");
}

TEST_F(NamesTest, EmptyNameIsRefused) {
  Names names(10);
  EXPECT_EQ(Add(names, "", a_).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(names.Count(), 0u);
}

TEST_F(NamesTest, AnEndedActorGetsNoName) {
  Names names(10);
  const uint32_t generation = GenerationOf(a_);
  a_.mailbox.Close(generation);
  const absl::Status status = names.Add("door", &a_, generation, typeid(int));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "cannot register \"door\": the actor has ended");
  EXPECT_TRUE(Add(names, "door", b_).ok());
}

}  // namespace
}  // namespace sluice::testing::names_test
