// Qwen2-MoE (Qwen1.5-MoE, Qwen2-57B): biases on q, k and v; softmax over all experts before the choice, weights not
// renormalised; a shared expert that every token passes, scaled by a sigmoid gate. Some layers may be dense.
#include "model/families/qwen_common.h"
#include "model/family.h"
#include "model/forward.h"

namespace moxie::families {
namespace {

constexpr std::string_view kArchs[] = {"qwen2moe"};
constexpr std::string_view kTypes[] = {"qwen2_moe"};
constexpr RoleRow kRoles[] = {
    {Role::shared_gate, "blk.{}.ffn_gate_shexp", "model.layers.{}.mlp.shared_expert.gate_proj", Dim::shared_ffn,
     Dim::hidden, Layers::moe},
    {Role::shared_up, "blk.{}.ffn_up_shexp", "model.layers.{}.mlp.shared_expert.up_proj", Dim::shared_ffn, Dim::hidden,
     Layers::moe},
    {Role::shared_down, "blk.{}.ffn_down_shexp", "model.layers.{}.mlp.shared_expert.down_proj", Dim::hidden,
     Dim::shared_ffn, Layers::moe},
    {Role::shared_router, "blk.{}.ffn_gate_inp_shexp", "model.layers.{}.mlp.shared_expert_gate", Dim::one, Dim::hidden,
     Layers::moe},
};
constexpr ExpertNames kExperts[] = {
    {"model.layers.{0}.mlp.experts.{1}.gate_proj", "model.layers.{0}.mlp.experts.{1}.up_proj",
     "model.layers.{0}.mlp.experts.{1}.down_proj"},
};

Result<void> adjust(Hyperparameters& hp, const WeightFiles& files) {
  const Metadata& md = files.metadata;
  const bool gguf = files.scheme == NameScheme::gguf;
  hp.rope.neox = true;
  hp.router.experts = count_experts(files);
  hp.router.normalise = md.boolean(gguf ? "qwen2moe.expert_weights_norm" : "norm_topk_prob").value_or(false);
  if (gguf && !md.has("qwen2moe.expert_feed_forward_length") && hp.router.used > 0)
    hp.expert_ffn = hp.ffn / hp.router.used;
  hp.shared_ffn = md.integer(gguf ? "qwen2moe.expert_shared_feed_forward_length" : "shared_expert_intermediate_size")
                      .value_or(hp.ffn);
  read_qwen_window(hp, files);
  return read_qwen_moe_layers(hp, files);
}

void forward(ForwardPass& pass) {
  embed(pass);
  for (int64_t layer = 0; pass.enter(layer); ++layer) {
    norm(pass, Role::attn_norm, layer);
    attention(pass, layer, {});
    norm(pass, Role::ffn_norm, layer);
    if (pass.hp.moe_layer[static_cast<size_t>(layer)]) {
      mixture_of_experts(pass, layer);
      shared_expert(pass, layer);
    } else {
      feed_forward(pass, layer);
    }
  }
  final_norm(pass);
}

}  // namespace

extern constinit const FamilyEntry qwen2_moe = {
    .name = "qwen2_moe",
    .summary = "Qwen1.5-MoE and Qwen2-57B-A14B",
    .gguf_archs = kArchs,
    .model_types = kTypes,
    .fits = [](const WeightFiles&) { return true; },
    .adjust = adjust,
    .roles = kRoles,
    .experts = kExperts,
    .forward = forward,
};

}  // namespace moxie::families
