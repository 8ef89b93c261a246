// What is in stays in: pins, a warm start, or whatever came first.
#include "store/policy.h"

namespace moxie::policies {

extern const PolicyEntry static_set = {
    .name = "static",
    .summary = "nothing goes; pins, a warm start or the first uses decide what is in",
    .evicts = false,
};

}  // namespace moxie::policies
