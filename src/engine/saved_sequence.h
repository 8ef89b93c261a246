// A sequence's context as bytes: for which model, its tokens, the logits after the last one, and what the layers
// remember; with a checksum. Plain data; the functions are thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/model_identity.h"
#include "moxie/error.h"

namespace moxie {

struct SavedSequence {
  std::string fingerprint;
  std::vector<int32_t> ids;
  std::vector<float> logits;  // may be empty
  std::vector<std::byte> state;
};

std::vector<std::byte> write_saved_sequence(const SavedSequence& sequence);
// Errors: corrupt for what is no such text or damaged, invalid_argument for another model's (named).
Result<SavedSequence> read_saved_sequence(std::span<const std::byte> bytes, const ModelIdentity& model);

}  // namespace moxie
