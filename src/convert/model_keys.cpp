#include "convert/model_keys.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "convert/gguf_tensors.h"
#include "core/append_number.h"
#include "core/byte_reader.h"
#include "core/fail.h"
#include "format/formats/gguf_header.h"
#include "format/formats/gguf_pack.h"
#include "format/formats/gguf_values.h"

namespace moxie {
namespace {

// ---- keys of a GGUF source ----

constexpr uint32_t kTextType = 8, kArrayType = 9;
constexpr uint32_t kScalarBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

Result<void> recode_text(ByteReader& in, uint32_t version, std::string& to) {
  MOXIE_TRY(const uint64_t length, read_gguf_size(in, version));
  MOXIE_TRY(const std::string text, in.read_string(length));
  append_number(to, length);
  to += text;
  return {};
}

// The value at `in` as version 3 writes it. REQUIRES: it was read before, so that types and lengths are right.
Result<void> recode_value(ByteReader& in, uint32_t version, std::string& to) {
  MOXIE_TRY(const uint32_t type, in.read<uint32_t>());
  append_number(to, type);
  if (type == kTextType) return recode_text(in, version, to);
  uint64_t count = 1;
  uint32_t element = type;
  if (type == kArrayType) {
    MOXIE_TRY(element, in.read<uint32_t>());
    MOXIE_TRY(count, read_gguf_size(in, version));
    append_number(to, element);
    append_number(to, count);
  }
  if (element == kTextType) {
    for (uint64_t i = 0; i < count; ++i) MOXIE_TRY_VOID(recode_text(in, version, to));
    return {};
  }
  if (element >= std::size(kScalarBytes) || element == kArrayType) {
    return fail(ErrorCode::unsupported, "{}: holds an array of arrays, which no program writes", in.path());
  }
  MOXIE_TRY(const std::string bytes, in.read_string(count * kScalarBytes[element]));
  to += bytes;
  return {};
}

bool is_of_the_file(std::string_view key) {
  return key == "general.alignment" || key.starts_with("split.") || key.starts_with(pack_keys::kPrefix);
}

// ---- keys of another source ----

constexpr int64_t kAssumedContext = 32768;  // Mixtral's, whose params.json has no such number

std::string model_name(const WeightFiles& source, const ModelPlan& plan) {
  if (!plan.hp.name.empty()) return plan.hp.name;
  std::filesystem::path path = std::filesystem::path(source.path).lexically_normal();
  if (path.has_filename() && path.extension() == ".safetensors") path = path.parent_path();
  if (path.extension() == ".json") path = path.parent_path();
  if (!path.has_filename()) path = path.parent_path();
  const std::string name = path.filename().string();
  return name.empty() || name == "." ? std::string(plan.family->name) : name;
}

uint32_t as_u32(int64_t value) {
  return static_cast<uint32_t>(std::clamp<int64_t>(value, 0, UINT32_MAX));
}

void add_rope_keys(GgufHeaderBuilder& builder, const std::string& prefix, const RopeOptions& rope) {
  builder.u32(prefix + "rope.dimension_count", as_u32(rope.dims));
  builder.f32(prefix + "rope.freq_base", static_cast<float>(rope.base));
  if (rope.scaling != RopeScaling::linear && rope.scaling != RopeScaling::yarn) return;
  const bool yarn = rope.scaling == RopeScaling::yarn;
  builder.text(prefix + "rope.scaling.type", yarn ? "yarn" : "linear");
  builder.f32(prefix + "rope.scaling.factor", static_cast<float>(rope.factor));
  if (!yarn) return;
  builder.u32(prefix + "rope.scaling.original_context_length", as_u32(rope.original_context));
  builder.f32(prefix + "rope.scaling.yarn_beta_fast", static_cast<float>(rope.beta_fast));
  builder.f32(prefix + "rope.scaling.yarn_beta_slow", static_cast<float>(rope.beta_slow));
  // There it is a factor on the usual magnitude.
  if (rope.attention_factor > 0) {
    const double usual = 1 + 0.1 * std::log(std::max(1.0, rope.factor));
    builder.f32(prefix + "rope.scaling.attn_factor", static_cast<float>(rope.attention_factor / usual));
  }
}

void add_expert_keys(GgufHeaderBuilder& builder, const std::string& prefix, const ModelPlan& plan, Log& log) {
  const Hyperparameters& hp = plan.hp;
  if (hp.router.experts == 0) return;
  builder.u32(prefix + "expert_count", as_u32(hp.router.experts));
  builder.u32(prefix + "expert_used_count", as_u32(hp.router.used));
  if (hp.expert_ffn != hp.ffn || plan.family->name == "gpt_oss")
    builder.u32(prefix + "expert_feed_forward_length", as_u32(hp.expert_ffn));
  if (hp.shared_ffn > 0) builder.u32(prefix + "expert_shared_feed_forward_length", as_u32(hp.shared_ffn));
  const bool usual =
      plan.family->name == "mixtral" || plan.family->name == "qwen3_moe" || plan.family->name == "gpt_oss";
  if (hp.router.normalise != usual) {
    builder.boolean(prefix + "expert_weights_norm", hp.router.normalise);
    log.notice(
        fmt::format("the routers' weights are {}, unlike in other models of this family; moxie finds that in the "
                    "file, other programs may not look for it",
                    hp.router.normalise ? "normalised" : "not normalised"));
  }
  if (std::find(hp.moe_layer.begin(), hp.moe_layer.end(), false) != hp.moe_layer.end())
    log.notice("some layers have no experts; other programs may not open the file");
}

void add_window_keys(GgufHeaderBuilder& builder, const std::string& prefix, const ModelPlan& plan, Log& log) {
  const std::vector<int64_t>& window = plan.hp.window;
  const auto largest = std::max_element(window.begin(), window.end());
  if (largest == window.end() || *largest == 0) return;
  builder.u32(prefix + "attention.sliding_window", as_u32(*largest));
  if (plan.family->name == "gpt_oss") return;  // its readers know
  const bool all = std::count(window.begin(), window.end(), *largest) == static_cast<int64_t>(window.size());
  log.notice(
      fmt::format("the model has a sliding window of {} tokens{}; readers of the GGUF file may not look for it, "
                  "and give other answers for longer texts",
                  *largest, all ? "" : " in some layers"));
}

}  // namespace

Result<std::vector<EncodedKey>> source_gguf_keys(const WeightFiles& source) {
  MOXIE_TRY(const FileSource file, FileSource::open(source.files.front().path));
  MOXIE_TRY(const GgufHeader header, read_gguf_header(file));
  std::vector<EncodedKey> keys;
  for (const GgufKeyPlace& place : header.keys) {
    if (is_of_the_file(place.key)) continue;
    std::string value(static_cast<size_t>(place.end - place.value), '\0');
    MOXIE_TRY_VOID(file.read_at(place.value, std::as_writable_bytes(std::span(value))));
    const MemorySource bytes(file.path(), value);
    ByteReader in(bytes);
    MOXIE_TRY_VOID(
        recode_value(in, header.version, keys.emplace_back(EncodedKey{.key = place.key, .value = {}}).value));
  }
  return keys;
}

void add_model_keys(GgufHeaderBuilder& builder, const WeightFiles& source, const ModelPlan& plan, Log& log) {
  const Hyperparameters& hp = plan.hp;
  const std::string arch = gguf_architecture(source, plan), prefix = arch + ".";
  builder.text("general.architecture", arch);
  builder.text("general.type", "model");
  builder.text("general.name", model_name(source, plan));
  builder.u32(prefix + "block_count", as_u32(hp.layers));
  builder.u32(prefix + "context_length", as_u32(hp.trained_context > 0 ? hp.trained_context : kAssumedContext));
  if (hp.trained_context <= 0) {
    log.notice(
        fmt::format("the source does not say for how long texts the model was trained; the file says {} tokens, "
                    "since other programs do not open it without",
                    kAssumedContext));
  }
  builder.u32(prefix + "embedding_length", as_u32(hp.hidden));
  builder.u32(prefix + "feed_forward_length", as_u32(hp.ffn));
  builder.u32(prefix + "attention.head_count", as_u32(hp.heads));
  builder.u32(prefix + "attention.head_count_kv", as_u32(hp.kv_heads));
  builder.u32(prefix + "attention.key_length", as_u32(hp.head_dim));
  builder.u32(prefix + "attention.value_length", as_u32(hp.head_dim));
  builder.f32(prefix + "attention.layer_norm_rms_epsilon", hp.norm_eps);
  if (hp.clamp_qkv > 0) builder.f32(prefix + "attention.clamp_kqv", static_cast<float>(hp.clamp_qkv));
  add_window_keys(builder, prefix, plan, log);
  add_rope_keys(builder, prefix, hp.rope);
  add_expert_keys(builder, prefix, plan, log);
  builder.u32(prefix + "vocab_size", as_u32(hp.vocabulary));
}

}  // namespace moxie
