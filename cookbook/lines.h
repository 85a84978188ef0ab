// A key-value table, and the session that speaks for it by lines: "set KEY VALUE", "get KEY",
// "count". Each answer is a line. In a header, so that simulated_test.cc has the same classes.
#ifndef SLUICE_COOKBOOK_LINES_H_
#define SLUICE_COOKBOOK_LINES_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>

#include "sluice/protocols/line_session.h"
#include "sluice/sluice.h"

struct Request {
  using Reply = std::string;
  std::string line;
};

class Table : public sluice::Actor {
 public:
  explicit Table(size_t keys_max) : keys_max_(keys_max) {}
  std::string On(const Request& request) {
    const std::string_view line = request.line;
    if (line == "count") return std::to_string(values_.size());
    const size_t space = line.find(' ', 4);
    const std::string key(line.substr(0, space).substr(line.size() < 4 ? line.size() : 4));
    if (line.starts_with("get ") && space == line.npos) {
      const auto found = values_.find(key);
      return found == values_.end() ? "none" : found->second;
    }
    if (!line.starts_with("set ") || space == line.npos) return "error: what?";
    if (values_.size() >= keys_max_ && !values_.contains(key)) return "error: the table is full";
    values_[key] = line.substr(space + 1);
    return "ok";
  }

 private:
  const size_t keys_max_;
  std::unordered_map<std::string, std::string> values_;
};

class Clerk : public sluice::LineSession {
 public:
  explicit Clerk(sluice::Ref<Table> table) : LineSession(/*line_bytes_max=*/1'000), table_(table) {}

  // Many requests of a client may be under way; the answers leave in their order.
  void OnLine(std::string_view line) override {
    AskPipelined(table_, Request{std::string(line)}, absl::Seconds(5),
                 [](absl::StatusOr<std::string> answer) {
                   return answer.value_or("error: no answer in time") + "\n";
                 });
  }
  void OnLongLine() override { WriteOrAbort("error: a line has at most 1000 bytes\n"); }

 private:
  const sluice::Ref<Table> table_;
};

#endif  // SLUICE_COOKBOOK_LINES_H_
