// What Os on Linux finds out from files, apart from LinuxOs() so that a test can give it files of
// its own. LinuxOs() itself is declared in os.h; os_linux.cc holds the only system calls of the
// framework.
//
// Thread: any.
// Errors: what cannot be read sets no limit.
#ifndef SLUICE_CORE_OS_OS_LINUX_H_
#define SLUICE_CORE_OS_OS_LINUX_H_

#include <cstdint>
#include <string>

#include "sluice/core/base/language.h"

namespace sluice {

// The least memory limit, in bytes, of this process's control group and of all groups above it (v2
// and v1); INT64_MAX when there is none. `self_cgroup` is the path of what /proc/self/cgroup holds,
// `mount` where the groups' file systems are (/sys/fs/cgroup).
int64_t CgroupMemoryBytes(const std::string& self_cgroup, const std::string& mount);

// The most, in bytes, that the kernel takes for the buffers of so many TCP sockets: each at the
// most that its own tuning gives it, all of them at most what the machine allows TCP. `sysctl` is
// where tcp_rmem, tcp_wmem and tcp_mem are (/proc/sys/net/ipv4). Requires: sockets >= 0.
int64_t TcpMemoryBytes(const std::string& sysctl, int64_t sockets);

}  // namespace sluice

#endif  // SLUICE_CORE_OS_OS_LINUX_H_
