// The least used goes, over everything its layer has seen. Slow to follow a change of subject.
#include "store/policy.h"

namespace moxie::policies {

extern const PolicyEntry lfu = {
    .name = "lfu",
    .summary = "the least used expert goes",
    .score = [](const UseRecord& use, int64_t /*now*/) { return use.count; },
};

}  // namespace moxie::policies
