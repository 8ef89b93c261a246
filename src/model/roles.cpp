#include "model/roles.h"

namespace moxie {
namespace {

// Llama's names, which most families took over. A family lists its own rows first; the first row of a role counts.
constexpr RoleRow kCommonRoles[] = {
    {Role::token_embd, "token_embd", "model.embed_tokens", Dim::vocabulary, Dim::hidden, Layers::none},
    {Role::output_norm, "output_norm", "model.norm", Dim::one, Dim::hidden, Layers::none},
    {Role::output, "output", "lm_head", Dim::vocabulary, Dim::hidden, Layers::none, false, true},
    {Role::rope_freqs, "rope_freqs", "", Dim::one, Dim::rope_half, Layers::none, false},
    {Role::attn_norm, "blk.{}.attn_norm", "model.layers.{}.input_layernorm", Dim::one, Dim::hidden},
    {Role::attn_q, "blk.{}.attn_q", "model.layers.{}.self_attn.q_proj", Dim::q_width, Dim::hidden, Layers::all, true,
     true},
    {Role::attn_k, "blk.{}.attn_k", "model.layers.{}.self_attn.k_proj", Dim::kv_width, Dim::hidden, Layers::all, true,
     true},
    {Role::attn_v, "blk.{}.attn_v", "model.layers.{}.self_attn.v_proj", Dim::kv_width, Dim::hidden, Layers::all, true,
     true},
    {Role::attn_output, "blk.{}.attn_output", "model.layers.{}.self_attn.o_proj", Dim::hidden, Dim::q_width,
     Layers::all, true, true},
    {Role::ffn_norm, "blk.{}.ffn_norm", "model.layers.{}.post_attention_layernorm", Dim::one, Dim::hidden},
    {Role::ffn_gate, "blk.{}.ffn_gate", "model.layers.{}.mlp.gate_proj", Dim::ffn, Dim::hidden, Layers::dense, true,
     true},
    {Role::ffn_up, "blk.{}.ffn_up", "model.layers.{}.mlp.up_proj", Dim::ffn, Dim::hidden, Layers::dense, true, true},
    {Role::ffn_down, "blk.{}.ffn_down", "model.layers.{}.mlp.down_proj", Dim::hidden, Dim::ffn, Layers::dense, true,
     true},
    {Role::router, "blk.{}.ffn_gate_inp", "model.layers.{}.mlp.gate", Dim::experts, Dim::hidden, Layers::moe},
};

}  // namespace

std::span<const RoleRow> common_roles() {
  return kCommonRoles;
}

}  // namespace moxie
