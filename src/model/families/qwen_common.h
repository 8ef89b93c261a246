// What Qwen's families share: which layers are mixtures, and the optional sliding window.
#pragma once

#include <string>
#include <vector>

#include "core/fail.h"
#include "model/hyperparameters.h"

namespace moxie::families {

// Layers from max_window_layers on see only the last tokens, when the configuration says so at all.
inline void read_qwen_window(Hyperparameters& hp, const WeightFiles& files) {
  const Metadata& md = files.metadata;
  if (files.scheme == NameScheme::gguf || !md.boolean("use_sliding_window").value_or(false)) return;
  const int64_t window = md.integer("sliding_window").value_or(0);
  const int64_t first = md.integer("max_window_layers").value_or(hp.layers);
  for (int64_t layer = first < 0 ? 0 : first; layer < hp.layers; ++layer)
    hp.window[static_cast<size_t>(layer)] = window;
}

// Every decoder_sparse_step-th layer is a mixture, unless mlp_only_layers names it. A GGUF file shows it by the tensors
// it has.
inline Result<void> read_qwen_moe_layers(Hyperparameters& hp, const WeightFiles& files) {
  const Metadata& md = files.metadata;
  const int64_t step = md.integer("decoder_sparse_step").value_or(1);
  const std::vector<int64_t> dense = md.integers("mlp_only_layers").value_or(std::vector<int64_t>{});
  if (step < 1)
    return fail(ErrorCode::corrupt, "{}: decoder_sparse_step is {}; it must be at least 1", files.path, step);
  for (int64_t layer = 0; layer < hp.layers; ++layer) {
    bool moe = hp.router.experts > 0 && (layer + 1) % step == 0;
    for (const int64_t only : dense) moe = moe && only != layer;
    if (files.scheme == NameScheme::gguf)
      moe = files.find("blk." + std::to_string(layer) + ".ffn_gate.weight") == nullptr;
    hp.moe_layer[static_cast<size_t>(layer)] = moe;
  }
  return {};
}

}  // namespace moxie::families
