// Shared by the fuzz targets. A target is one function that takes any bytes at all, and fails an
// EXPECT, or crashes, if a promise is broken. It is linked twice: with libFuzzer, which looks for
// such bytes (`./sluice fuzz`), and into a test that runs all inputs of the kept corpus.
#ifndef SLUICE_TESTS_FUZZ_FUZZ_H_
#define SLUICE_TESTS_FUZZ_FUZZ_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace sluice::testing {

// Takes an input apart, from the front. After its end all numbers are 0 and all texts empty, so
// every input is valid. (g++ does not have Clang's FuzzedDataProvider.)
class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  bool Empty() const { return rest_.empty(); }
  std::string_view Take(size_t bytes_max) {
    const std::string_view taken = rest_.substr(0, bytes_max);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  std::string_view TakeAll() { return Take(rest_.size()); }
  // A number from 0 to `most`, made from as many bytes as that needs.
  uint64_t Number(uint64_t most = UINT64_MAX) {
    uint64_t number = 0;
    for (uint64_t left = most; left != 0; left >>= 8) {
      const std::string_view byte = Take(1);
      number = number << 8 | (byte.empty() ? 0 : static_cast<uint8_t>(byte[0]));
    }
    return most == UINT64_MAX ? number : number % (most + 1);
  }
  bool Bool() { return Number(1) != 0; }
  // Mostly small, sometimes up to `most`: made from one or three bytes.
  uint64_t Size(uint64_t most) {
    const uint64_t first = Number(255);
    return std::min(most, first < 192 ? first : (first - 191) * 1024 + Number(65'535));
  }

 private:
  std::string_view rest_;
};

}  // namespace sluice::testing

#endif  // SLUICE_TESTS_FUZZ_FUZZ_H_
