// Lines, against a decoder that sees all bytes at once: cuts between pieces change nothing.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/protocols/line.h"
#include "sluice/tests/fuzz/fuzz.h"

namespace sluice::testing {
namespace {

using Event = std::pair<LineResult::Kind, std::string>;

Event EventOf(std::string_view line, size_t line_bytes_max) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (line.size() > line_bytes_max) return {LineResult::kTooLong, ""};
  return {LineResult::kLine, std::string(line)};
}

std::vector<Event> Model(std::string_view bytes, size_t line_bytes_max) {
  std::vector<Event> events;
  for (size_t end; (end = bytes.find('\n')) != bytes.npos; bytes.remove_prefix(end + 1)) {
    events.push_back(EventOf(bytes.substr(0, end), line_bytes_max));
  }
  if (!bytes.empty()) events.push_back(EventOf(bytes, line_bytes_max));
  return events;
}

// cuts` holds the lengths of the pieces, used again and again; empty: all bytes in one piece.
std::vector<Event> Decode(std::string_view bytes, std::string_view cuts, uint32_t line_bytes_max) {
  LineDecoder decoder(line_bytes_max);
  std::vector<Event> events;
  std::string kept;
  const auto take = [&](LineResult (LineDecoder::*next)(std::string_view)) {
    for (;;) {
      const LineResult result = (decoder.*next)(kept);
      ASSERT_LE(result.consumed, kept.size());
      if (result.kind == LineResult::kLine) {
        ASSERT_GE(result.line.data(), kept.data());
        ASSERT_LE(result.line.data() + result.line.size(), kept.data() + result.consumed);
      }
      if (result.kind != LineResult::kNeedMore) events.emplace_back(result.kind, result.line);
      kept.erase(0, result.consumed);
      if (result.kind == LineResult::kNeedMore) return;
    }
  };
  for (size_t i = 0; !bytes.empty(); ++i) {
    const size_t piece =
        cuts.empty()
            ? bytes.size()
            : std::min<size_t>(bytes.size(), static_cast<uint8_t>(cuts[i % cuts.size()]) + 1);
    kept += bytes.substr(0, piece);
    bytes.remove_prefix(piece);
    take(&LineDecoder::Next);
    EXPECT_LE(kept.size(), line_bytes_max + size_t{1});
  }
  take(&LineDecoder::Finish);
  EXPECT_EQ(kept, "");
  return events;
}

}  // namespace
}  // namespace sluice::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::testing;
  Reader reader(data, size);
  const auto line_bytes_max = static_cast<uint32_t>(reader.Number(20));
  const std::string_view cuts = reader.Take(reader.Number(7));
  const std::string_view bytes = reader.TakeAll();
  const std::vector<Event> expected = Model(bytes, line_bytes_max);
  EXPECT_EQ(Decode(bytes, "", line_bytes_max), expected);
  EXPECT_EQ(Decode(bytes, std::string_view("\0", 1), line_bytes_max), expected);
  EXPECT_EQ(Decode(bytes, cuts, line_bytes_max), expected);
  return 0;
}
