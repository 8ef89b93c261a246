#include "format/formats/safetensors_mistral.h"

#include <fmt/format.h>

#include <span>

#include "core/fail.h"
#include "core/json.h"
#include "format/messages.h"

namespace moxie {
namespace {

struct Renamed {
  std::string_view from, to;
};
// Whole names.
constexpr Renamed kModel[] = {
    {"tok_embeddings.weight", "model.embed_tokens.weight"},
    {"norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
};
// How the names of a layer go on after "layers.N.".
constexpr Renamed kLayer[] = {
    {"attention.wq.", "self_attn.q_proj."},           {"attention.wk.", "self_attn.k_proj."},
    {"attention.wv.", "self_attn.v_proj."},           {"attention.wo.", "self_attn.o_proj."},
    {"attention_norm.", "input_layernorm."},          {"ffn_norm.", "post_attention_layernorm."},
    {"feed_forward.gate.", "block_sparse_moe.gate."}, {"feed_forward.experts.", "block_sparse_moe.experts."},
    {"block_sparse_moe.", "block_sparse_moe."},       {"feed_forward.w1.", "mlp.gate_proj."},
    {"feed_forward.w2.", "mlp.down_proj."},           {"feed_forward.w3.", "mlp.up_proj."},
};
// How names end.
constexpr Renamed kEndings[] = {{".qscale_weight", ".weight_scale"}, {".qscale_act", ".input_scale"}};

constexpr Renamed kFacts[] = {
    {"dim", "hidden_size"},
    {"n_layers", "num_hidden_layers"},
    {"n_heads", "num_attention_heads"},
    {"n_kv_heads", "num_key_value_heads"},
    {"head_dim", "head_dim"},
    {"hidden_dim", "intermediate_size"},
    {"norm_eps", "rms_norm_eps"},
    {"vocab_size", "vocab_size"},
    {"rope_theta", "rope_theta"},
    {"max_seq_len", "max_position_embeddings"},
    {"max_position_embeddings", "max_position_embeddings"},
    {"sliding_window", "sliding_window"},
    {"tied_embeddings", "tie_word_embeddings"},
};
constexpr Renamed kMixture[] = {{"num_experts", "num_local_experts"}, {"num_experts_per_tok", "num_experts_per_tok"}};
// Models of other families, or parts that change what is computed.
constexpr std::string_view kNotComputed[] = {"yarn", "rope_scaling", "q_lora_rank", "kv_lora_rank", "llama_4_scaling"};

std::string hugging_face_name(std::string name) {
  for (const Renamed& ending : kEndings) {
    if (name.ends_with(ending.from)) name.replace(name.size() - ending.from.size(), ending.from.size(), ending.to);
  }
  for (const Renamed& whole : kModel) {
    if (name == whole.from) return std::string(whole.to);
  }
  constexpr std::string_view kLayers = "layers.";
  const size_t dot = name.starts_with(kLayers) ? name.find('.', kLayers.size()) : std::string::npos;
  if (dot == std::string::npos) return name;
  const std::string_view rest = std::string_view(name).substr(dot + 1);
  for (const Renamed& part : kLayer) {
    if (rest.starts_with(part.from))
      return fmt::format("model.{}.{}{}", std::string_view(name).substr(0, dot), part.to,
                         rest.substr(part.from.size()));
  }
  return name;
}

void copy_facts(const Json& from, std::span<const Renamed> facts, Json::Object& to) {
  for (const Renamed& fact : facts) {
    const Json* value = from.find(fact.from);
    if (value != nullptr && !value->is_null()) to.push_back({std::string(fact.to), *value});
  }
}

}  // namespace

bool is_mistral_layout(const WeightFiles& files) {
  return files.find("tok_embeddings.weight") != nullptr && files.find("layers.0.attention_norm.weight") != nullptr;
}

Result<std::string> config_from_params(std::string_view params, std::string_view what) {
  const JsonLimits limits{.bytes_max = size_t{1} << 20, .depth_max = 32, .values_max = 100'000, .distinct_keys = true};
  auto parsed = parse_json(params, what, limits);
  if (!parsed.ok()) return add_remedy(std::move(parsed).error(), "correct the file or download it again");
  const Json& json = *parsed;
  if (json.object() == nullptr || json.find("dim") == nullptr) {
    return fail(Diagnosis{.code = "damaged-config", .found = "no \"dim\"", .expected = "a description of a model"},
                ErrorCode::corrupt, "{}: is no description of a model (\"dim\" is missing); download it again", what);
  }
  for (const std::string_view key : kNotComputed) {
    if (const Json* value = json.find(key); value != nullptr && !value->is_null()) {
      return fail(Diagnosis{.code = "mistral-layout", .found = std::string(key), .expected = "plain attention"},
                  ErrorCode::unsupported,
                  "{}: has \"{}\", which moxie does not compute from Mistral's own layout; get the Hugging Face layout "
                  "of the model (model*.safetensors with config.json) or a GGUF file",
                  what, key);
    }
  }
  Json::Object config;
  const Json* mixture = json.find("moe");
  const bool has_experts = mixture != nullptr && mixture->object() != nullptr;
  config.push_back({"model_type", Json{std::string(has_experts ? "mixtral" : "mistral")}});
  copy_facts(json, kFacts, config);
  if (has_experts) copy_facts(*mixture, kMixture, config);
  config.push_back({"rope_interleaved", Json{true}});
  return to_text(Json{std::move(config)});
}

Result<WeightFiles> rename_mistral(WeightFiles files) {
  WeightFiles renamed;
  renamed.path = files.path;
  renamed.format = "safetensors, Mistral's layout";
  renamed.scheme = files.scheme;
  renamed.files = std::move(files.files);
  renamed.notices = std::move(files.notices);
  for (TensorInfo& tensor : files.tensors) {
    tensor.name = hugging_face_name(std::move(tensor.name));
    if (renamed.find(tensor.name) != nullptr) {
      return fail(Diagnosis{.code = "mixed-files",
                            .found = fmt::format("{} twice", printable(tensor.name)),
                            .expected = "each tensor once"},
                  ErrorCode::corrupt, "{}: the tensor '{}' is there under two names; download the files again",
                  renamed.path, printable(tensor.name));
    }
    renamed.add(std::move(tensor));
  }
  return renamed;
}

}  // namespace moxie
