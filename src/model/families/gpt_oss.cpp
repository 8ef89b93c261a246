// GPT-OSS (20b, 120b): biases everywhere; every head has a sink, a logit that takes weight and gives no value; sliding
// and full attention in turn; YaRN; a softmax over the chosen experts' logits; a clamped SwiGLU.
// Gate and up of the experts come apart, as GGUF and MLX have them (format/quantized/gpt_oss.cpp for the other forms).
#include <fmt/format.h>

#include <cmath>

#include "core/fail.h"
#include "core/printable.h"
#include "model/family.h"
#include "model/forward.h"
#include "model/tensors.h"

namespace moxie::families {
namespace {

constexpr std::string_view kArchs[] = {"gpt-oss"};
constexpr std::string_view kTypes[] = {"gpt_oss"};
constexpr RoleRow exact(Role role, std::string_view gguf, std::string_view hugging_face, Dim rows, Dim columns) {
  return {.role = role, .gguf = gguf, .hugging_face = hugging_face, .rows = rows, .columns = columns, .exact = true};
}
constexpr RoleRow kRoles[] = {
    exact(Role::attn_sinks, "blk.{}.attn_sinks.weight", "model.layers.{}.self_attn.sinks", Dim::one, Dim::heads),
    {Role::ffn_norm, "blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm", Dim::one, Dim::hidden},
    {Role::router, "blk.{}.ffn_gate_inp", "model.layers.{}.mlp.router", Dim::experts, Dim::hidden, Layers::moe, true,
     true},
    exact(Role::expert_gate_bias, "blk.{}.ffn_gate_exps.bias", "model.layers.{}.mlp.experts.gate_proj.bias",
          Dim::experts, Dim::expert_ffn),
    exact(Role::expert_up_bias, "blk.{}.ffn_up_exps.bias", "model.layers.{}.mlp.experts.up_proj.bias", Dim::experts,
          Dim::expert_ffn),
    exact(Role::expert_down_bias, "blk.{}.ffn_down_exps.bias", "model.layers.{}.mlp.experts.down_proj.bias",
          Dim::experts, Dim::hidden),
};

constexpr ExpertNames kExperts[] = {
    {"model.layers.{0}.mlp.experts.{1}.gate_proj", "model.layers.{0}.mlp.experts.{1}.up_proj",
     "model.layers.{0}.mlp.experts.{1}.down_proj"},
};

// Sliding on even layers, unless config.json has a list.
Result<void> read_windows(Hyperparameters& hp, const WeightFiles& files) {
  const Metadata& md = files.metadata;
  const bool gguf = files.scheme == NameScheme::gguf;
  const int64_t window = md.integer(gguf ? "gpt-oss.attention.sliding_window" : "sliding_window").value_or(128);
  if (window < 1) {
    return fail(ErrorCode::corrupt, "{}: the sliding window is {}; it must be at least 1", files.path, window);
  }
  const auto types = gguf ? std::nullopt : md.texts("layer_types");
  if (types && static_cast<int64_t>(types->size()) != hp.layers) {
    return fail(ErrorCode::corrupt, "{}: layer_types has {} entries; the model has {} layers", files.path,
                types->size(), hp.layers);
  }
  for (size_t layer = 0; layer < hp.window.size(); ++layer) {
    bool slides = layer % 2 == 0;
    if (types) {
      const std::string& type = (*types)[layer];
      slides = type == "sliding_attention";
      if (!slides && type != "full_attention") {
        return fail(ErrorCode::unsupported,
                    "{}: layer {} has attention of type '{}'; moxie knows sliding_attention and full_attention",
                    files.path, layer, printable(type));
      }
    }
    hp.window[layer] = slides ? window : 0;
  }
  return {};
}

Result<void> adjust(Hyperparameters& hp, const WeightFiles& files) {
  const Metadata& md = files.metadata;
  const bool gguf = files.scheme == NameScheme::gguf;
  hp.rope.neox = true;
  hp.router.experts = count_experts(files);
  hp.moe_layer.assign(static_cast<size_t>(hp.layers), true);
  // GGUF has no key for it: the published models do not round.
  if (gguf) hp.rope.whole_dimensions = false;
  const bool has_theta = md.has("rope_theta") || md.has("rope_parameters.rope_theta");
  if (!gguf && !has_theta) hp.rope.base = 150000;
  hp.swiglu_alpha = gguf ? 1.702f : static_cast<float>(md.number("swiglu_alpha").value_or(1.702));
  hp.swiglu_limit = gguf ? 7.0f : static_cast<float>(md.number("swiglu_limit").value_or(7));
  if (!(hp.swiglu_limit > 0) || !std::isfinite(hp.swiglu_limit) || !std::isfinite(hp.swiglu_alpha)) {
    return fail(ErrorCode::corrupt, "{}: swiglu_limit {} must be positive and swiglu_alpha {} finite", files.path,
                hp.swiglu_limit, hp.swiglu_alpha);
  }
  return read_windows(hp, files);
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

extern constinit const FamilyEntry gpt_oss = {
    .name = "gpt_oss",
    .summary = "gpt-oss-20b and gpt-oss-120b",
    .gguf_archs = kArchs,
    .model_types = kTypes,
    .fits = [](const WeightFiles&) { return true; },
    .adjust = adjust,
    .roles = kRoles,
    .experts = kExperts,
    .forward = forward,
};

}  // namespace moxie::families
