#include "sluice/tests/stress/laws.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace sluice::stress {

void Laws::Broken(const std::string& law, std::string how) {
  std::lock_guard<std::mutex> lock(lock_);
  Breaches& breaches = by_law_[law];
  if (++breaches.count <= static_cast<int64_t>(kTextsMax)) breaches.texts.push_back(std::move(how));
}

int64_t Laws::BrokenCount() const {
  std::lock_guard<std::mutex> lock(lock_);
  int64_t count = 0;
  for (const auto& [law, breaches] : by_law_) count += breaches.count;
  return count;
}

std::vector<std::string> Laws::Lines() const {
  std::lock_guard<std::mutex> lock(lock_);
  std::vector<std::string> lines;
  for (const auto& [law, breaches] : by_law_) {
    for (const std::string& text : breaches.texts) {
      lines.push_back(absl::StrCat("broken: ", law, ": ", text));
    }
    const int64_t more = breaches.count - static_cast<int64_t>(breaches.texts.size());
    if (more > 0) lines.push_back(absl::StrCat("broken: ", law, ": and ", more, " more times"));
  }
  return lines;
}

}  // namespace sluice::stress
