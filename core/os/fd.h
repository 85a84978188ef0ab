// OwnedFd is a descriptor that is closed exactly once, through the Os that opened it.
//
// Owner:  its holder; a move hands it over.
// Thread: one at a time, as the descriptor itself.
// Bound:  16 bytes.
// Errors: the result of Close is ignored: the descriptor is gone either way.
#ifndef SLUICE_CORE_OS_FD_H_
#define SLUICE_CORE_OS_FD_H_

#include <utility>

#include "sluice/core/base/check.h"
#include "sluice/core/os/os.h"

namespace sluice {

class OwnedFd {
 public:
  OwnedFd() = default;
  // `os` outlives this. Requires: fd >= 0, and no other owner closes it.
  OwnedFd(Os& os, int fd) : os_(&os), fd_(fd) { SLUICE_CHECK(fd >= 0); }
  OwnedFd(OwnedFd&& other) noexcept : os_(other.os_), fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    if (this != &other) {
      Reset();
      os_ = other.os_;
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~OwnedFd() { Reset(); }

  bool Valid() const { return fd_ >= 0; }
  int Get() const { return fd_; }  // -1 when there is none.
  // Answers the descriptor and gives it up: the caller closes it.
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }
  void Reset() {
    // Cleared before the close: in between another thread may be given the same number.
    if (fd_ >= 0) os_->Close(std::exchange(fd_, -1));
  }

 private:
  Os* os_ = nullptr;
  int fd_ = -1;
};

}  // namespace sluice

#endif  // SLUICE_CORE_OS_FD_H_
