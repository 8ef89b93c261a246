// The numbers that shape a model, whatever file they came from. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/weight_file.h"
#include "moxie/error.h"

namespace moxie {

enum class RopeScaling : uint8_t { none, linear, yarn, llama3 };

struct RopeOptions {
  bool neox = false;  // pairs (i, i + half); otherwise (2i, 2i + 1)
  double base = 10000;
  int64_t dims = 0;  // rotated dimensions of a head, even, <= head_dim
  RopeScaling scaling = RopeScaling::none;
  double factor = 1;
  int64_t original_context = 0;
  double attention_factor = 0;                       // yarn: factor on cos and sin; 0: 1 + 0.1 ln(factor)
  double beta_fast = 32, beta_slow = 1;              // yarn
  bool whole_dimensions = true;                      // yarn: the ramp begins and ends at whole dimensions
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
};

struct RouterOptions {
  int64_t experts = 0;    // E; 0: dense model
  int64_t used = 0;       // K
  bool normalise = true;  // chosen weights divided by their sum
};

struct Hyperparameters {
  std::string name;  // as the file calls itself
  int64_t layers = 0, hidden = 0, vocabulary = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int64_t ffn = 0, expert_ffn = 0, shared_ffn = 0;
  int64_t trained_context = 0;
  float norm_eps = 1e-5f;
  bool tied_embeddings = false;
  double clamp_qkv = 0;  // 0: none
  // Clamped SwiGLU of the experts, (up + 1) * gate * sigmoid(alpha * gate): gate at most, up at most and at least this
  // far from 0. 0: plain SwiGLU.
  float swiglu_limit = 0, swiglu_alpha = 0;
  RopeOptions rope;
  RouterOptions router;
  std::vector<int64_t> window;  // per layer: sliding window in tokens, 0: none
  std::vector<bool> moe_layer;  // per layer: a mixture of experts (else a plain feed-forward)
};

// What is common to all families, from GGUF keys ("<arch>.embedding_length") or config.json; then checked for sanity
// (positive, bounded, consistent). Families adjust the rest. `arch` is the GGUF prefix. Errors name the key, the value
// and the limit.
Result<Hyperparameters> read_hyperparameters(const WeightFiles& files, const std::string& arch);
// Checks that hold for every family, after its own adjustments.
Result<void> check_hyperparameters(const Hyperparameters& hp, const WeightFiles& files);

}  // namespace moxie
