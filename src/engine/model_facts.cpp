#include "engine/model_facts.h"

#include <algorithm>
#include <set>

#include "core/fail.h"
#include "core/log.h"
#include "model/model.h"

namespace moxie {
namespace {

enum Part : size_t { kExperts, kAttention, kRouter, kFeedForward, kEmbeddings, kParts };
constexpr const char* kPartNames[kParts] = {"experts", "attention", "router", "feed-forward", "embeddings"};

Part part_of(Role role) {
  switch (role) {
    case Role::attn_norm:
    case Role::attn_q:
    case Role::attn_k:
    case Role::attn_v:
    case Role::attn_output:
    case Role::attn_q_norm:
    case Role::attn_k_norm:
    case Role::attn_sinks:
      return kAttention;
    case Role::router:
      return kRouter;
    case Role::ffn_norm:
    case Role::ffn_gate:
    case Role::ffn_up:
    case Role::ffn_down:
    case Role::shared_gate:
    case Role::shared_up:
    case Role::shared_down:
    case Role::shared_router:
    case Role::expert_gate_bias:
    case Role::expert_up_bias:
    case Role::expert_down_bias:
      return kFeedForward;
    case Role::token_embd:
    case Role::output_norm:
    case Role::output:
    case Role::rope_freqs:
    case Role::count:
      return kEmbeddings;
  }
  return kEmbeddings;
}

uint64_t& bytes_of(LayerFacts& layer, Part part) {
  if (part == kAttention) return layer.attention_bytes;
  return part == kRouter ? layer.router_bytes : layer.dense_bytes;
}

// Adds a layer's experts to its facts and to the model's; `seen` keeps a merged tensor from being counted for each of
// its experts.
void add_experts(LayerFacts& layer, PartFacts& part, std::set<const TensorInfo*>& seen,
                 const std::vector<ExpertRecord>& experts) {
  std::vector<std::string> types;
  for (const ExpertRecord& expert : experts) {
    layer.expert_bytes += expert.bytes();
    layer.one_expert_bytes = std::max(layer.one_expert_bytes, expert.bytes());
    for (const ProjectionRecord* projection : {&expert.gate, &expert.up, &expert.down}) {
      const std::string& type = projection->tensor->dtype;
      if (std::find(types.begin(), types.end(), type) == types.end()) types.push_back(type);
      if (seen.insert(projection->tensor).second) ++part.tensors_by_type[type];
    }
  }
  part.bytes += layer.expert_bytes;
  for (const std::string& type : types) layer.expert_types += (layer.expert_types.empty() ? "" : ", ") + type;
}

void add_tensor(const TensorInfo* tensor, PartFacts& part, uint64_t* layer_bytes, std::set<const TensorInfo*>& seen) {
  if (!tensor || !seen.insert(tensor).second) return;  // absent, or tied: the embedding used again as output
  part.bytes += tensor->bytes;
  ++part.tensors_by_type[tensor->dtype];
  if (layer_bytes) *layer_bytes += tensor->bytes;
}

uint64_t expert_parameters(const ModelPlan& plan) {
  uint64_t total = 0;
  for (const auto& layer : plan.experts.experts) {
    for (const ExpertRecord& expert : layer) {
      for (const ProjectionRecord* projection : {&expert.gate, &expert.up, &expert.down}) {
        total += static_cast<uint64_t>(projection->rows) * static_cast<uint64_t>(projection->columns);
      }
    }
  }
  return total;
}

}  // namespace

bool is_family(std::string_view name) {
  const auto entries = family_entries();
  return std::any_of(entries.begin(), entries.end(), [&](const FamilyEntry* entry) { return entry->name == name; });
}

bool is_architecture(std::string_view name) {
  // What other programs take after -a and files name, beyond what the families here answer to.
  constexpr std::string_view kOthers[] = {
      "mistral3",   "gemma",      "gemma2",     "gemma3",   "phi2",      "phi3",        "phi3.5moe",
      "phimoe",     "starcoder2", "qwen3",      "qwen3moe", "deepseek2", "deepseek3",   "deepseekv2",
      "deepseekv3", "llama4",     "grok",       "dbrx",     "glm4",      "glm4moe",     "smollm3",
      "granite",    "granitemoe", "gpt-oss",    "gptoss",   "gpt_oss",   "falcon",      "command-r",
      "stablelm",   "minimax",    "minimax_m2", "jamba",    "lfm2moe",   "ernie4_5_moe"};
  if (std::find(std::begin(kOthers), std::end(kOthers), name) != std::end(kOthers)) return true;
  const auto has = [&](std::span<const std::string_view> names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const auto entries = family_entries();
  return std::any_of(entries.begin(), entries.end(), [&](const FamilyEntry* entry) {
    return entry->name == name || has(entry->gguf_archs) || has(entry->model_types);
  });
}

Result<ModelFacts> read_model_facts(const WeightFiles& files, std::string_view forced_family) {
  Log log;
  MOXIE_TRY(const ModelPlan plan, plan_model(files, forced_family, log));
  const Hyperparameters& hp = plan.hp;
  ModelFacts facts = {.family = std::string(plan.family->name),
                      .family_summary = std::string(plan.family->summary),
                      .name = hp.name,
                      .expert_layout = plan.experts.layout,
                      .hidden = hp.hidden,
                      .vocabulary = hp.vocabulary,
                      .heads = hp.heads,
                      .kv_heads = hp.kv_heads,
                      .head_dim = hp.head_dim,
                      .ffn = hp.ffn,
                      .expert_ffn = hp.expert_ffn,
                      .shared_ffn = hp.shared_ffn,
                      .experts = hp.router.experts,
                      .experts_used = hp.router.used,
                      .trained_context = hp.trained_context,
                      .parameters = plan.parameters,
                      .active_bytes_per_token = plan.active_bytes_per_token,
                      .notices = log.notices()};
  const uint64_t in_experts = expert_parameters(plan);
  facts.active_parameters = facts.parameters - in_experts;
  if (facts.experts > 0) {
    facts.active_parameters +=
        in_experts / static_cast<uint64_t>(facts.experts) * static_cast<uint64_t>(facts.experts_used);
  }

  std::vector<PartFacts> parts(kParts);
  for (size_t part = 0; part < kParts; ++part) parts[part].name = kPartNames[part];
  std::set<const TensorInfo*> seen;
  facts.layers.resize(static_cast<size_t>(hp.layers));
  for (size_t index = 0; index < facts.layers.size(); ++index) {
    LayerFacts& layer = facts.layers[index];
    layer.mixture = index < plan.experts.experts.size() && !plan.experts.experts[index].empty();
    layer.window = index < hp.window.size() ? hp.window[index] : 0;
    if (layer.mixture) add_experts(layer, parts[kExperts], seen, plan.experts.experts[index]);
  }
  for (size_t role = 0; role < plan.roles.size(); ++role) {
    const Part part = part_of(static_cast<Role>(role));
    for (size_t index = 0; index < plan.roles[role].size(); ++index) {
      const bool in_layer = part != kEmbeddings && index < facts.layers.size();
      uint64_t* layer_bytes = in_layer ? &bytes_of(facts.layers[index], part) : nullptr;
      add_tensor(plan.roles[role][index].weight, parts[part], layer_bytes, seen);
      add_tensor(plan.roles[role][index].bias, parts[part], layer_bytes, seen);
    }
  }
  for (PartFacts& part : parts) {
    facts.weight_bytes += part.bytes;
    if (part.bytes > 0) facts.parts.push_back(std::move(part));
  }
  return facts;
}

}  // namespace moxie
