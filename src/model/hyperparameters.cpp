#include "model/hyperparameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/fail.h"
#include "core/printable.h"

namespace moxie {
namespace {

constexpr int64_t kMaxLayers = 1024, kMaxExperts = 65535, kMaxWidth = int64_t{1} << 24, kMaxContext = int64_t{1} << 31;

// Reads a number under its GGUF key or one of its config.json keys.
class Reader {
 public:
  Reader(const WeightFiles& files, const std::string& arch) : files_(files), prefix_(arch + ".") {}

  bool gguf() const { return files_.scheme == NameScheme::gguf; }
  std::string key(std::string_view gguf_key, std::initializer_list<std::string_view> hf_keys) const {
    if (gguf()) return prefix_ + std::string(gguf_key);
    for (const std::string_view key : hf_keys) {
      if (files_.metadata.has(key)) return std::string(key);
    }
    return hf_keys.size() > 0 ? std::string(*hf_keys.begin()) : std::string();
  }
  std::optional<int64_t> integer(std::string_view gguf_key, std::initializer_list<std::string_view> hf_keys) const {
    return files_.metadata.integer(key(gguf_key, hf_keys));
  }
  std::optional<double> number(std::string_view gguf_key, std::initializer_list<std::string_view> hf_keys) const {
    return files_.metadata.number(key(gguf_key, hf_keys));
  }
  Result<int64_t> required(std::string_view gguf_key, std::initializer_list<std::string_view> hf_keys,
                           int64_t max) const {
    const std::string where = key(gguf_key, hf_keys);
    std::optional<int64_t> value = files_.metadata.integer(where);
    if (!value) {  // some GGUF keys may be one number per layer: take it when all agree
      if (const auto list = files_.metadata.integers(where); list && !list->empty()) {
        if (std::any_of(list->begin(), list->end(), [&](int64_t v) { return v != list->front(); })) {
          return fail(Diagnosis{.code = "unsupported-numbers",
                                .found = fmt::format("{} differs between layers", where),
                                .expected = "one value"},
                      ErrorCode::unsupported, "{}: {} differs between layers; moxie needs one value", files_.path,
                      where);
        }
        value = list->front();
      }
    }
    if (!value) {
      return fail(
          Diagnosis{.code = "missing-numbers", .found = fmt::format("no {}", where), .expected = std::string(where)},
          ErrorCode::corrupt, "{}: {} is missing; the file's {} does not describe the model", files_.path, where,
          gguf() ? "metadata" : "config.json");
    }
    if (*value < 1 || *value > max) {
      return fail(Diagnosis{.code = "wrong-numbers",
                            .found = fmt::format("{} is {}", where, *value),
                            .expected = fmt::format("1..{}", max)},
                  ErrorCode::corrupt, "{}: {} is {}; it must lie in 1..{}", files_.path, where, *value, max);
    }
    return *value;
  }

 private:
  const WeightFiles& files_;
  std::string prefix_;
};

Result<void> read_rope_scaling_gguf(const WeightFiles& files, const std::string& arch, RopeOptions& rope) {
  const Metadata& md = files.metadata;
  const std::string prefix = arch + ".rope.";
  const std::string type = md.text(prefix + "scaling.type").value_or("none");
  rope.factor = md.number(prefix + "scaling.factor").value_or(md.number(prefix + "scale_linear").value_or(1));
  if (type == "linear" || (type == "none" && md.has(prefix + "scale_linear") && rope.factor != 1)) {
    rope.scaling = RopeScaling::linear;
  } else if (type == "yarn") {
    rope.scaling = RopeScaling::yarn;
    rope.attention_factor = 0;
    rope.beta_fast = md.number(prefix + "scaling.yarn_beta_fast").value_or(32);
    rope.beta_slow = md.number(prefix + "scaling.yarn_beta_slow").value_or(1);
  } else if (type != "none") {
    return fail(Diagnosis{.code = "unsupported-numbers",
                          .found = fmt::format("rope scaling {}", printable(type)),
                          .expected = "none, linear, yarn"},
                ErrorCode::unsupported,
                "{}: rope scaling '{}' is not known; moxie knows none, linear, yarn and factor tensors", files.path,
                type);
  }
  if (const auto original = md.integer(prefix + "scaling.original_context_length")) rope.original_context = *original;
  if (const auto attn = md.number(prefix + "scaling.attn_factor");
      attn && *attn > 0 && rope.scaling == RopeScaling::yarn) {
    rope.attention_factor = *attn * (1 + 0.1 * std::log(std::max(1.0, rope.factor)));
  }
  return {};
}

Result<void> read_rope_hf(const WeightFiles& files, RopeOptions& rope) {
  const Metadata& md = files.metadata;
  for (const char* key : {"rope_parameters.rope_theta", "rope_parameters.full_attention.rope_theta", "rope_theta"}) {
    if (const auto theta = md.number(key)) {
      rope.base = *theta;
      break;
    }
  }
  std::string prefix, type;
  for (const char* object : {"rope_parameters.", "rope_parameters.full_attention.", "rope_scaling."}) {
    for (const char* field : {"rope_type", "type"}) {
      if (const auto found = md.text(std::string(object) + field); found && type.empty()) {
        prefix = object;
        type = *found;
      }
    }
  }
  if (type.empty() || type == "default" || type == "none") return {};
  const auto number = [&](const char* key, double otherwise) { return md.number(prefix + key).value_or(otherwise); };
  rope.factor = number("factor", 1);
  rope.original_context =
      static_cast<int64_t>(number("original_max_position_embeddings", static_cast<double>(rope.original_context)));
  if (type == "linear") {
    rope.scaling = RopeScaling::linear;
  } else if (type == "yarn") {
    rope.scaling = RopeScaling::yarn;
    rope.attention_factor = number("attention_factor", 0);
    rope.beta_fast = number("beta_fast", 32);
    rope.beta_slow = number("beta_slow", 1);
    rope.whole_dimensions = md.boolean(prefix + "truncate").value_or(true);
  } else if (type == "llama3") {
    rope.scaling = RopeScaling::llama3;
    rope.low_freq_factor = number("low_freq_factor", 1);
    rope.high_freq_factor = number("high_freq_factor", 4);
  } else {
    return fail(Diagnosis{.code = "unsupported-numbers",
                          .found = fmt::format("rope scaling {}", printable(type)),
                          .expected = "default, linear, yarn, llama3"},
                ErrorCode::unsupported,
                "{}: rope scaling '{}' is not known; moxie knows default, linear, yarn and llama3", files.path, type);
  }
  return {};
}

}  // namespace

Result<Hyperparameters> read_hyperparameters(const WeightFiles& files, const std::string& arch) {
  const Reader in(files, arch);
  const Metadata& md = files.metadata;
  Hyperparameters hp;
  hp.name = md.text(in.gguf() ? "general.name" : "_name_or_path").value_or("");
  MOXIE_TRY(hp.layers, in.required("block_count", {"num_hidden_layers"}, kMaxLayers));
  MOXIE_TRY(hp.hidden, in.required("embedding_length", {"hidden_size"}, kMaxWidth));
  MOXIE_TRY(hp.heads, in.required("attention.head_count", {"num_attention_heads"}, 65536));
  hp.kv_heads = hp.heads;
  if (md.has(in.key("attention.head_count_kv", {"num_key_value_heads"}))) {
    MOXIE_TRY(hp.kv_heads, in.required("attention.head_count_kv", {"num_key_value_heads"}, 65536));
  }
  hp.head_dim = in.integer("attention.key_length", {"head_dim"}).value_or(hp.hidden / hp.heads);
  const int64_t value_dim = in.integer("attention.value_length", {}).value_or(hp.head_dim);
  if (in.gguf() && value_dim != hp.head_dim) {
    return fail(ErrorCode::unsupported, "{}: keys have {} dimensions and values {}; this family has them equal",
                files.path, hp.head_dim, value_dim);
  }
  hp.trained_context = in.integer("context_length", {"max_position_embeddings"}).value_or(0);
  hp.norm_eps = static_cast<float>(in.number("attention.layer_norm_rms_epsilon", {"rms_norm_eps"}).value_or(1e-5));
  hp.ffn = in.integer("feed_forward_length", {"intermediate_size"}).value_or(0);
  if (hp.ffn == 0 && in.gguf()) {
    if (const auto list = md.integers(arch + ".feed_forward_length"); list && !list->empty()) hp.ffn = list->front();
  }
  hp.tied_embeddings = !in.gguf() && md.boolean("tie_word_embeddings").value_or(false);

  hp.router.experts = in.integer("expert_count", {"num_local_experts", "num_experts", "n_routed_experts"}).value_or(0);
  hp.router.used = in.integer("expert_used_count", {"num_experts_per_tok", "moe_top_k"}).value_or(0);
  hp.expert_ffn = in.integer("expert_feed_forward_length", {"moe_intermediate_size"}).value_or(hp.ffn);

  hp.rope.base = in.number("rope.freq_base", {}).value_or(10000);
  hp.rope.dims = in.integer("rope.dimension_count", {}).value_or(hp.head_dim);
  hp.rope.original_context = hp.trained_context;
  if (in.gguf()) {
    MOXIE_TRY_VOID(read_rope_scaling_gguf(files, arch, hp.rope));
  } else {
    MOXIE_TRY_VOID(read_rope_hf(files, hp.rope));
  }
  hp.window.assign(static_cast<size_t>(hp.layers), 0);
  hp.moe_layer.assign(static_cast<size_t>(hp.layers), hp.router.experts > 0);
  return hp;
}

Result<void> check_hyperparameters(const Hyperparameters& hp, const WeightFiles& files) {
  const auto bad = [&](std::string_view what, int64_t value, std::string_view rule) {
    return fail(Diagnosis{.code = std::string(what).find("experts used") != std::string::npos ? "experts-used"
                                                                                              : "wrong-numbers",
                          .found = fmt::format("{} is {}", what, value),
                          .expected = std::string(rule)},
                ErrorCode::corrupt, "{}: {} is {}, but {}", files.path, what, value, rule);
  };
  if (hp.head_dim < 1 || hp.head_dim > 65536) return bad("head size", hp.head_dim, "it must lie in 1..65536");
  if (hp.heads % hp.kv_heads != 0) {
    return bad("the number of key/value heads", hp.kv_heads,
               fmt::format("the {} heads must divide into them evenly", hp.heads));
  }
  if (hp.rope.dims < 2 || hp.rope.dims % 2 != 0 || hp.rope.dims > hp.head_dim) {
    return bad("the number of rotated dimensions", hp.rope.dims,
               fmt::format("it must be even and at most the head size {}", hp.head_dim));
  }
  if (!(hp.rope.base > 0) || !(hp.rope.factor > 0)) {
    return fail(Diagnosis{.code = "wrong-numbers",
                          .found = fmt::format("rope base {}, scaling factor {}", hp.rope.base, hp.rope.factor),
                          .expected = "positive numbers"},
                ErrorCode::corrupt, "{}: rope base {} and scaling factor {} must be positive", files.path, hp.rope.base,
                hp.rope.factor);
  }
  if (hp.rope.scaling == RopeScaling::yarn || hp.rope.scaling == RopeScaling::llama3) {
    if (hp.rope.original_context < 1)
      return bad("the original context of rope scaling", hp.rope.original_context, "it must be positive");
  }
  if (hp.trained_context < 0 || hp.trained_context > kMaxContext)
    return bad("the trained context", hp.trained_context, "it must lie in 0..2^31");
  if (!(hp.norm_eps > 0) || hp.norm_eps > 1)
    return fail(
        Diagnosis{.code = "wrong-numbers", .found = fmt::format("norm epsilon {}", hp.norm_eps), .expected = "(0, 1]"},
        ErrorCode::corrupt, "{}: norm epsilon {} must lie in (0, 1]", files.path, hp.norm_eps);
  const bool dense = std::find(hp.moe_layer.begin(), hp.moe_layer.end(), false) != hp.moe_layer.end();
  if (dense && (hp.ffn < 1 || hp.ffn > kMaxWidth))
    return bad("the feed-forward size", hp.ffn, fmt::format("it must lie in 1..{}", kMaxWidth));
  if (hp.router.experts == 0) return {};
  if (hp.router.experts < 0 || hp.router.experts > kMaxExperts) {
    return bad("the number of experts", hp.router.experts, fmt::format("it must lie in 0..{}", kMaxExperts));
  }
  if (hp.router.used < 1 || hp.router.used > hp.router.experts) {
    return bad("the number of experts used per token", hp.router.used,
               fmt::format("it must lie in 1..{} (the number of experts)", hp.router.experts));
  }
  if (hp.expert_ffn < 1 || hp.expert_ffn > kMaxWidth)
    return bad("the expert feed-forward size", hp.expert_ffn, fmt::format("it must lie in 1..{}", kMaxWidth));
  return {};
}

}  // namespace moxie
