// A connection's buffers, against strings; and the memory that they are charged.
#include <sys/uio.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/memory/budget.h"
#include "sluice/core/memory/buffer.h"
#include "sluice/tests/fuzz/fuzz.h"

namespace sluice::testing {
namespace {

constexpr int64_t kBudgetBytes = 256 * 1024;

class Buffers {
 public:
  ~Buffers() {
    output_.Clear(lease_);
    input_.Clear(lease_);
    payloads_.clear();
    lease_.ReturnIdle();
    EXPECT_EQ(budget_.UsedBytes(), 0);
  }

  void Step(Reader& reader) {
    const uint64_t act = reader.Number(7);
    const size_t size = reader.Size(80 * 1024);
    const std::string bytes = Fresh(size);
    const Charging how = reader.Bool() ? Charging::kOverdraft : Charging::kBudget;
    switch (act) {
      case 0:
      case 1:
        if (output_.AppendCopy(bytes, lease_, how)) output_model_ += bytes;
        break;
      case 2:
        AppendShared(bytes, reader, how);
        break;
      case 3: {
        const size_t taken = std::min(size, output_.size());
        output_.Consume(taken, lease_);
        output_model_.erase(0, taken);
        break;
      }
      case 4:
      case 5:
        if (input_.Append(bytes, lease_, how)) input_model_ += bytes;
        break;
      case 6: {
        const size_t taken = std::min(size, input_.size());
        input_.Consume(taken, lease_);
        input_model_.erase(0, taken);
        break;
      }
      case 7:
        if (reader.Bool()) output_.Clear(lease_), output_model_.clear();
        if (reader.Bool()) input_.Clear(lease_), input_model_.clear();
        if (reader.Bool()) lease_.ReturnIdle();
        break;
    }
    Check();
  }

 private:
  std::string Fresh(size_t size) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(next_++ * 167 >> 3);
    return bytes;
  }

  void AppendShared(const std::string& bytes, Reader& reader, Charging how) {
    std::optional<Bytes> payload = Bytes::Copy(bytes);
    if (reader.Bool()) payload = Bytes::Copy(bytes, budget_);
    if (!payload.has_value()) return;
    EXPECT_EQ(payload->view(), bytes);
    const size_t offset = std::min(bytes.size(), static_cast<size_t>(reader.Size(bytes.size())));
    if (output_.AppendShared(*payload, offset, lease_, how)) output_model_ += bytes.substr(offset);
    payloads_.push_back(*std::move(payload));  // Kept to know their charges.
  }

  void Check() {
    output_.CheckInvariants();
    input_.CheckInvariants();
    ASSERT_EQ(output_.size(), output_model_.size());
    EXPECT_EQ(output_.Empty(), output_model_.empty());
    iovec parts[8];
    const int count = output_.Parts(parts, 8);
    EXPECT_EQ(count > 0, !output_model_.empty());
    std::string_view rest = output_model_;
    for (int i = 0; i < count; ++i) {
      const std::string_view part(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
      ASSERT_EQ(part, rest.substr(0, part.size()));
      rest.remove_prefix(part.size());
    }
    if (count < 8) {
      EXPECT_EQ(rest, "");
    }
    EXPECT_EQ(input_.view(), input_model_);

    int64_t charged = output_.ChargedBytes() + input_.ChargedBytes();
    for (const Bytes& payload : payloads_) {
      if (payload.SelfCharged()) charged += payload.AllocatedBytes();
    }
    EXPECT_EQ(budget_.UsedBytes(), charged + lease_.LeftBytes());
    EXPECT_LE(budget_.UsedBytes(), kBudgetBytes);
    EXPECT_GE(output_.ChargedBytes() + input_.ChargedBytes(), 0);
    if (output_.Empty()) {
      EXPECT_EQ(output_.ChargedBytes(), 0);
    }
    if (input_.Empty()) {
      EXPECT_EQ(input_.ChargedBytes(), 0);
    }
  }

  Budget budget_{kBudgetBytes};
  Lease lease_{budget_, 1};
  OutputQueue output_;
  InputBuffer input_;
  std::string output_model_;
  std::string input_model_;
  std::vector<Bytes> payloads_;
  uint32_t next_ = 0;
};

}  // namespace
}  // namespace sluice::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::testing::Reader reader(data, size);
  sluice::testing::Buffers buffers;
  for (int i = 0; i < 100 && !reader.Empty(); ++i) buffers.Step(reader);
  return 0;
}
