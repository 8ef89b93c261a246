// Opening files that other programs wrote: PyTorch's safetensors and the gguf package, see tests/data/golden/README.md.
#include "format/weight_file.h"

#include <gtest/gtest.h>

namespace moxie {
namespace {

std::string golden(std::string_view name) {
  return std::string(MOXIE_SOURCE_DIR) + "/tests/data/golden/" + std::string(name);
}

TEST(OpenWeights, ReadsSafetensorsWithItsConfiguration) {
  const auto files = open_weights(golden("mixtral/model.safetensors"));
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(files->format, "safetensors");
  EXPECT_EQ(files->scheme, NameScheme::hugging_face);
  EXPECT_EQ(files->tensors.size(), 65u);
  EXPECT_EQ(files->total_bytes(), 281216u);
  EXPECT_EQ(files->metadata.text("model_type"), "mixtral");
  EXPECT_EQ(files->metadata.integer("num_local_experts"), 8);
  EXPECT_EQ(files->metadata.number("rope_theta"), 1e6);
  EXPECT_FALSE(files->metadata.has("sliding_window"));  // null
  EXPECT_EQ(files->tokenizer.configured_eos_ids, std::vector<int64_t>{2});
  EXPECT_EQ(files->tokenizer.configured_vocab_size, 128);
  const TensorInfo* k = files->find("model.layers.0.self_attn.k_proj.weight");
  ASSERT_NE(k, nullptr);
  EXPECT_EQ(k->shape, (std::vector<int64_t>{32, 64}));
  EXPECT_EQ(k->type->name, "bf16");
  EXPECT_EQ(k->dtype, "BF16");
  EXPECT_EQ(k->bytes, 4096u);
}

TEST(OpenWeights, ReadsShardsThroughTheirIndexAndFromAnyOfThem) {
  for (const char* name : {"mixtral-shards", "mixtral-shards/model.safetensors.index.json",
                           "mixtral-shards/model-00002-of-00003.safetensors"}) {
    const auto files = open_weights(golden(name));
    ASSERT_TRUE(files.ok()) << files.error().message;
    EXPECT_EQ(files->files.size(), 3u);
    EXPECT_EQ(files->tensors.size(), 65u);
    EXPECT_EQ(files->total_bytes(), 281216u);
  }
}

TEST(OpenWeights, ReadsGguf) {
  const auto files = open_weights(golden("mixtral/q8_0.gguf"));
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(files->format, "GGUF v3");
  EXPECT_EQ(files->scheme, NameScheme::gguf);
  EXPECT_EQ(files->metadata.text("general.architecture"), "llama");
  EXPECT_EQ(files->metadata.integer("llama.expert_count"), 8);
  const TensorInfo* down = files->find("blk.1.ffn_down_exps.weight");
  ASSERT_NE(down, nullptr);
  EXPECT_EQ(down->shape, (std::vector<int64_t>{8, 64, 32}));
  EXPECT_EQ(down->dtype, "Q8_0");
  EXPECT_EQ(down->bytes, 8u * 64 * 34);
}

TEST(OpenWeights, ReadsGgufInPartsFromAnyOfThem) {
  for (const char* name : {"llama/f32-00001-of-00002.gguf", "llama/f32-00002-of-00002.gguf"}) {
    const auto files = open_weights(golden(name));
    ASSERT_TRUE(files.ok()) << files.error().message;
    EXPECT_EQ(files->files.size(), 2u);
    EXPECT_EQ(files->tensors.size(), 21u);
    EXPECT_EQ(files->metadata.text("general.architecture"), "llama");
  }
}

}  // namespace
}  // namespace moxie
