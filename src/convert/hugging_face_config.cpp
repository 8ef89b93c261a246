#include "convert/hugging_face_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "convert/gguf_tensors.h"
#include "core/fail.h"
#include "format/tensor_values.h"

namespace moxie {
namespace {

using Ordered = nlohmann::ordered_json;

// What transformers calls the class, by family.
struct ClassName {
  std::string_view family, model_type, name;
};
constexpr ClassName kClasses[] = {
    {"mixtral", "mixtral", "MixtralForCausalLM"},
    {"llama", "llama", "LlamaForCausalLM"},
    {"qwen2", "qwen2", "Qwen2ForCausalLM"},
    {"qwen2_moe", "qwen2_moe", "Qwen2MoeForCausalLM"},
    {"qwen3_moe", "qwen3_moe", "Qwen3MoeForCausalLM"},
    {"olmoe", "olmoe", "OlmoeForCausalLM"},
};
constexpr ClassName kWindowed = {"llama", "mistral", "MistralForCausalLM"};

// 1e-05 and not 9.99999974737875e-06: what the float was written as.
double shortest(double value) {
  return std::stod(fmt::format("{}", static_cast<float>(value)));
}

class Builder {
 public:
  Builder(const WeightFiles& source, const ModelPlan& plan, std::string_view dtype)
      : source_(source), plan_(plan), hp_(plan.hp), dtype_(dtype) {}

  Result<std::string> build() {
    MOXIE_TRY_VOID(add_class());
    add_sizes();
    add_family();
    MOXIE_TRY_VOID(add_rope());
    return config_.dump(2, ' ', false, Ordered::error_handler_t::replace) + "\n";
  }

 private:
  bool has_bias(Role role) const { return plan_.roles[static_cast<size_t>(role)][0].bias != nullptr; }
  std::string_view family() const { return plan_.family->name; }

  Result<void> add_class() {
    const auto found = std::find_if(std::begin(kClasses), std::end(kClasses),
                                    [&](const ClassName& each) { return each.family == family(); });
    if (found == std::end(kClasses)) {
      return fail(ErrorCode::unsupported, "{}: moxie writes no config.json for the family {}", source_.path, family());
    }
    const bool windowed = family() == "llama" && hp_.window[0] > 0;
    const ClassName& chosen = windowed ? kWindowed : *found;
    config_["architectures"] = {chosen.name};
    config_["model_type"] = chosen.model_type;
    if (windowed) config_["sliding_window"] = hp_.window[0];
    return {};
  }

  void add_sizes() {
    const RoleTensor& output = plan_.roles[static_cast<size_t>(Role::output)][0];
    const bool tied = output.weight == plan_.roles[static_cast<size_t>(Role::token_embd)][0].weight;
    config_["vocab_size"] = hp_.vocabulary;
    config_["hidden_size"] = hp_.hidden;
    config_["intermediate_size"] = family() == "mixtral" || family() == "olmoe" ? hp_.expert_ffn : hp_.ffn;
    config_["num_hidden_layers"] = hp_.layers;
    config_["num_attention_heads"] = hp_.heads;
    config_["num_key_value_heads"] = hp_.kv_heads;
    config_["head_dim"] = hp_.head_dim;
    config_["hidden_act"] = "silu";
    if (hp_.trained_context > 0) config_["max_position_embeddings"] = hp_.trained_context;
    config_["rms_norm_eps"] = shortest(static_cast<double>(hp_.norm_eps));
    config_["tie_word_embeddings"] = tied;
    config_["torch_dtype"] = dtype_;
    if (const auto& vocabulary = source_.tokenizer.gguf) {
      for (const char* name : {"bos", "eos"}) {
        const auto id = vocabulary->special_ids.find(name);
        if (id != vocabulary->special_ids.end()) config_[std::string(name) + "_token_id"] = id->second;
      }
    }
  }

  void add_family() {
    if (family() == "llama" && has_bias(Role::attn_q)) config_["attention_bias"] = true;
    if (family() == "llama" && has_bias(Role::ffn_gate)) config_["mlp_bias"] = true;
    if (family().starts_with("qwen")) config_["use_sliding_window"] = false;
    if (hp_.router.experts == 0) return;
    config_[family() == "mixtral" ? "num_local_experts" : "num_experts"] = hp_.router.experts;
    config_["num_experts_per_tok"] = hp_.router.used;
    if (family() == "mixtral") {
      config_["sliding_window"] = nullptr;
      return;
    }
    config_["norm_topk_prob"] = hp_.router.normalise;
    if (family() == "olmoe") {
      config_["clip_qkv"] = hp_.clamp_qkv > 0 ? Ordered(shortest(hp_.clamp_qkv)) : Ordered();
      return;
    }
    config_["moe_intermediate_size"] = hp_.expert_ffn;
    if (hp_.shared_ffn > 0) config_["shared_expert_intermediate_size"] = hp_.shared_ffn;
    config_["decoder_sparse_step"] = 1;
    Ordered dense = Ordered::array();
    for (size_t layer = 0; layer < hp_.moe_layer.size(); ++layer) {
      if (!hp_.moe_layer[layer]) dense.push_back(layer);
    }
    config_["mlp_only_layers"] = dense;
  }

  Result<void> add_rope() {
    const RopeOptions& rope = hp_.rope;
    config_["rope_theta"] = shortest(rope.base);
    if (rope.dims != hp_.head_dim)
      config_["partial_rotary_factor"] = static_cast<double>(rope.dims) / static_cast<double>(hp_.head_dim);
    const TensorInfo* factors = plan_.roles[static_cast<size_t>(Role::rope_freqs)][0].weight;
    if (factors != nullptr) return add_factors(*factors);
    if (rope.scaling == RopeScaling::none) return {};
    Ordered scaling;
    scaling["rope_type"] = rope.scaling == RopeScaling::yarn     ? "yarn"
                           : rope.scaling == RopeScaling::linear ? "linear"
                                                                 : "llama3";
    scaling["factor"] = shortest(rope.factor);
    if (rope.scaling != RopeScaling::linear) scaling["original_max_position_embeddings"] = rope.original_context;
    if (rope.scaling == RopeScaling::yarn) {
      scaling["beta_fast"] = shortest(rope.beta_fast);
      scaling["beta_slow"] = shortest(rope.beta_slow);
      if (rope.attention_factor > 0) scaling["attention_factor"] = shortest(rope.attention_factor);
    }
    if (rope.scaling == RopeScaling::llama3) add_llama3(scaling, rope);
    config_["rope_scaling"] = scaling;
    return {};
  }

  static void add_llama3(Ordered& scaling, const RopeOptions& rope) {
    scaling["rope_type"] = "llama3";
    scaling["factor"] = shortest(rope.factor);
    scaling["low_freq_factor"] = shortest(rope.low_freq_factor);
    scaling["high_freq_factor"] = shortest(rope.high_freq_factor);
    scaling["original_max_position_embeddings"] = rope.original_context;
  }

  // GGUF has the outcome of Llama 3's scaling, a divisor for each frequency; its settings are those that give it.
  Result<void> add_factors(const TensorInfo& tensor) {
    std::vector<float> factors;
    MOXIE_TRY_VOID(read_tensor_rows(source_, tensor, [&](std::span<const float> row) -> Result<void> {
      factors.insert(factors.end(), row.begin(), row.end());
      return {};
    }));
    RopeOptions rope = hp_.rope;
    rope.factor = *std::max_element(factors.begin(), factors.end());
    if (rope.factor == 1 && *std::min_element(factors.begin(), factors.end()) == 1) return {};
    constexpr int64_t kOriginalMax = int64_t{1} << 22;
    for (rope.original_context = 16; rope.original_context <= kOriginalMax; rope.original_context *= 2) {
      const std::vector<float> made = llama3_factors(rope);
      if (!std::equal(made.begin(), made.end(), factors.begin(), factors.end(),
                      [](float a, float b) { return std::fabs(a - b) <= 1e-4f * b; })) {
        continue;
      }
      Ordered scaling;
      add_llama3(scaling, rope);
      config_["rope_scaling"] = scaling;
      return {};
    }
    return fail(ErrorCode::unsupported,
                "{}: '{}' divides frequencies in a way that is none of Llama 3's; a config.json has no word for it",
                source_.path, tensor.name);
  }

  const WeightFiles& source_;
  const ModelPlan& plan_;
  const Hyperparameters& hp_;
  std::string_view dtype_;
  Ordered config_;
};

}  // namespace

Result<std::string> hugging_face_config(const WeightFiles& source, const ModelPlan& plan, std::string_view dtype,
                                        Log& log) {
  if (source.scheme == NameScheme::hugging_face) {
    Ordered own = Ordered::parse(source.config, nullptr, false);
    if (own.is_object() && own.contains("model_type")) {
      for (const char* key : {"quantization_config", "quantization", "compression_config", "rope_interleaved"})
        own.erase(key);
      own[own.contains("dtype") && !own.contains("torch_dtype") ? "dtype" : "torch_dtype"] = dtype;
      return own.dump(2, ' ', false, Ordered::error_handler_t::replace) + "\n";
    }
  }
  log.write(LogLevel::info, "config.json is made from the file's metadata");
  return Builder(source, plan, dtype).build();
}

}  // namespace moxie
