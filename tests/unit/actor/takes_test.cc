// Tests of what an actor takes: exactly the messages that its On functions name.
#include "sluice/core/actor/takes.h"

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/actor/actor.h"
#include "sluice/core/runtime/runtime.h"
#include "sluice/tests/support/running.h"

namespace sluice::testing::takes_test {
namespace {

struct Base {
  int number = 0;
};
struct Derived : Base {};
struct FromBase {
  FromBase(Base) {}  // NOLINT(google-explicit-constructor): a conversion is what is tested.
};
struct Count {
  using Reply = int;
};
struct Name {
  using Reply = std::string;
};
struct FromCount {
  using Reply = int;
  FromCount(Count) {}  // NOLINT(google-explicit-constructor): as above.
};

struct TakesInt {
  void On(int) {}
};

TEST(Takes, NoNumberBecomesAnother) {
  EXPECT_TRUE((Takes<TakesInt, int>));
  EXPECT_FALSE((Takes<TakesInt, int64_t>));
  EXPECT_FALSE((Takes<TakesInt, double>));
  EXPECT_FALSE((Takes<TakesInt, char>));
  EXPECT_FALSE((Takes<TakesInt, bool>));
  EXPECT_FALSE((Takes<TakesInt, unsigned>));
}

TEST(Takes, NoClassBecomesAnother) {
  struct Actor {
    void On(Base) {}
    void On(const std::string&) {}
    void On(FromBase&&) {}
  };
  EXPECT_TRUE((Takes<Actor, Base>));
  EXPECT_TRUE((Takes<Actor, std::string>));
  EXPECT_TRUE((Takes<Actor, FromBase>));
  EXPECT_FALSE((Takes<Actor, Derived>));
  EXPECT_FALSE((Takes<Actor, const char*>));
  EXPECT_FALSE((Takes<Actor, char[6]>));
}

TEST(Takes, NoMessageIsWrappedInAnother) {
  struct Actor {
    void On(std::optional<int>) {}
    void On(std::variant<std::string, double>) {}
  };
  EXPECT_TRUE((Takes<Actor, std::optional<int>>));
  EXPECT_FALSE((Takes<Actor, int>));
  EXPECT_FALSE((Takes<Actor, double>));
  EXPECT_FALSE((Takes<Actor, std::string>));
  struct Both {
    void On(int) {}
    void On(std::optional<int>) {}
  };
  EXPECT_TRUE((Takes<Both, int>));
  EXPECT_TRUE((Takes<Both, std::optional<int>>));
}

struct Any {
  void On(const auto&) {}
};
struct Whole {
  template <std::integral T>
  void On(T) {}
  void On(double&&) {}
};

TEST(Takes, ATemplateTakesWhatItIsMadeFor) {
  EXPECT_TRUE((Takes<Any, int>));
  EXPECT_TRUE((Takes<Any, std::string>));
  EXPECT_TRUE((Takes<Whole, int>));
  EXPECT_TRUE((Takes<Whole, char>));
  EXPECT_TRUE((Takes<Whole, double>));
  EXPECT_FALSE((Takes<Whole, float>));
}

TEST(Takes, EveryFormOfAPublicOn) {
  struct Parent {
    void On(int) {}
  };
  struct Inherits : Parent {};
  struct Adds : Parent {
    using Parent::On;
    void On(const double&) noexcept {}
    void On(const Base&) const {}
    static void On(std::string&&) {}
    auto On(char) { return 7; }
  };
  EXPECT_TRUE((Takes<Inherits, int>));
  EXPECT_TRUE((Takes<Adds, int>));
  EXPECT_TRUE((Takes<Adds, double>));
  EXPECT_TRUE((Takes<Adds, Base>));
  EXPECT_TRUE((Takes<Adds, std::string>));
  EXPECT_TRUE((Takes<Adds, char>));
  EXPECT_FALSE((Takes<Adds, float>));
}

class Hides {
 public:
  void On(int) {}

 private:
  void On(double) {}
};

TEST(Takes, NoPrivateOnAndNoReference) {
  EXPECT_TRUE((Takes<Hides, int>));
  EXPECT_FALSE((Takes<Hides, double>));
  struct Refers {
    void On(int&) {}
  };
  EXPECT_FALSE((Takes<Refers, int>));
}

TEST(Takes, AQuestionIsTakenExactlyToo) {
  struct Later {
    void On(FromCount, Promise<int>) {}
    void On(const Name&, Promise<std::string>&&) {}
  };
  EXPECT_TRUE((TakesPromise<Later, FromCount>));
  EXPECT_TRUE((TakesPromise<Later, Name>));
  EXPECT_FALSE((TakesPromise<Later, Count>));
  EXPECT_FALSE((Answers<Later, Count>));
}

TEST(Takes, AReplyIsNotNarrowed) {
  struct Wide {
    int64_t On(Count) { return int64_t{5'000'000'000}; }
    const char* On(Name) { return "name"; }
  };
  struct Narrow {
    int16_t On(Count) { return 7; }
    absl::StatusOr<std::string> On(Name) { return "name"; }
  };
  EXPECT_FALSE((Answers<Wide, Count>));  // Its reply would be 705,032,704.
  EXPECT_TRUE((Answers<Wide, Name>));
  EXPECT_TRUE((Answers<Narrow, Count>));
  EXPECT_TRUE((Answers<Narrow, Name>));
}

TEST(Takes, ARecipientConvertsNoActor) {
  EXPECT_TRUE((std::is_convertible_v<Ref<TakesInt>, Recipient<int>>));
  EXPECT_FALSE((std::is_convertible_v<Ref<TakesInt>, Recipient<int64_t>>));
}

// Says which of its handlers ran.
class Exact : public Actor {
 public:
  explicit Exact(std::vector<std::string>* ran) : ran_(*ran) {}
  void On(int) { ran_.push_back("int"); }
  void On(const int64_t&) { ran_.push_back("int64_t"); }
  void On(std::optional<int>&&) { ran_.push_back("optional"); }
  void On(std::string) { ran_.push_back("string"); }

 private:
  std::vector<std::string>& ran_;
};

TEST(TakesAtRunTime, TheHandlerOfTheVeryTypeRuns) {
  std::vector<std::string> ran;
  Runtime runtime(SmallOptions(1));
  const Ref<Exact> exact = runtime.Spawn<Exact>(&ran);
  EXPECT_EQ(exact.TrySend(int64_t{5'000'000'000}), Answer::kAccepted);
  EXPECT_EQ(exact.TrySend(5), Answer::kAccepted);
  EXPECT_EQ(exact.TrySend(std::optional<int>(5)), Answer::kAccepted);
  EXPECT_EQ(exact.TrySend(std::string("text")), Answer::kAccepted);
  EXPECT_EQ(Recipient<std::string>(exact).TrySend({"braces"}), Answer::kAccepted);
  ASSERT_TRUE(runtime.Start().ok());
  runtime.Drain(absl::Seconds(5));
  EXPECT_EQ(ran, (std::vector<std::string>{"int64_t", "int", "optional", "string", "string"}));
}

}  // namespace
}  // namespace sluice::testing::takes_test
