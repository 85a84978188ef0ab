#include "sluice/core/slot/open_questions.h"

#include <algorithm>

namespace sluice {

std::vector<AskId> OpenQuestions::Ids() const {
  std::vector<AskId> ids;
  ids.reserve(open_);
  for (const std::unique_ptr<OpenQuestion>& question : places_) {
    if (question->id() != 0) ids.push_back(question->id());
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

}  // namespace sluice
