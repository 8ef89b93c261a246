// Experts fall into classes by the power of two in their decayed count; an age weighs half as much in each higher
// class. Within a class this is lru, so that chance differences of counts do not matter (llama.cpp's class LRU).
#include <algorithm>

#include "store/policy.h"

namespace moxie::policies {
namespace {

constexpr int kClasses = 8;
constexpr double kHalfLife = 128;

double score(const UseRecord& use, int64_t now) {
  const int log2 = use.count >= 1 ? std::ilogb(use.count) : 0;
  return -std::ldexp(static_cast<double>(now - use.last_use), -std::min(log2, kClasses - 1));
}

}  // namespace

extern const PolicyEntry class_lru = {
    .name = "class_lru",
    .summary = "the expert with the highest age / 2^class goes; its class is the power of two in its decayed count",
    .half_life = kHalfLife,
    .score = score,
};

}  // namespace moxie::policies
