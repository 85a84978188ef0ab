#include "sluice/core/os/listen_names.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace sluice {

namespace {

// The length of the name that `item` begins with; 0: none. A path may have an equals sign, too, but
// behind "unix:".
size_t NameLength(absl::string_view item) {
  const size_t equals = item.find('=');
  if (equals == item.npos) return 0;
  const auto in_name = [](char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-'; };
  return std::all_of(item.begin(), item.begin() + equals, in_name) ? equals : 0;
}

}  // namespace

std::vector<NamedAddresses> SplitByName(std::string_view text) {
  std::vector<NamedAddresses> all;
  if (text.empty()) return all;
  std::string name;
  const absl::string_view whole(text.data(), text.size());
  for (absl::string_view item : absl::StrSplit(whole, absl::ByAnyChar(",;"))) {
    if (item.data() != whole.data() && item.data()[-1] == ';') name.clear();
    const absl::string_view trimmed = absl::StripAsciiWhitespace(item);
    if (const size_t length = NameLength(trimmed); length > 0) {
      name = std::string(trimmed.substr(0, length));
      item = trimmed.substr(length + 1);
    }
    const auto same = [&](const NamedAddresses& one) { return one.name == name; };
    const auto found = std::find_if(all.begin(), all.end(), same);
    if (found == all.end()) {
      all.push_back({name, std::string(item)});
    } else {
      absl::StrAppend(&found->addresses, ",", item);
    }
  }
  return all;
}

}  // namespace sluice
