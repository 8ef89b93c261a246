// What a name such as "q4_k_m" means: the type of every tensor of a quantized GGUF file. The assignments are
// llama.cpp's, so that files of one name are of one kind and size wherever they were made. Stateless, thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quant/quant_type.h"

namespace moxie {

// Which layers a rule is for; n is the number of layers.
enum class MixtureLayers : uint8_t {
  none,
  all,
  first_two,
  first_four,
  first_sixteenth,
  first_eighth,
  spread  // the first and the last eighth, and every third one between
};

// A tensor of these layers gets `type`, of the others `otherwise`; an empty name is the mixture's base.
struct MixtureRule {
  MixtureLayers layers = MixtureLayers::none;
  std::string_view type, otherwise;
};

struct Mixture {
  std::string_view name;    // "q4_k_m"
  std::string_view base;    // type of all that no rule is for
  int file_type = 0;        // general.file_type
  MixtureRule attn_v;       // few rows, much effect
  MixtureRule attn_v_wide;  // where four or more heads share keys and values, in place of attn_v
  MixtureRule attn_output;
  MixtureRule attn_output_8;  // models of 8 experts, in place of attn_output
  MixtureRule ffn_down;
  MixtureRule ffn_down_informed;  // with an importance matrix, in place of ffn_down
};

std::span<const Mixture> mixtures();
// By name in any case; "q4_k" and the like are their usual mixture. Null: none of that name.
const Mixture* find_mixture(std::string_view name);
std::string mixture_names();  // for messages

// The rules of llama.cpp as they are, or those of December 2023, by which the first files of Mixtral were made: its
// experts then had the base type throughout.
enum class MixtureYear : uint8_t { present, of_2023 };

struct MixtureModel {
  std::string_view architecture;  // of GGUF
  int64_t layers = 0, experts = 0, heads = 0, kv_heads = 0;
  bool tied_output = false;  // the embedding is the output matrix as well
  bool informed = false;     // there is an importance matrix
  MixtureYear year = MixtureYear::present;
};

// Is the tensor one that mixtures give a type at all? Vectors, norms and routers keep theirs.
bool is_quantized_by_mixtures(std::string_view gguf_name, std::span<const int64_t> shape);
// The type of a matrix. REQUIRES: is_quantized_by_mixtures().
const QuantType& mixture_type(const Mixture& mixture, const MixtureModel& model, std::string_view gguf_name,
                              std::span<const int64_t> shape);
// What a matrix gets whose rows do not divide into blocks of `type`; `type` itself where they do.
const QuantType& fitting_type(const QuantType& type, int64_t columns);

}  // namespace moxie
