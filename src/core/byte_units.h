// Sizes in bytes.
#pragma once

#include <cstdint>

namespace moxie {

inline constexpr uint64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

}  // namespace moxie
