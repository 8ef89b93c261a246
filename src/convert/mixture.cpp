#include "convert/mixture.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include "core/ascii.h"
#include "core/check.h"

namespace moxie {
namespace {

using L = MixtureLayers;

constexpr std::array kMixtures = {
    Mixture{.name = "f32", .base = "f32", .file_type = 0},
    Mixture{.name = "f16", .base = "f16", .file_type = 1},
    Mixture{.name = "bf16", .base = "bf16", .file_type = 32},
    Mixture{.name = "q8_0", .base = "q8_0", .file_type = 7},
    Mixture{.name = "q4_0", .base = "q4_0", .file_type = 2, .ffn_down_informed = {L::first_eighth, "q4_1", {}}},
    Mixture{.name = "q4_1", .base = "q4_1", .file_type = 3},
    Mixture{.name = "q5_0", .base = "q5_0", .file_type = 8, .ffn_down_informed = {L::first_eighth, "q5_1", {}}},
    Mixture{.name = "q5_1", .base = "q5_1", .file_type = 9},
    Mixture{.name = "iq4_nl",
            .base = "iq4_nl",
            .file_type = 25,
            .attn_v_wide = {L::all, "q5_k", {}},
            .attn_output_8 = {L::all, "q5_k", {}},
            .ffn_down = {L::first_eighth, "q5_k", {}}},
    Mixture{.name = "iq4_xs",
            .base = "iq4_xs",
            .file_type = 30,
            .attn_v_wide = {L::all, "q5_k", {}},
            .attn_output_8 = {L::all, "q5_k", {}},
            .ffn_down = {L::first_eighth, "q5_k", {}}},
    Mixture{.name = "q2_k",
            .base = "q2_k",
            .file_type = 10,
            .attn_v = {L::all, "q3_k", {}},
            .attn_v_wide = {L::all, "q4_k", {}},
            .attn_output = {L::all, "q3_k", {}},
            .attn_output_8 = {L::all, "q5_k", {}},
            .ffn_down = {L::all, "q3_k", {}},
            .ffn_down_informed = {L::all, "q3_k", {}}},
    Mixture{.name = "q3_k_s", .base = "q3_k", .file_type = 11, .attn_output_8 = {L::all, "q5_k", {}}},
    Mixture{.name = "q3_k_m",
            .base = "q3_k",
            .file_type = 12,
            .attn_v = {L::first_two, "q5_k", "q4_k"},
            .attn_output = {L::all, "q4_k", {}},
            .attn_output_8 = {L::all, "q5_k", {}},
            .ffn_down = {L::first_sixteenth, "q5_k", "q4_k"},
            .ffn_down_informed = {L::first_sixteenth, "q5_k", "q4_k"}},
    Mixture{.name = "q3_k_l",
            .base = "q3_k",
            .file_type = 13,
            .attn_v = {L::all, "q5_k", {}},
            .attn_output = {L::all, "q5_k", {}},
            .ffn_down = {L::all, "q5_k", {}},
            .ffn_down_informed = {L::all, "q5_k", {}}},
    Mixture{.name = "q4_k_s",
            .base = "q4_k",
            .file_type = 14,
            .attn_v = {L::first_four, "q5_k", {}},
            .attn_output_8 = {L::all, "q5_k", {}},
            .ffn_down = {L::first_eighth, "q5_k", {}},
            .ffn_down_informed = {L::first_eighth, "q5_k", {}}},
    Mixture{.name = "q4_k_m",
            .base = "q4_k",
            .file_type = 15,
            .attn_v = {L::spread, "q6_k", {}},
            .attn_output_8 = {L::all, "q5_k", {}},
            .ffn_down = {L::spread, "q6_k", {}},
            .ffn_down_informed = {L::spread, "q6_k", {}}},
    Mixture{.name = "q5_k_s", .base = "q5_k", .file_type = 16},
    Mixture{.name = "q5_k_m",
            .base = "q5_k",
            .file_type = 17,
            .attn_v = {L::spread, "q6_k", {}},
            .ffn_down = {L::spread, "q6_k", {}},
            .ffn_down_informed = {L::spread, "q6_k", {}}},
    Mixture{.name = "q6_k", .base = "q6_k", .file_type = 18},
};

// Short names that people type.
struct ShortName {
  std::string_view name, mixture;
};
constexpr ShortName kShortNames[] = {{"q3_k", "q3_k_m"}, {"q4_k", "q4_k_m"}, {"q5_k", "q5_k_m"}};

// What a type of long blocks gives way to where a row does not divide into them.
struct Narrower {
  std::string_view type, instead;
};
constexpr Narrower kNarrower[] = {{"iq4_xs", "iq4_nl"}, {"q2_k", "q4_0"}, {"q3_k", "q4_0"},
                                  {"q4_k", "q5_0"},     {"q5_k", "q5_1"}, {"q6_k", "q8_0"}};

const QuantType& type_named(std::string_view name) {
  const QuantType* type = find_quant_type(name);
  MOXIE_CHECK(type != nullptr);
  return *type;
}

bool is_among(MixtureLayers layers, int64_t layer, int64_t count) {
  switch (layers) {
    case L::none:
      return false;
    case L::all:
      return true;
    case L::first_two:
      return layer < 2;
    case L::first_four:
      return layer < 4;
    case L::first_sixteenth:
      return layer < count / 16;
    case L::first_eighth:
      return layer < count / 8;
    case L::spread:
      return layer < count / 8 || layer >= 7 * count / 8 || (layer - count / 8) % 3 == 2;
  }
  return false;
}

std::string_view apply(const MixtureRule& rule, int64_t layer, int64_t count, std::string_view base) {
  const std::string_view type = is_among(rule.layers, layer, count) ? rule.type : rule.otherwise;
  return type.empty() ? base : type;
}

// The number behind "blk."; 0 where there is none.
int64_t layer_of(std::string_view name) {
  int64_t layer = 0;
  if (name.starts_with("blk.")) std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  return layer;
}

bool is_of_expert(std::string_view name) {
  if (name.find("_exps.") != std::string_view::npos) return true;
  const size_t part = name.find(".ffn_");
  if (part == std::string_view::npos) return false;
  const size_t dot = name.find('.', part + 1);
  return dot + 1 < name.size() && std::isdigit(static_cast<unsigned char>(name[dot + 1])) != 0;
}

std::string_view attn_v_type(const Mixture& mixture, const MixtureModel& model, int64_t layer) {
  if (model.experts == 8) return "q8_0";
  const bool wide = model.kv_heads > 0 && model.heads / model.kv_heads >= 4;
  const MixtureRule& rule = wide && mixture.attn_v_wide.layers != L::none ? mixture.attn_v_wide : mixture.attn_v;
  const std::string_view type = apply(rule, layer, model.layers, mixture.base);
  // Llama 2 70B and its like: eight heads share a value, whose matrix is small.
  const bool as_70b = model.architecture == "llama" && model.layers == 80 && model.heads != model.kv_heads;
  return as_70b && (type == "q3_k" || type == "q4_k") ? "q5_k" : type;
}

std::string_view ffn_down_type(const Mixture& mixture, const MixtureModel& model, std::string_view name) {
  // The quantizer of 2023 did not recognise the experts' names.
  if (model.year == MixtureYear::of_2023 && is_of_expert(name)) return mixture.base;
  const MixtureRule& rule = model.informed ? mixture.ffn_down_informed : mixture.ffn_down;
  return apply(rule, layer_of(name), model.layers, mixture.base);
}

bool is_float(std::string_view type) {
  return type == "f32" || type == "f16" || type == "bf16";
}

std::string_view rule_type(const Mixture& mixture, const MixtureModel& model, std::string_view name,
                           std::span<const int64_t> shape) {
  const auto holds = [&](std::string_view part) { return name.find(part) != std::string_view::npos; };
  if (is_float(mixture.base)) return mixture.base;
  if (name == "output.weight" || (model.tied_output && name == "token_embd.weight")) {
    const bool fits = shape.back() % type_named(mixture.base).block_values == 0;
    return mixture.base == "q8_0" || !fits ? "q8_0" : "q6_k";
  }
  const int64_t layer = layer_of(name);
  if (holds("attn_v.weight")) return attn_v_type(mixture, model, layer);
  if (holds("attn_k.weight")) return model.experts == 8 ? "q8_0" : mixture.base;
  if (holds("attn_output.weight")) {
    const bool eight = model.experts == 8 && model.year == MixtureYear::present;
    return apply(eight ? mixture.attn_output_8 : mixture.attn_output, layer, model.layers, mixture.base);
  }
  if (holds("ffn_down")) return ffn_down_type(mixture, model, name);
  return mixture.base;
}

}  // namespace

std::span<const Mixture> mixtures() {
  return kMixtures;
}

const Mixture* find_mixture(std::string_view name) {
  std::string wanted = ascii_lower(name);
  for (const ShortName& known : kShortNames) {
    if (wanted == known.name) wanted = known.mixture;
  }
  const auto found =
      std::find_if(kMixtures.begin(), kMixtures.end(), [&](const Mixture& mixture) { return mixture.name == wanted; });
  return found == kMixtures.end() ? nullptr : &*found;
}

std::string mixture_names() {
  std::string names;
  for (const Mixture& mixture : kMixtures) names.append(names.empty() ? "" : ", ").append(mixture.name);
  return names;
}

bool is_quantized_by_mixtures(std::string_view name, std::span<const int64_t> shape) {
  // A dimension of one at the outer end is none.
  size_t dimensions = shape.size();
  for (size_t i = 0; i < shape.size() && dimensions > 1 && shape[i] == 1; ++i) --dimensions;
  return dimensions >= 2 && name.ends_with("weight") && name.find("_norm.weight") == std::string_view::npos &&
         name.find("ffn_gate_inp.weight") == std::string_view::npos;
}

const QuantType& mixture_type(const Mixture& mixture, const MixtureModel& model, std::string_view name,
                              std::span<const int64_t> shape) {
  return fitting_type(type_named(rule_type(mixture, model, name, shape)), shape.back());
}

const QuantType& fitting_type(const QuantType& type, int64_t columns) {
  if (columns % type.block_values == 0) return type;
  for (const Narrower& narrower : kNarrower) {
    if (type.name != narrower.type) continue;
    const QuantType& instead = type_named(narrower.instead);
    if (columns % instead.block_values == 0) return instead;
  }
  return type_named("f16");
}

}  // namespace moxie
