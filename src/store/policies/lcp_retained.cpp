// The score of lcp over counts that outlive residency.
#include "store/policy.h"

namespace moxie::policies {

extern const PolicyEntry lcp_retained = {
    .name = "lcp_retained",
    .summary = "the lowest count x 0.25^(age / 128) goes; counts are kept",
    .score = [](const UseRecord& use,
                int64_t now) { return std::log2(use.count) - 2.0 * static_cast<double>(now - use.last_use) / 128.0; },
};

}  // namespace moxie::policies
