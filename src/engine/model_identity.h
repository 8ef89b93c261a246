// Which model it is, as far as its routing is concerned: by the weights of its routers, so that all files of the same
// weights (merged, split, other types for the experts) are one model, and a copy under another name too. Plain data.
#pragma once

#include <string>
#include <string_view>

#include "model/model.h"

namespace moxie {

inline constexpr size_t kFingerprintDigits = 16;  // hexadecimal

struct ModelIdentity {
  std::string name;         // of the file or folder, for messages
  std::string fingerprint;  // kFingerprintDigits of them
  int layers = 0, experts = 0, used = 0;
};

// Milliseconds even for large models: routers are small and in memory as float.
ModelIdentity identify(const Model& model, std::string_view path);

}  // namespace moxie
