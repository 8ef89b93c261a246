// Qwen3-MoE (30B-A3B, 235B-A22B, Coder): RMSNorm on every query and key head, head size of its own, softmax over all
// experts before the choice, then (norm_topk_prob) renormalised. Some layers may be dense.
#include "model/families/qwen_common.h"
#include "model/family.h"
#include "model/forward.h"

namespace moxie::families {
namespace {

constexpr std::string_view kArchs[] = {"qwen3moe"};
constexpr std::string_view kTypes[] = {"qwen3_moe"};
constexpr RoleRow kRoles[] = {
    {Role::attn_q_norm, "blk.{}.attn_q_norm", "model.layers.{}.self_attn.q_norm", Dim::one, Dim::head_dim},
    {Role::attn_k_norm, "blk.{}.attn_k_norm", "model.layers.{}.self_attn.k_norm", Dim::one, Dim::head_dim},
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
  // GGUF has no key for it: every published Qwen3-MoE renormalises.
  hp.router.normalise =
      gguf ? md.boolean("qwen3moe.expert_weights_norm").value_or(true) : md.boolean("norm_topk_prob").value_or(false);
  read_qwen_window(hp, files);
  return read_qwen_moe_layers(hp, files);
}

void forward(ForwardPass& pass) {
  embed(pass);
  for (int64_t layer = 0; pass.enter(layer); ++layer) {
    norm(pass, Role::attn_norm, layer);
    attention(pass, layer, {.qk_norm = QkNorm::per_head});
    norm(pass, Role::ffn_norm, layer);
    if (pass.hp.moe_layer[static_cast<size_t>(layer)]) {
      mixture_of_experts(pass, layer);
    } else {
      feed_forward(pass, layer);
    }
  }
  final_norm(pass);
}

}  // namespace

extern constinit const FamilyEntry qwen3_moe = {
    .name = "qwen3_moe",
    .summary = "Qwen3-30B-A3B, Qwen3-235B-A22B, Qwen3-Coder",
    .gguf_archs = kArchs,
    .model_types = kTypes,
    .fits = [](const WeightFiles&) { return true; },
    .adjust = adjust,
    .roles = kRoles,
    .experts = kExperts,
    .forward = forward,
};

}  // namespace moxie::families
