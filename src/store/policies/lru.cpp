// The longest unused goes.
#include "store/policy.h"

namespace moxie::policies {

extern const PolicyEntry lru = {
    .name = "lru",
    .summary = "the longest unused expert goes",
    .score = [](const UseRecord& use, int64_t /*now*/) { return static_cast<double>(use.last_use); },
};

}  // namespace moxie::policies
