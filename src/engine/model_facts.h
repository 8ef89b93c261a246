// What a model's headers tell: family, shape, where the bytes go. Reads no weights. Plain data, plain functions.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "format/weight_file.h"
#include "moxie/error.h"

namespace moxie {

bool is_family(std::string_view name);
// Of any family, here or in the world at large ("gemma2"): to tell an architecture from a name that a user made up.
bool is_architecture(std::string_view name);

struct LayerFacts {
  bool mixture = false;
  int64_t window = 0;            // sliding window in tokens; 0: none
  uint64_t attention_bytes = 0;  // its norms included
  uint64_t router_bytes = 0;
  uint64_t dense_bytes = 0;       // plain feed-forward or shared expert, their norm included
  uint64_t expert_bytes = 0;      // all experts
  uint64_t one_expert_bytes = 0;  // the largest of them
  std::string expert_types;       // "Q4_K" or "Q4_K, Q6_K": gate, up and down where they differ

  uint64_t total_bytes() const { return attention_bytes + router_bytes + dense_bytes + expert_bytes; }
};

// All tensors of one kind.
struct PartFacts {
  std::string name;  // "experts", "attention", "router", "feed-forward", "embeddings"
  uint64_t bytes = 0;
  std::map<std::string, int64_t> tensors_by_type;  // "Q4_K" -> how many tensors
};

struct ModelFacts {
  std::string family, family_summary, name, expert_layout;
  int64_t hidden = 0, vocabulary = 0, heads = 0, kv_heads = 0, head_dim = 0;
  int64_t ffn = 0, expert_ffn = 0, shared_ffn = 0, experts = 0, experts_used = 0, trained_context = 0;
  uint64_t parameters = 0, active_parameters = 0;
  uint64_t weight_bytes = 0;            // everything the model uses
  uint64_t active_bytes_per_token = 0;  // weights that one decoded token reads
  std::vector<LayerFacts> layers;
  std::vector<PartFacts> parts;  // those the model has, in the order above; together weight_bytes
  std::vector<std::string> notices;
};

// Errors name what the model lacks, as opening it would.
Result<ModelFacts> read_model_facts(const WeightFiles& files, std::string_view forced_family);

}  // namespace moxie
