// Laws collects the broken promises that the parts of a stress run report.
//
// Owner:  the run.
// Thread: any; behind a lock, as a run that passes never takes it.
// Bound:  kTextsMax texts of each law are kept, and all are counted.
#ifndef SLUICE_TESTS_STRESS_LAWS_H_
#define SLUICE_TESTS_STRESS_LAWS_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace sluice::stress {

class Laws {
 public:
  static constexpr size_t kTextsMax = 4;

  void Broken(const std::string& law, std::string how);
  int64_t BrokenCount() const;
  std::vector<std::string> Lines() const;  // A line for each kept text, and one for the rest.

 private:
  struct Breaches {
    int64_t count = 0;
    std::vector<std::string> texts;
  };
  mutable std::mutex lock_;
  std::map<std::string, Breaches> by_law_;  // A handful of names, written by us.
};

}  // namespace sluice::stress

#endif  // SLUICE_TESTS_STRESS_LAWS_H_
