// A sequence in a file: its tokens, and the keys and values that they gave. Stateless.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/kv_cache.h"

namespace moxie {

// What a file must agree with to be taken.
struct SlotFileLimits {
  std::string fingerprint;  // kv_fingerprint
  int64_t tokens = 0;       // at most
  int64_t vocabulary = 0;
};

// Writes the first state.tokens() of ids; appears whole or not at all. Returns its bytes. Errors: io.
Result<uint64_t> save_slot_file(const std::string& path, const std::string& fingerprint, std::span<const int32_t> ids,
                                const KvCache& state);

struct SavedSlot {
  std::vector<int32_t> ids;
  uint64_t bytes = 0;
};
// Fills an empty state. Nothing is allocated by a number from the file before its size has been seen to agree.
// Errors: not_found, io, corrupt, invalid_argument (of another model or cache, longer than the limit), out_of_memory.
Result<SavedSlot> load_slot_file(const std::string& path, const SlotFileLimits& limits, KvCache& state);

}  // namespace moxie
