#include "sluice/protocols/line.h"

#include <algorithm>

#include "sluice/core/base/check.h"

namespace sluice {
namespace {

std::string_view WithoutCr(std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

}  // namespace

LineDecoder::LineDecoder(uint32_t line_bytes_max) : line_bytes_max_(line_bytes_max) {
  SLUICE_CHECK(line_bytes_max < uint32_t{1} << 31);
}

LineResult LineDecoder::Next(std::string_view input) {
  SLUICE_CHECK(input.size() >= scanned_, "bytes that were not consumed are missing");
  size_t start = 0;
  if (skipping_) {
    const size_t end = input.find('\n');
    if (end == input.npos) return {LineResult::kNeedMore, {}, input.size()};
    skipping_ = false;
    start = end + 1;
  }

  const std::string_view rest = input.substr(start);
  // A line that fits has its LF within so many bytes: line_bytes_max, CR and LF.
  const size_t within = std::min<size_t>(rest.size(), size_t{line_bytes_max_} + 2);
  const size_t end = rest.substr(0, within).find('\n', scanned_);
  if (end != rest.npos) {
    scanned_ = 0;
    const std::string_view line = WithoutCr(rest.substr(0, end));
    if (line.size() > line_bytes_max_) return {LineResult::kTooLong, {}, start + end + 1};
    return {LineResult::kLine, line, start + end + 1};
  }
  if (WithoutCr(rest.substr(0, within)).size() <= line_bytes_max_) {
    scanned_ = static_cast<uint32_t>(within);
    return {LineResult::kNeedMore, {}, start};
  }
  scanned_ = 0;
  const size_t late_end = rest.find('\n', within);
  if (late_end != rest.npos) return {LineResult::kTooLong, {}, start + late_end + 1};
  skipping_ = true;
  return {LineResult::kTooLong, {}, input.size()};
}

LineResult LineDecoder::Finish(std::string_view input) {
  const LineResult result = Next(input);
  if (result.kind != LineResult::kNeedMore) return result;
  scanned_ = 0;
  skipping_ = false;
  if (result.consumed == input.size()) return result;
  return {LineResult::kLine, WithoutCr(input.substr(result.consumed)), input.size()};
}

}  // namespace sluice
