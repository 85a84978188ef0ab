#include "sluice/core/os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>

#include <utility>

#include "sluice/core/os/os.h"

namespace sluice::testing::fd_test {
namespace {

static_assert(sizeof(OwnedFd) <= 16);

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

TEST(OwnedFd, ClosesItsDescriptorWhenItDies) {
  int fd = -1;
  {
    OwnedFd owned(LinuxOs(), LinuxOs().SpareOpen());
    fd = owned.Get();
    ASSERT_TRUE(IsOpen(fd));
  }
  EXPECT_FALSE(IsOpen(fd));
}

TEST(OwnedFd, HoldsNothingWhenItIsNew) {
  OwnedFd owned;
  EXPECT_FALSE(owned.Valid());
  EXPECT_EQ(owned.Get(), -1);
  owned.Reset();
}

TEST(OwnedFd, AMoveHandsTheDescriptorOver) {
  OwnedFd from(LinuxOs(), LinuxOs().SpareOpen());
  const int fd = from.Get();
  OwnedFd to(std::move(from));
  EXPECT_FALSE(from.Valid());  // NOLINT: what a moved-from OwnedFd holds is the promise here.
  EXPECT_EQ(to.Get(), fd);
  from.Reset();
  EXPECT_TRUE(IsOpen(fd));
}

TEST(OwnedFd, MoveAssignmentClosesTheOldDescriptor) {
  OwnedFd to(LinuxOs(), LinuxOs().SpareOpen());
  OwnedFd from(LinuxOs(), LinuxOs().SpareOpen());
  const int closed = to.Get();
  const int kept = from.Get();
  to = std::move(from);
  EXPECT_FALSE(IsOpen(closed));
  EXPECT_TRUE(IsOpen(kept));
  EXPECT_EQ(to.Get(), kept);
}

TEST(OwnedFd, AMoveToItselfKeepsTheDescriptor) {
  OwnedFd owned(LinuxOs(), LinuxOs().SpareOpen());
  OwnedFd& same = owned;
  owned = std::move(same);
  EXPECT_TRUE(owned.Valid());
  EXPECT_TRUE(IsOpen(owned.Get()));
}

TEST(OwnedFd, AReleasedDescriptorStaysOpen) {
  int fd = -1;
  {
    OwnedFd owned(LinuxOs(), LinuxOs().SpareOpen());
    fd = owned.Release();
  }
  EXPECT_TRUE(IsOpen(fd));
  EXPECT_EQ(LinuxOs().Close(fd), 0);
}

}  // namespace
}  // namespace sluice::testing::fd_test
