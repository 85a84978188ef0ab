// The version for --version; the same as in MODULE.bazel.
#ifndef SLUICE_CORE_OS_VERSION_H_
#define SLUICE_CORE_OS_VERSION_H_

#include "sluice/core/base/language.h"

namespace sluice {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace sluice

#endif  // SLUICE_CORE_OS_VERSION_H_
