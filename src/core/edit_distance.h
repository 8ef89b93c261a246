// How unlike two names are, for "did you mean". Stateless, thread-safe.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace moxie {

// Insertions, deletions and changes that turn `a` into `b`. A run of digits counts as one letter, and exchanging it for
// another number costs as much as several letters: for "blk.3.ffn_dwon" the name meant is "blk.3.ffn_down", not
// "blk.2.ffn_dwon".
int edit_distance(std::string_view a, std::string_view b);

// The name nearest to `name` by edit_distance, or empty when all are further than a third of its length (at least 2).
std::string_view nearest_name(std::string_view name, std::span<const std::string_view> names);

}  // namespace moxie
