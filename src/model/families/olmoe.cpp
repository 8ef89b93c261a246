// OLMoE: RMSNorm over the whole width of q and of k before the heads part; 64 experts of which 8 are used, softmax over
// all before the choice, weights not renormalised.
#include "model/family.h"
#include "model/forward.h"

namespace moxie::families {
namespace {

constexpr std::string_view kNames[] = {"olmoe"};
constexpr RoleRow kRoles[] = {
    {Role::attn_q_norm, "blk.{}.attn_q_norm", "model.layers.{}.self_attn.q_norm", Dim::one, Dim::q_width},
    {Role::attn_k_norm, "blk.{}.attn_k_norm", "model.layers.{}.self_attn.k_norm", Dim::one, Dim::kv_width},
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
  hp.router.normalise = md.boolean(gguf ? "olmoe.expert_weights_norm" : "norm_topk_prob").value_or(false);
  hp.clamp_qkv = md.number(gguf ? "olmoe.attention.clamp_kqv" : "clip_qkv").value_or(0);
  return {};
}

void forward(ForwardPass& pass) {
  embed(pass);
  for (int64_t layer = 0; pass.enter(layer); ++layer) {
    norm(pass, Role::attn_norm, layer);
    attention(pass, layer, {.qk_norm = QkNorm::full_width});
    norm(pass, Role::ffn_norm, layer);
    mixture_of_experts(pass, layer);
  }
  final_norm(pass);
}

}  // namespace

extern constinit const FamilyEntry olmoe = {
    .name = "olmoe",
    .summary = "OLMoE-1B-7B",
    .gguf_archs = kNames,
    .model_types = kNames,
    .fits = [](const WeightFiles&) { return true; },
    .adjust = adjust,
    .roles = kRoles,
    .experts = kExperts,
    .forward = forward,
};

}  // namespace moxie::families
