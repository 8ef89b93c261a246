// make_seeds FOLDER: writes small sound and nearly sound files for the fuzz targets to start from, into FOLDER/TARGET.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>

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

bool write_json(const fs::path& folder) {
  return write(
             folder, "config",
             R"({"model_type":"mixtral","rope_scaling":{"factor":8.0,"x":null},"ids":[1,2],"mixed":[1,0.5,"a",[true]]})") &&
         write(folder, "index",
               R"({"metadata":{"total_size":1},"weight_map":{"a":"x.safetensors","b":"y.safetensors"}})") &&
         write(folder, "escapes",
               R"(["\u00e9\ud83d\ude00\n\"", -0, 1e-5, 18446744073709551615, -9223372036854775808, {}])");
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
                 write_json(folder / "json_config") && write_trace(folder / "trace")
             ? 0
             : 1;
}
