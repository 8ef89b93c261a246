// Least cache priority as mlx-moe published it: count x 0.25^(age / 128), and an expert that went starts anew. The
// logarithm orders alike and does not run out of exponents for old experts.
#include "store/policy.h"

namespace moxie::policies {

extern const PolicyEntry lcp = {
    .name = "lcp",
    .summary = "the lowest count x 0.25^(age / 128) goes, and its count with it",
    .forgets = true,
    .score = [](const UseRecord& use,
                int64_t now) { return std::log2(use.count) - 2.0 * static_cast<double>(now - use.last_use) / 128.0; },
};

}  // namespace moxie::policies
