// Frequency over age: an expert that is used twice as often may be unused for twice as long.
#include "store/policy.h"

namespace moxie::policies {

extern const PolicyEntry lfru = {
    .name = "lfru",
    .summary = "the expert with the fewest uses for each event since its last one goes",
    .score = [](const UseRecord& use, int64_t now) { return use.count / static_cast<double>(now - use.last_use + 1); },
};

}  // namespace moxie::policies
