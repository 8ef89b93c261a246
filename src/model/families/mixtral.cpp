// Mixtral: Llama's attention, and in every layer eight (or any number of) experts of which two (or any) are used,
// weighted by a softmax over the chosen ones. In GGUF it shares the architecture name with Llama; the experts tell.
#include "model/family.h"
#include "model/forward.h"

namespace moxie::families {
namespace {

constexpr std::string_view kArchs[] = {"llama", "mixtral", "mistral"};
constexpr std::string_view kTypes[] = {"mixtral"};
constexpr RoleRow kRoles[] = {
    {Role::router, "blk.{}.ffn_gate_inp", "model.layers.{}.block_sparse_moe.gate", Dim::experts, Dim::hidden,
     Layers::moe},
    {Role::router, "blk.{}.ffn_gate_inp", "model.layers.{}.mlp.gate", Dim::experts, Dim::hidden, Layers::moe},
    {Role::router, "blk.{}.ffn_gate_inp", "model.layers.{}.mlp.router", Dim::experts, Dim::hidden, Layers::moe},
    {Role::router, "blk.{}.ffn_gate_inp", "model.layers.{}.block_sparse_moe.router.layer", Dim::experts, Dim::hidden,
     Layers::moe},
    {Role::router, "blk.{}.ffn_gate_inp", "model.layers.{}.feed_forward.gate", Dim::experts, Dim::hidden, Layers::moe},
    {Role::router, "blk.{}.ffn_gate_inp", "model.layers.{}.feed_forward.router", Dim::experts, Dim::hidden,
     Layers::moe},
    {Role::router, "blk.{}.ffn_gate_inp", "model.layers.{}.mixer.gate", Dim::experts, Dim::hidden, Layers::moe},
};
constexpr ExpertNames kExperts[] = {
    {"model.layers.{0}.block_sparse_moe.experts.{1}.w1", "model.layers.{0}.block_sparse_moe.experts.{1}.w3",
     "model.layers.{0}.block_sparse_moe.experts.{1}.w2"},
    {"model.layers.{0}.mlp.experts.{1}.gate_proj", "model.layers.{0}.mlp.experts.{1}.up_proj",
     "model.layers.{0}.mlp.experts.{1}.down_proj"},
};

Result<void> adjust(Hyperparameters& hp, const WeightFiles& files) {
  hp.rope.neox = has_rotations_in_halves(files);
  hp.router.experts = count_experts(files);
  hp.moe_layer.assign(static_cast<size_t>(hp.layers), true);
  // Early copies of config.json give a sliding window of 4096; the model has none.
  const bool has_theta = files.metadata.has("rope_theta") || files.metadata.has("rope_parameters.rope_theta");
  if (!has_theta && files.scheme == NameScheme::hugging_face) hp.rope.base = 1e6;
  return {};
}

void forward(ForwardPass& pass) {
  embed(pass);
  for (int64_t layer = 0; pass.enter(layer); ++layer) {
    norm(pass, Role::attn_norm, layer);
    attention(pass, layer, {});
    norm(pass, Role::ffn_norm, layer);
    mixture_of_experts(pass, layer);
  }
  final_norm(pass);
}

}  // namespace

extern constinit const FamilyEntry mixtral = {
    .name = "mixtral",
    .summary = "Mixtral 8x7B, 8x22B and mixtures merged from Llama or Mistral models",
    .gguf_archs = kArchs,
    .model_types = kTypes,
    .fits = [](const WeightFiles& files) { return count_experts(files) > 0; },
    .adjust = adjust,
    .roles = kRoles,
    .experts = kExperts,
    .forward = forward,
};

}  // namespace moxie::families
