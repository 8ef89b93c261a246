// Frequency over age: an expert used twice as often may be unused for twice as long. Uses fade by half in 64 events, so
// that a change of subject is followed. What is added keeps chance out of the first comparisons: one use or two say
// little about frequency, one event or three say little about age. The numbers are measured (docs/experiments.md, entry
// 3).
#include "store/policy.h"

namespace moxie::policies {
namespace {

constexpr double kHalfLife = 64, kUsesBefore = 2.5, kGraceEvents = 4;

double score(const UseRecord& use, int64_t now) {
  return (use.count + kUsesBefore) / (static_cast<double>(now - use.last_use) + kGraceEvents);
}

}  // namespace

extern const PolicyEntry lfru = {
    .name = "lfru",
    .summary = "the lowest (count + 2.5) / (age + 4) goes; counts fade by half in 64 events",
    .half_life = kHalfLife,
    .score = score,
};

}  // namespace moxie::policies
