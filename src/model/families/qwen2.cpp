// Qwen2, dense: as Llama, with biases on q, k and v, and rotary pairs half a head apart in every file.
#include "model/families/qwen_common.h"
#include "model/family.h"
#include "model/forward.h"

namespace moxie::families {
namespace {

constexpr std::string_view kNames[] = {"qwen2"};

Result<void> adjust(Hyperparameters& hp, const WeightFiles& files) {
  hp.rope.neox = true;
  read_qwen_window(hp, files);
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

extern constinit const FamilyEntry qwen2 = {
    .name = "qwen2",
    .summary = "Qwen2 and Qwen2.5, dense",
    .gguf_archs = kNames,
    .model_types = kNames,
    .fits = [](const WeightFiles&) { return true; },
    .adjust = adjust,
    .roles = {},
    .experts = {},
    .forward = forward,
};

}  // namespace moxie::families
