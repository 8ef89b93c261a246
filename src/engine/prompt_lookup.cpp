#include "engine/prompt_lookup.h"

#include <algorithm>

namespace moxie {

std::span<const int32_t> look_up(std::span<const int32_t> ids, int64_t most) {
  if (most < 1) return {};
  for (size_t n = std::min(kLookupMost, ids.size() > 0 ? ids.size() - 1 : 0); n >= kLookupLeast; --n) {
    const auto last = ids.last(n);
    const auto before = ids.first(ids.size() - 1);
    const auto found = std::find_end(before.begin(), before.end(), last.begin(), last.end());
    if (found == before.end()) continue;
    const auto next = static_cast<size_t>(found - before.begin()) + n;
    return ids.subspan(next, std::min(static_cast<size_t>(most), ids.size() - next));
  }
  return {};
}

void DraftLength::learn(int64_t drafted, int64_t accepted) {
  if (drafted == 0) return;
  length_ = accepted == drafted ? std::min(most_, length_ * 2) : std::max<int64_t>(1, accepted);
}

}  // namespace moxie
