// One layer of real shape, so that rows span many blocks: hidden 4096, FFN 3584, heads of 128, eight experts, 128
// tokens.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "golden/gguf_writer.h"

namespace moxie::golden {

// Every type that an expert can be of.
inline std::vector<const QuantType*> expert_types() {
  std::vector<const QuantType*> types;
  for (const QuantType* type : quant_types()) {
    if (type->encode != nullptr && type->native && type->name != "f32") types.push_back(type);
  }
  return types;
}

// Each expert is of other weight types than the next.
inline void write_real_shape(const std::filesystem::path& path, const std::vector<const QuantType*>& types) {
  const auto type = [&](size_t i) -> const QuantType& { return *types[i % types.size()]; };
  GgufWriter writer;
  writer.set("general.architecture", std::string("llama"));
  writer.set("llama.block_count", 1u);
  writer.set("llama.context_length", 512u);
  writer.set("llama.embedding_length", 4096u);
  writer.set("llama.feed_forward_length", 3584u);
  writer.set("llama.attention.head_count", 32u);
  writer.set("llama.attention.head_count_kv", 8u);
  writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  writer.set("llama.rope.freq_base", 1e6f);
  writer.set("llama.expert_count", 8u);
  writer.set("llama.expert_used_count", 2u);
  const QuantType& f32 = *find_quant_type("f32");
  writer.add_random("token_embd.weight", *find_quant_type("q8_0"), {128, 4096}, 64, 1);
  writer.add_random("output.weight", type(0), {128, 4096}, 1, 2);
  writer.add_ones("output_norm.weight", 4096);
  writer.add_ones("blk.0.attn_norm.weight", 4096);
  writer.add_ones("blk.0.ffn_norm.weight", 4096);
  writer.add_random("blk.0.attn_q.weight", type(1), {4096, 4096}, 1, 3);
  writer.add_random("blk.0.attn_k.weight", type(2), {1024, 4096}, 1, 4);
  writer.add_random("blk.0.attn_v.weight", type(3), {1024, 4096}, 1, 5);
  writer.add_random("blk.0.attn_output.weight", type(4), {4096, 4096}, 1, 6);
  writer.add_random("blk.0.ffn_gate_inp.weight", f32, {8, 4096}, 1, 7);
  for (size_t e = 0; e < 8; ++e) {
    const std::string suffix = "." + std::to_string(e) + ".weight";
    writer.add_random("blk.0.ffn_gate" + suffix, type(e), {3584, 4096}, 1, static_cast<uint32_t>(10 + e));
    writer.add_random("blk.0.ffn_up" + suffix, type(e + 4), {3584, 4096}, 1, static_cast<uint32_t>(20 + e));
    writer.add_random("blk.0.ffn_down" + suffix, type(e + 8), {4096, 3584}, 1, static_cast<uint32_t>(30 + e));
  }
  writer.write(path);
}

}  // namespace moxie::golden
