// Which type every tensor gets: sizes of whole files against published ones, and the rules one by one.
#include "convert/mixture.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cmath>

namespace moxie {
namespace {

struct Named {
  std::string name;
  std::vector<int64_t> shape;
};

// Mixtral 8x7B, its experts merged.
std::vector<Named> mixtral_tensors() {
  std::vector<Named> all = {{"token_embd.weight", {32000, 4096}}, {"output.weight", {32000, 4096}}};
  for (int layer = 0; layer < 32; ++layer) {
    const auto add = [&](const char* name, std::vector<int64_t> shape) {
      all.push_back({fmt::format("blk.{}.{}.weight", layer, name), std::move(shape)});
    };
    add("attn_q", {4096, 4096});
    add("attn_k", {1024, 4096});
    add("attn_v", {1024, 4096});
    add("attn_output", {4096, 4096});
    add("ffn_gate_exps", {8, 14336, 4096});
    add("ffn_up_exps", {8, 14336, 4096});
    add("ffn_down_exps", {8, 4096, 14336});
  }
  return all;
}

const MixtureModel kMixtral = {.architecture = "llama", .layers = 32, .experts = 8, .heads = 32, .kv_heads = 8};

double gigabytes(const char* name, MixtureYear year) {
  MixtureModel model = kMixtral;
  model.year = year;
  // Norms and routers, as F32; the vocabulary and the other keys.
  int64_t bytes = 4 * (65 * 4096 + 32 * 8 * 4096) + 750'000;
  for (const Named& tensor : mixtral_tensors()) {
    const QuantType& type = mixture_type(*find_mixture(name), model, tensor.name, tensor.shape);
    int64_t elements = 1;
    for (const int64_t size : tensor.shape) elements *= size;
    bytes += type.row_bytes(elements);
  }
  return static_cast<double>(bytes) / 1e9;
}

TEST(Mixture, SizesOfMixtralAreThePublishedOnes) {
  for (const auto& [name, published] : {std::pair{"q4_0", 26.44}, {"q5_0", 32.23}, {"q6_k", 38.38}, {"q8_0", 49.62}}) {
    EXPECT_NEAR(gigabytes(name, MixtureYear::present), published, 0.01 * published) << name;
  }
  for (const auto& [name, published] : {std::pair{"q2_k", 15.64},
                                        {"q3_k_m", 20.36},
                                        {"q4_0", 26.44},
                                        {"q4_k_m", 26.44},
                                        {"q5_0", 32.23},
                                        {"q5_k_m", 32.23},
                                        {"q6_k", 38.38},
                                        {"q8_0", 49.62}}) {
    EXPECT_NEAR(gigabytes(name, MixtureYear::of_2023), published, 0.0015 * published) << name;
  }
}

std::string type_of(const char* mixture, const MixtureModel& model, const char* name,
                    std::vector<int64_t> shape = {256, 256}) {
  return std::string(mixture_type(*find_mixture(mixture), model, name, shape).name);
}

TEST(Mixture, EightExpertsHaveRulesOfTheirOwn) {
  MixtureModel model = kMixtral;
  EXPECT_EQ(type_of("q4_k_m", model, "blk.5.attn_v.weight"), "q8_0");
  EXPECT_EQ(type_of("q2_k", model, "blk.5.attn_k.weight"), "q8_0");
  EXPECT_EQ(type_of("q2_k", model, "blk.5.attn_output.weight"), "q5_k");
  EXPECT_EQ(type_of("q3_k_l", model, "blk.5.attn_output.weight"), "q3_k");
  model.experts = 16;
  EXPECT_EQ(type_of("q2_k", model, "blk.5.attn_k.weight"), "q2_k");
  EXPECT_EQ(type_of("q2_k", model, "blk.5.attn_output.weight"), "q3_k");
  EXPECT_EQ(type_of("q2_k", model, "blk.5.attn_v.weight"), "q4_k") << "four heads share a key";
  model.kv_heads = 32;
  EXPECT_EQ(type_of("q2_k", model, "blk.5.attn_v.weight"), "q3_k");
  model.experts = 8;
  model.year = MixtureYear::of_2023;
  EXPECT_EQ(type_of("q2_k", model, "blk.5.attn_output.weight"), "q3_k");
}

TEST(Mixture, LayersGetMoreBitsAtBothEndsAndBetween) {
  MixtureModel model = kMixtral;
  std::string bumped;
  for (int layer = 0; layer < 32; ++layer) {
    const std::string name = fmt::format("blk.{}.ffn_down_exps.weight", layer);
    bumped += type_of("q4_k_m", model, name.c_str()) == "q6_k" ? '6' : '4';
  }
  EXPECT_EQ(bumped, "66664464464464464464464464466666");
  EXPECT_EQ(type_of("q3_k_m", model, "blk.1.ffn_down.7.weight"), "q5_k");
  EXPECT_EQ(type_of("q3_k_m", model, "blk.2.ffn_down.7.weight"), "q4_k");
  EXPECT_EQ(type_of("q4_k_s", model, "blk.3.ffn_down_exps.weight"), "q5_k");
  EXPECT_EQ(type_of("q4_k_s", model, "blk.4.ffn_down_exps.weight"), "q4_k");
  model.year = MixtureYear::of_2023;
  EXPECT_EQ(type_of("q4_k_m", model, "blk.0.ffn_down.7.weight"), "q4_k");
  EXPECT_EQ(type_of("q4_k_m", model, "blk.0.ffn_down.weight"), "q6_k") << "dense";
}

TEST(Mixture, ImportanceChangesSomeRules) {
  MixtureModel model = kMixtral;
  EXPECT_EQ(type_of("q4_0", model, "blk.0.ffn_down_exps.weight"), "q4_0");
  EXPECT_EQ(type_of("iq4_nl", model, "blk.0.ffn_down_exps.weight"), "q5_k");
  model.informed = true;
  EXPECT_EQ(type_of("q4_0", model, "blk.0.ffn_down_exps.weight"), "q4_1");
  EXPECT_EQ(type_of("q4_0", model, "blk.4.ffn_down_exps.weight"), "q4_0");
  EXPECT_EQ(type_of("iq4_nl", model, "blk.0.ffn_down_exps.weight"), "iq4_nl");
  EXPECT_EQ(type_of("q4_k_m", model, "blk.0.ffn_down_exps.weight"), "q6_k");
}

TEST(Mixture, NarrowRowsGetTypesOfShorterBlocks) {
  const MixtureModel model = kMixtral;
  EXPECT_EQ(type_of("q4_k_s", model, "blk.9.attn_q.weight", {64, 96}), "q5_0");
  EXPECT_EQ(type_of("q5_k_s", model, "blk.9.attn_q.weight", {64, 96}), "q5_1");
  EXPECT_EQ(type_of("q6_k", model, "blk.9.attn_q.weight", {64, 96}), "q8_0");
  EXPECT_EQ(type_of("q2_k", model, "blk.9.attn_q.weight", {64, 96}), "q4_0");
  EXPECT_EQ(type_of("q4_0", model, "blk.9.attn_q.weight", {64, 40}), "f16");
  EXPECT_EQ(type_of("q4_k_m", model, "output.weight", {64, 96}), "q8_0");
}

TEST(Mixture, OutputAndEmbedding) {
  MixtureModel model = kMixtral;
  EXPECT_EQ(type_of("q4_0", model, "output.weight"), "q6_k");
  EXPECT_EQ(type_of("q8_0", model, "output.weight"), "q8_0");
  EXPECT_EQ(type_of("bf16", model, "output.weight"), "bf16");
  EXPECT_EQ(type_of("q4_k_m", model, "token_embd.weight"), "q4_k");
  model.tied_output = true;
  EXPECT_EQ(type_of("q4_k_m", model, "token_embd.weight"), "q6_k");
}

TEST(Mixture, WhatKeepsItsType) {
  const std::vector<int64_t> matrix = {8, 64}, vector = {64}, row = {1, 64};
  EXPECT_TRUE(is_quantized_by_mixtures("blk.0.attn_q.weight", matrix));
  EXPECT_FALSE(is_quantized_by_mixtures("blk.0.attn_q.bias", vector));
  EXPECT_FALSE(is_quantized_by_mixtures("blk.0.attn_norm.weight", vector));
  EXPECT_FALSE(is_quantized_by_mixtures("blk.0.ffn_gate_inp.weight", matrix));
  EXPECT_FALSE(is_quantized_by_mixtures("blk.0.ffn_gate_inp_shexp.weight", row));
}

TEST(Mixture, Names) {
  EXPECT_EQ(find_mixture("Q4_K_M")->file_type, 15);
  EXPECT_EQ(find_mixture("q5_k")->name, "q5_k_m");
  EXPECT_EQ(find_mixture("q9_0"), nullptr);
  for (const Mixture& mixture : mixtures()) {
    const QuantType* base = find_quant_type(mixture.base);
    ASSERT_NE(base, nullptr) << mixture.name;
    EXPECT_NE(base->encode, nullptr) << mixture.name;
  }
}

}  // namespace
}  // namespace moxie
