#include "format/formats/safetensors_mistral.h"

#include <gtest/gtest.h>

#include "format/config.h"
#include "format/test_files.h"

namespace moxie {
namespace {

using test::TempFolder;

constexpr const char* kParams =
    R"({"dim":64,"n_layers":2,"head_dim":16,"hidden_dim":96,"n_heads":4,"n_kv_heads":2,"norm_eps":1e-05,"vocab_size":128,)"
    R"("sliding_window":null,"max_seq_len":1000,"moe":{"num_experts_per_tok":2,"num_experts":8}})";

std::string file_of(const std::vector<std::string>& names) {
  std::string header = "{";
  for (size_t i = 0; i < names.size(); ++i) {
    header += (i > 0 ? ",\"" : "\"") + names[i] + R"(":{"dtype":"F16","shape":[1],"data_offsets":[)" +
              std::to_string(2 * i) + "," + std::to_string(2 * i + 2) + "]}";
  }
  return test::safetensors(header + "}", 2 * names.size());
}

const std::vector<std::string> kNames = {"tok_embeddings.weight",
                                         "norm.weight",
                                         "output.weight",
                                         "layers.0.attention_norm.weight",
                                         "layers.0.ffn_norm.weight",
                                         "layers.0.attention.wq.weight",
                                         "layers.11.feed_forward.gate.weight",
                                         "layers.11.feed_forward.experts.7.w2.weight",
                                         "layers.0.feed_forward.w3.weight",
                                         "something.else"};

Result<WeightFiles> opened(const std::vector<std::string>& names, const char* params = kParams) {
  const TempFolder folder;
  folder.write("consolidated.safetensors", file_of(names));
  if (params != nullptr) folder.write("params.json", params);
  return open_weights(folder.path());
}

TEST(MistralLayout, NamesAndFacts) {
  const auto files = opened(kNames);
  ASSERT_TRUE(files.ok()) << files.error().message;
  for (const char* name :
       {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight", "model.layers.0.input_layernorm.weight",
        "model.layers.0.post_attention_layernorm.weight", "model.layers.0.self_attn.q_proj.weight",
        "model.layers.11.block_sparse_moe.gate.weight", "model.layers.11.block_sparse_moe.experts.7.w2.weight",
        "model.layers.0.mlp.up_proj.weight", "something.else"}) {
    EXPECT_NE(files->find(name), nullptr) << name;
  }
  EXPECT_EQ(files->tensors.size(), kNames.size());
  const Metadata& md = files->metadata;
  EXPECT_EQ(md.text("model_type"), "mixtral");
  EXPECT_EQ(md.integer("hidden_size"), 64);
  EXPECT_EQ(md.integer("num_local_experts"), 8);
  EXPECT_EQ(md.integer("num_experts_per_tok"), 2);
  EXPECT_EQ(md.integer("max_position_embeddings"), 1000);
  EXPECT_EQ(md.boolean("rope_interleaved"), true);
  EXPECT_FALSE(md.has("sliding_window"));
  const auto again = parse_config(files->config, "config");
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->all(), md.all()) << "the configuration that a pack takes along says the same";
}

TEST(MistralLayout, DenseModelsAreMistrals) {
  const auto config = config_from_params(R"({"dim":64,"n_layers":1,"rope_theta":1000000.0})", "params.json");
  ASSERT_TRUE(config.ok()) << config.error().message;
  const auto md = parse_config(*config, "config").value();
  EXPECT_EQ(md.text("model_type"), "mistral");
  EXPECT_EQ(md.number("rope_theta"), 1e6);
}

TEST(MistralLayout, HuggingFaceComesFirst) {
  const TempFolder folder;
  folder.write("consolidated.safetensors", file_of(kNames));
  folder.write("model.safetensors", file_of({"model.norm.weight"}));
  folder.write("config.json", R"({"model_type":"llama"})");
  const auto files = open_weights(folder.path());
  ASSERT_TRUE(files.ok()) << files.error().message;
  EXPECT_EQ(files->tensors.size(), 1u);
}

TEST(MistralLayout, WhatIsRefused) {
  const auto refused = [](const Result<WeightFiles>& files, ErrorCode code, const std::string& words) {
    ASSERT_FALSE(files.ok()) << words;
    EXPECT_EQ(files.error().code, code) << files.error().message;
    EXPECT_NE(files.error().message.find(words), std::string::npos) << files.error().message;
  };
  refused(opened(kNames, nullptr), ErrorCode::not_found, "params.json is missing");
  refused(opened(kNames, "{"), ErrorCode::corrupt, "params.json");
  refused(opened(kNames, "[]"), ErrorCode::corrupt, "\"dim\" is missing");
  refused(opened(kNames, R"({"dim":64,"yarn":{"factor":4}})"), ErrorCode::unsupported, "yarn");
  auto together = kNames;
  together.push_back("layers.0.block_sparse_moe.w1");  // which has one number here
  refused(opened(together), ErrorCode::corrupt, "rows of 8 experts (num_experts) with 64 numbers each (dim)");
  refused(opened(together, R"({"dim":64,"moe":{"num_experts_per_tok":2}})"), ErrorCode::corrupt,
          "nothing says how many they are: correct \"num_experts\"");
  auto twice = kNames;
  twice.push_back("model.norm.weight");
  refused(opened(twice), ErrorCode::corrupt, "two names");
}

}  // namespace
}  // namespace moxie
