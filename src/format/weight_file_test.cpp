// Opening files that other programs wrote: PyTorch's safetensors and the gguf package, see tests/data/golden/README.md.
#include "format/weight_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "format/test_files.h"
#include "support/paths.h"

namespace moxie {
namespace {

std::string golden(std::string_view name) {
  return source_dir() + "/tests/data/golden/" + std::string(name);
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

// Without such a factor the numbers would be wrong, and nothing would say so.
TEST(OpenWeights, RefusesGgufWithFactorsBesideMatrices) {
  const test::TempFolder folder;
  auto file = test::small_gguf();
  const auto opened = open_weights(folder.write("sound.gguf", file.floats("output_norm.scale.x", {1}).bytes()));
  EXPECT_TRUE(opened.ok()) << opened.error().message;
  const auto scaled = open_weights(folder.write("scaled.gguf", file.floats("token_embd.scale", {1}).bytes()));
  ASSERT_FALSE(scaled.ok());
  EXPECT_EQ(scaled.error().code, ErrorCode::unsupported);
  EXPECT_NE(scaled.error().message.find("'token_embd.scale' multiplies all of 'token_embd.weight'"), std::string::npos)
      << scaled.error().message;
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

TEST(OpenWeights, FolderWithBothTakesTheGgufAndSaysSo) {
  const auto files = open_weights(golden("qwen2"));
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(files->format, "GGUF v3");
  ASSERT_EQ(files->notices.size(), 1u);
  EXPECT_THAT(files->notices[0], testing::HasSubstr("holds safetensors too; the gguf is used"));
}

TEST(OpenWeights, StackedExpertsAreOneTensorALayer) {
  const auto files = open_weights(golden("mixtral-stacked"));
  ASSERT_TRUE(files.ok()) << files.error().message;
  const TensorInfo* down = files->find("model.layers.1.mlp.experts.down_proj");
  ASSERT_NE(down, nullptr);
  EXPECT_EQ(down->shape, (std::vector<int64_t>{8, 64, 32}));
}

TEST(WeightFiles, NearestNamesAreFound) {
  const auto files = open_weights(golden("mixtral/split.gguf"));
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(files->nearest("blk.1.attn_outptu.weight"), "blk.1.attn_output.weight");
  EXPECT_THAT(files->nearest("blk.1.ffn_down_exps.weight"),
              testing::MatchesRegex("blk\\.1\\.ffn_down\\.[0-7]\\.weight"));
  EXPECT_EQ(files->nearest("model.embed_tokens.weight.scales"), "");
}

// Vocabularies that llama.cpp ships for its own tests: files without tensors.
TEST(OpenWeights, ReadsVocabularies) {
  const char* data = std::getenv("MOXIE_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "MOXIE_TEST_DATA is not set";
  const std::string folder = std::string(data) + "/tokenizers/gguf-vocab/";
  const auto phi = open_weights(folder + "ggml-vocab-phi-3.gguf");
  ASSERT_TRUE(phi.ok()) << phi.error().message;
  EXPECT_TRUE(phi->tensors.empty());
  ASSERT_TRUE(phi->tokenizer.gguf.has_value());
  const GgufVocabulary& spm = *phi->tokenizer.gguf;
  EXPECT_EQ(spm.model, "llama");
  EXPECT_EQ(spm.tokens.size(), 32064u);
  EXPECT_EQ(spm.scores.size(), 32064u);
  EXPECT_EQ(spm.types.size(), 32064u);
  EXPECT_EQ(spm.tokens[1], "<s>");
  EXPECT_EQ(spm.special_ids.at("bos"), 1);
  const auto gpt2 = open_weights(folder + "ggml-vocab-gpt-2.gguf");
  ASSERT_TRUE(gpt2.ok()) << gpt2.error().message;
  const GgufVocabulary& bpe = *gpt2->tokenizer.gguf;
  EXPECT_EQ(bpe.model, "gpt2");
  EXPECT_EQ(bpe.tokens.size(), 50257u);
  EXPECT_EQ(bpe.merges.size(), 50000u);
  EXPECT_EQ(bpe.merges[0], "\xC4\xA0 t");
}

}  // namespace
}  // namespace moxie
