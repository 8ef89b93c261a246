#include "store/policy.h"

#include <algorithm>

namespace moxie {

namespace policies {
#define MOXIE_ENTRY(entry) extern const PolicyEntry entry;
#include "store/policies.inc"
#undef MOXIE_ENTRY
}  // namespace policies

namespace {

constexpr const PolicyEntry* kEntries[] = {
#define MOXIE_ENTRY(entry) &policies::entry,
#include "store/policies.inc"
#undef MOXIE_ENTRY
};

}  // namespace

std::span<const PolicyEntry* const> policy_entries() {
  return kEntries;
}

const PolicyEntry* find_policy(std::string_view name) {
  std::string spelled(name);
  std::replace(spelled.begin(), spelled.end(), '-', '_');
  for (const PolicyEntry* entry : kEntries) {
    if (entry->name == spelled) return entry;
  }
  return nullptr;
}

const PolicyEntry& default_policy() {
  return policies::lfru;
}

std::string policy_names() {
  std::string names;
  for (const PolicyEntry* entry : kEntries) {
    if (!names.empty()) names += ", ";
    names += entry->name;
  }
  return names;
}

}  // namespace moxie
