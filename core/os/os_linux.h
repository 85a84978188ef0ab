// Limits that Os on Linux reads from files; declared here, apart from LinuxOs(), so that a test can
// pass its own files. LinuxOs() is declared in os.h; os_linux.cc holds the only system calls of the
// framework.
//
// Thread: any.
// Errors: a file that cannot be read sets no limit.
#ifndef SLUICE_CORE_OS_OS_LINUX_H_
#define SLUICE_CORE_OS_OS_LINUX_H_

#include <cstdint>
#include <string>

#include "sluice/core/base/language.h"

namespace sluice {

// The least memory limit, in bytes, of this process's control group and of all groups above it (v2
// and v1); INT64_MAX: no limit. `self_cgroup` is a file such as /proc/self/cgroup, `mount` the
// folder of the groups' file systems (/sys/fs/cgroup).
int64_t CgroupMemoryBytes(const std::string& self_cgroup, const std::string& mount);

// The most bytes that the kernel takes for the buffers of `sockets` TCP sockets: for each at most
// its own tuning's limit, for all at most what the machine allows TCP. `sysctl` is the folder of
// tcp_rmem, tcp_wmem and tcp_mem (/proc/sys/net/ipv4). Requires: sockets >= 0.
int64_t TcpMemoryBytes(const std::string& sysctl, int64_t sockets);

}  // namespace sluice

#endif  // SLUICE_CORE_OS_OS_LINUX_H_
