// make_seeds FOLDER: writes small sound and nearly sound files for the fuzz targets to start from, into FOLDER/TARGET.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "format/test_files.h"

namespace fs = std::filesystem;
using namespace moxie::test;

namespace {

bool write(const fs::path& folder, std::string_view name, std::string_view bytes) {
  std::error_code error;
  fs::create_directories(folder, error);
  std::ofstream out(folder / name, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return out.good();
}

bool write_gguf(const fs::path& folder) {
  bool ok = true;
  for (const uint32_t version : {1u, 2u, 3u}) {
    ok = write(folder, "small-v" + std::to_string(version), small_gguf(version).bytes()) && ok;
  }
  GgufWriter split, blocks, values;
  split.split(1, 3, 7).floats("blk.0.ffn_gate.0.weight", {8});
  for (const uint32_t type : {1u, 2u, 8u, 12u, 16u, 30u, 39u, 4u, 139u}) {
    blocks.tensors.push_back(
        {.name = "blk." + std::to_string(type) + ".w", .dims = {256, 2, 1, 1}, .type = type, .bytes = 64});
  }
  values.u32("general.alignment", 64).number<double>("f64", 12, 1e300).number<uint64_t>("u64", 10, UINT64_MAX);
  values.numbers<uint8_t>("flags", 7, {1, 0}).numbers<uint64_t>("sizes", 10, {1, 2}).texts("words", {"a", ""});
  return write(folder, "split", split.bytes()) && write(folder, "blocks", blocks.bytes()) &&
         write(folder, "values", values.bytes()) && ok;
}

bool write_pack(const fs::path& folder) {
  return write(folder, "gguf", small_pack("gguf").bytes()) &&
         write(folder, "hugging_face", small_pack("hugging_face").bytes());
}

bool write_safetensors(const fs::path& folder) {
  return write(folder, "small", small_safetensors()) && write(folder, "empty", safetensors("{}", 0)) &&
         write(folder, "scalar", safetensors(R"({"a":{"dtype":"F6_E2M3","shape":[4,0,1],"data_offsets":[0,0]}})", 0)) &&
         write(folder, "quantized",
               safetensors(R"({"p.weight":{"dtype":"U32","shape":[1],"data_offsets":[0,4]},)"
                           R"("p.scales":{"dtype":"F16","shape":[],"data_offsets":[4,6]}})",
                           6));
}

// One tensor of a header: name, dtype, shape, bytes of data.
struct Entry {
  std::string name, dtype, shape;
  std::string data;
};
// A line of configuration, then a file of these tensors.
std::string quantized(std::string_view config, const std::vector<Entry>& entries) {
  std::string header, data;
  for (const Entry& entry : entries) {
    header += (header.empty() ? "{\"" : ",\"") + entry.name + R"(":{"dtype":")" + entry.dtype + R"(","shape":[)" +
              entry.shape + R"(],"data_offsets":[)" + std::to_string(data.size());
    data += entry.data;
    header += "," + std::to_string(data.size()) + "]}";
  }
  std::string out(config);
  out += '\n';
  put<uint64_t>(out, header.size() + 1);
  return out + header + "}" + data;
}

bool write_quantized(const fs::path& folder) {
  const auto zeros = [](size_t count) { return std::string(count, '\0'); };
  const std::string state = R"({"blocksize":64,"shape":[2,32],"nested_blocksize":256,"nested_offset":0.5})";
  std::string shape;
  for (const int64_t number : {2, 32}) put<int64_t>(shape, number);
  return write(folder, "mlx",
               quantized(R"({"quantization":{"bits":4,"group_size":32}})", {{"p.weight", "U32", "2,4", zeros(32)},
                                                                            {"p.scales", "F16", "2,1", zeros(4)},
                                                                            {"p.biases", "F16", "2,1", zeros(4)}})) &&
         write(folder, "mxfp4",
               quantized("{}", {{"p.weight", "U32", "2,4", zeros(32)}, {"p.scales", "U8", "2,1", "ab"}})) &&
         write(folder, "gptq",
               quantized("{}", {{"p.qweight", "I32", "4,8", zeros(128)},
                                {"p.qzeros", "I32", "1,1", zeros(4)},
                                {"p.scales", "F16", "1,8", zeros(16)},
                                {"p.g_idx", "I32", "32", zeros(128)}})) &&
         write(folder, "awq",
               quantized("{}", {{"p.qweight", "I32", "32,1", zeros(128)},
                                {"p.qzeros", "I32", "1,1", zeros(4)},
                                {"p.scales", "F16", "1,8", zeros(16)}})) &&
         write(folder, "nf4",
               quantized("{}",
                         {{"p.weight", "U8", "32,1", zeros(32)},
                          {"p.weight.absmax", "U8", "1", "a"},
                          {"p.weight.quant_map", "F32", "16", zeros(64)},
                          {"p.weight.nested_absmax", "F32", "1", zeros(4)},
                          {"p.weight.nested_quant_map", "F32", "256", zeros(1024)},
                          {"p.weight.quant_state.bitsandbytes__nf4", "U8", std::to_string(state.size()), state}})) &&
         write(folder, "int8",
               quantized("{}", {{"p.weight", "I8", "2,32", zeros(64)},
                                {"p.SCB", "F32", "2", zeros(8)},
                                {"p.weight_format", "U8", "", zeros(1)}})) &&
         write(folder, "fp8",
               quantized(
                   R"({"quantization_config":{"weight_block_size":[2,16]}})",
                   {{"p.weight", "F8_E4M3", "3,32", zeros(96)}, {"p.weight_scale_inv", "F32", "2,2", zeros(16)}})) &&
         write(folder, "packed",
               quantized("{}", {{"p.weight_packed", "I32", "2,4", zeros(32)},
                                {"p.weight_scale", "BF16", "2,1", zeros(4)},
                                {"p.weight_zero_point", "I32", "1,1", zeros(4)},
                                {"p.weight_shape", "I64", "2", shape}})) &&
         write(folder, "gpt-oss",
               quantized("{}", {{"p.experts.gate_up_proj_blocks", "U8", "2,4,1,16", zeros(128)},
                                {"p.experts.gate_up_proj_scales", "U8", "2,4,1", zeros(8)},
                                {"p.experts.gate_up_proj_bias", "BF16", "2,4", zeros(16)},
                                {"p.experts.down_proj_blocks", "U8", "2,32,1,16", zeros(1024)},
                                {"p.experts.down_proj_scales", "U8", "2,32,1", zeros(64)},
                                {"p.experts.down_proj_bias", "F32", "2,32", zeros(256)}})) &&
         write(folder, "gpt-oss-transposed",
               quantized(R"({"model_type":"gpt_oss"})", {{"p.experts.gate_up_proj", "BF16", "2,3,4", zeros(48)},
                                                         {"p.experts.gate_up_proj_bias", "F16", "2,4", zeros(16)},
                                                         {"p.experts.down_proj", "F32", "2,2,3", zeros(48)},
                                                         {"p.experts.down_proj_bias", "F32", "2,3", zeros(24)}})) &&
         write(folder, "rows-of-experts",
               quantized(R"({"num_local_experts":2,"hidden_size":4})",
                         {{"model.layers.0.block_sparse_moe.w1", "BF16", "6,4", zeros(48)},
                          {"model.layers.0.block_sparse_moe.w2", "BF16", "6,4", zeros(48)},
                          {"model.layers.0.block_sparse_moe.w3.weight", "F32", "6,4", zeros(96)}}));
}

bool write_json(const fs::path& folder) {
  return write(
             folder, "config",
             R"({"model_type":"mixtral","rope_scaling":{"factor":8.0,"x":null},"ids":[1,2],"mixed":[1,0.5,"a",[true]]})") &&
         write(folder, "index",
               R"({"metadata":{"total_size":1},"weight_map":{"a":"x.safetensors","b":"y.safetensors"}})") &&
         write(folder, "escapes",
               R"(["\u00e9\ud83d\ude00\n\"", -0, 1e-5, 18446744073709551615, -9223372036854775808, {}])");
}

bool write_grammar(const fs::path& folder) {
  const std::string_view gbnf =
      "root ::= object # json\nobject ::= \"{\" (pair (\",\" pair){0,3})? \"}\"\npair ::= [a-z]+ \":\" (object | "
      "[0-9]*)\n";
  const std::string_view schema =
      R"({"$defs":{"node":{"type":"object","properties":{"next":{"$ref":"#/$defs/node"},"n":{"type":"integer","minimum":-3,)"
      R"("maximum":700}},"required":["n"],"additionalProperties":false}},"anyOf":[{"$ref":"#/$defs/node"},{"type":"array",)"
      R"("prefixItems":[{"enum":["a",1,null]}],"items":{"type":"string","pattern":"^a|b$","maxLength":9}},{"not":{"type":"object"}}]})";
  return write(folder, "gbnf", std::string(1, '\0') + std::string(gbnf)) &&
         write(folder, "schema", std::string(1, '\1') + std::string(schema)) &&
         write(folder, "regex", std::string(1, '\2') + R"(^(?:[a-z]\d{2,3}|\u00e9+?)*(x|y)$)");
}

bool write_importance(const fs::path& folder) {
  std::string older;
  put<int32_t>(older, 1);
  put<int32_t>(older, 19);
  older += "blk.0.attn_q.weight";
  put<int32_t>(older, 4);
  put<int32_t>(older, 2);
  put<float>(older, 8);
  put<float>(older, 2);
  put<int32_t>(older, 17);
  put<int32_t>(older, 3);
  older += "txt";
  GgufWriter sums;
  sums.texts("imatrix.datasets", {"txt"}).u32("imatrix.chunk_count", 1).u32("imatrix.chunk_size", 512);
  sums.floats("blk.0.ffn_up_exps.weight.in_sum2", {2, 3}).floats("blk.0.ffn_up_exps.weight.counts", {1, 3});
  return write(folder, "older", older) && write(folder, "gguf", sums.bytes());
}

bool write_ollama(const fs::path& folder) {
  const std::string digest = "sha256:" + std::string(64, 'a');
  return write(folder, "manifest",
               R"({"schemaVersion":2,"config":{"digest":")" + digest + R"(","size":3},"layers":[{"mediaType":)" +
                   R"("application/vnd.ollama.image.model","digest":")" + digest + R"(","size":7},{"mediaType":)" +
                   R"("application/vnd.ollama.image.template","digest":")" + digest + R"(","size":9}]})");
}

bool write_params(const fs::path& folder) {
  return write(folder, "mixtral",
               R"({"dim":64,"n_layers":2,"head_dim":16,"hidden_dim":32,"n_heads":4,"n_kv_heads":2,"norm_eps":1e-05,)"
               R"("vocab_size":128,"rope_theta":1000000.0,"moe":{"num_experts_per_tok":2,"num_experts":8}})") &&
         write(folder, "dense",
               R"({"dim":64,"n_layers":2,"head_dim":16,"hidden_dim":32,"n_heads":4,"n_kv_heads":2,"norm_eps":1e-05,)"
               R"("vocab_size":128,"sliding_window":16,"max_seq_len":256,"yarn":{"factor":4.0}})");
}

bool write_hub(const fs::path& folder) {
  return write(
             folder, "listing",
             R"({"sha":"0123456789abcdef0123456789abcdef01234567","siblings":[{"rfilename":"m.Q4_K_M.gguf","size":20},)"
             R"({"rfilename":"a-Q8_0-00001-of-00002.gguf"},{"rfilename":"model.safetensors","size":9}]})") &&
         write(folder, "range", "bytes 5-9/20\n") &&
         write(folder, "reference", "hf:org/name@refs/pr/1:sub/[!a-c]*?.gguf\nsub/x1.gguf") &&
         write(folder, "page", "https://huggingface.co/org/name/blob/main/x.gguf?download=true\n") &&
         write(folder, "pattern", "*Q4_K*gguf\nm.Q4_K_M.gguf") && write(folder, "retry", "120\n");
}

bool write_trace(const fs::path& folder) {
  return write(folder, "own",
               "# moxie-trace 1 layers=2 experts=8 top_k=2\n0\tp\t0\t0,3,5\n0\tp\t1\t1,2\n0\td\t0\t5,3\n0\td\t1\t2,1\n"
               "1\td\t0\t7,0\n1\td\t1\t2,6\n2\td\t0\t3,7\n2\td\t1\t4,2\n") &&
         write(folder, "groups",
               "# model=m layers=2 experts=32 top_k=4 phase=decode\nvlm6 itcr\t\"a\"\n4539 js51\t\"b\"\nv5m3 "
               "sitr\t\"\"\n") &&
         write(folder, "cells",
               "# model=m (fp8) layers=2 experts=8 top_k=2 alignment=exact\np 52:778 43:990\np 57:587 ..:...\n"
               "d 70:800 36:858\nd 56:768 60:763\nd ..:... 56:1000\n");
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "usage: make_seeds FOLDER\n";
    return 2;
  }
  const fs::path folder = arguments[1];
  return write_gguf(folder / "gguf") && write_pack(folder / "pack") && write_safetensors(folder / "safetensors") &&
                 write_quantized(folder / "quantized") && write_json(folder / "json_config") &&
                 write_trace(folder / "trace") && write_grammar(folder / "grammar") && write_hub(folder / "hub") &&
                 write_importance(folder / "importance") && write_ollama(folder / "ollama") &&
                 write_params(folder / "params")
             ? 0
             : 1;
}
