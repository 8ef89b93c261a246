// Llama and Mistral, dense: RMSNorm, rotary positions, grouped-query attention, gated feed-forward.
#include "model/family.h"
#include "model/forward.h"

namespace moxie::families {
namespace {

constexpr std::string_view kArchs[] = {"llama", "mistral"};
constexpr std::string_view kTypes[] = {"llama", "mistral"};

Result<void> adjust(Hyperparameters& hp, const WeightFiles& files) {
  const bool gguf = files.scheme == NameScheme::gguf;
  hp.rope.neox = has_rotations_in_halves(files);
  const std::string key = gguf ? architecture(files) + ".attention.sliding_window" : "sliding_window";
  hp.window.assign(static_cast<size_t>(hp.layers), files.metadata.integer(key).value_or(0));
  return {};
}

void forward(ForwardPass& pass) {
  embed(pass);
  for (int64_t layer = 0; pass.enter(layer); ++layer) {
    norm(pass, Role::attn_norm, layer);
    attention(pass, layer, {});
    norm(pass, Role::ffn_norm, layer);
    feed_forward(pass, layer);
  }
  final_norm(pass);
}

}  // namespace

extern constinit const FamilyEntry llama = {
    .name = "llama",
    .summary = "Llama 2 and 3, Mistral 7B and their relatives, dense",
    .gguf_archs = kArchs,
    .model_types = kTypes,
    .fits = [](const WeightFiles& files) { return count_experts(files) == 0; },
    .adjust = adjust,
    .roles = {},
    .experts = {},
    .forward = forward,
};

}  // namespace moxie::families
