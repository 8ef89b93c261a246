// Tensor roles and their names. A family lists one row per role, with its name in each naming scheme; "{}" stands for
// the layer.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace moxie {

enum class Role : uint8_t {
  token_embd,
  output_norm,
  output,
  rope_freqs,
  attn_norm,
  attn_q,
  attn_k,
  attn_v,
  attn_output,
  attn_q_norm,
  attn_k_norm,
  ffn_norm,
  ffn_gate,
  ffn_up,
  ffn_down,
  router,
  shared_gate,
  shared_up,
  shared_down,
  shared_router,
  attn_sinks,
  expert_gate_bias,  // a row for each expert, as the two below
  expert_up_bias,
  expert_down_bias,
  count,
};

constexpr bool is_expert_bias(Role role) {
  return role == Role::expert_gate_bias || role == Role::expert_up_bias || role == Role::expert_down_bias;
}

// The sizes a role's dimensions have, by name (Hyperparameters).
enum class Dim : uint8_t {
  one,
  vocabulary,
  hidden,
  q_width,
  kv_width,
  heads,
  head_dim,
  rope_half,
  ffn,
  expert_ffn,
  shared_ffn,
  experts
};

enum class Layers : uint8_t { none, all, dense, moe };  // which layers have the role; none: the model has it once

struct RoleRow {
  Role role;
  std::string_view gguf;          // without ".weight"
  std::string_view hugging_face;  // likewise; empty: the scheme has no such tensor
  Dim rows, columns;              // rows == Dim::one: a vector
  Layers layers = Layers::all;
  bool required = true;
  bool bias = false;   // may come with ".bias" (rows)
  bool exact = false;  // the names are whole: no ".weight" follows
};

// Where a family's experts lie in Hugging Face layouts: "{0}" layer, "{1}" expert. GGUF names are the same for all
// families.
struct ExpertNames {
  std::string_view gate, up, down;  // one tensor per expert
};

// Rows that several families share.
std::span<const RoleRow> common_roles();

}  // namespace moxie
