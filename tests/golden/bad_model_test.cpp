// Files whose container is sound and whose model is not: each gets one error that names the thing, what was found and
// what to do.
#include <gtest/gtest.h>

#include <functional>

#include "golden/gguf_writer.h"
#include "golden/golden_models.h"

namespace moxie {
namespace {

struct Parts {
  std::string arch = "llama";
  uint32_t experts = 4, used = 2, layers = 2, kv_heads = 2, hidden = 64;
  float rope_base = 10000;
  std::function<bool(const std::string& name)> keep = [](const std::string&) { return true; };
  std::function<std::vector<int64_t>(const std::string& name, std::vector<int64_t> shape)> shape =
      [](const std::string&, std::vector<int64_t> s) { return s; };
  std::function<std::string(const std::string& name)> rename = [](const std::string& name) { return name; };
};

std::filesystem::path write(const Parts& parts) {
  golden::GgufWriter writer;
  const QuantType& f32 = *find_quant_type("f32");
  const auto set = [&](const std::string& key, uint32_t value) { writer.set(parts.arch + "." + key, value); };
  writer.set("general.architecture", parts.arch);
  set("block_count", parts.layers);
  set("context_length", 128);
  set("embedding_length", parts.hidden);
  set("feed_forward_length", 96);
  set("attention.head_count", 4);
  set("attention.head_count_kv", parts.kv_heads);
  set("expert_count", parts.experts);
  set("expert_used_count", parts.used);
  writer.set(parts.arch + ".rope.freq_base", parts.rope_base);
  uint32_t seed = 1;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    if (!parts.keep(name)) return;
    writer.add_random(parts.rename(name), f32, parts.shape(name, std::move(shape)), 1, seed++);
  };
  add("token_embd.weight", {50, 64});
  add("output.weight", {50, 64});
  add("output_norm.weight", {64});
  for (int layer = 0; layer < 2; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    add(prefix + "attn_norm.weight", {64});
    add(prefix + "ffn_norm.weight", {64});
    add(prefix + "attn_q.weight", {64, 64});
    add(prefix + "attn_k.weight", {32, 64});
    add(prefix + "attn_v.weight", {32, 64});
    add(prefix + "attn_output.weight", {64, 64});
    add(prefix + "ffn_gate_inp.weight", {4, 64});
    for (int e = 0; e < 4; ++e) {
      const std::string suffix = "." + std::to_string(e) + ".weight";
      add(prefix + "ffn_gate" + suffix, {96, 64});
      add(prefix + "ffn_up" + suffix, {96, 64});
      add(prefix + "ffn_down" + suffix, {64, 96});
    }
  }
  const auto path = std::filesystem::path(testing::TempDir()) / "moxie-bad-model.gguf";
  writer.write(path);
  return path;
}

void expect_error(const Parts& parts, ErrorCode code, const std::vector<std::string>& fragments,
                  const std::string& arch = "") {
  const auto path = write(parts);
  const auto engine = test::open_engine({.model = path.string(), .arch = arch});
  ASSERT_FALSE(engine.ok()) << "opened, but should say: " << fragments.front();
  EXPECT_EQ(engine.error().code, code) << engine.error().message;
  for (const std::string& fragment : fragments) {
    EXPECT_NE(engine.error().message.find(fragment), std::string::npos)
        << engine.error().message << "\n  lacks: " << fragment;
  }
}

TEST(BadModel, TheSoundOneOpensAndComputes) {
  const auto logits = golden::logits_of({.model = write({}).string()}, {1, 2, 3});
  ASSERT_TRUE(logits.ok()) << logits.error().message;
  EXPECT_EQ(logits->size(), 150u);
}

TEST(BadModel, MissingTensorIsNamedWithTheNearest) {
  expect_error({.keep = [](const std::string& name) { return name != "blk.1.attn_v.weight"; }}, ErrorCode::corrupt,
               {"missing tensor 'blk.1.attn_v.weight'", "nearest: 'blk.", "download it again"});
}

TEST(BadModel, MissingExpertIsNamed) {
  expect_error({.keep = [](const std::string& name) { return name != "blk.1.ffn_down.3.weight"; }}, ErrorCode::corrupt,
               {"missing tensor 'blk.1.ffn_down.3.weight'"});
}

TEST(BadModel, LayerWithoutExpertsSaysWhatWasLookedFor) {
  expect_error({.keep =
                    [](const std::string& name) {
                      return name.find("blk.1.ffn_") != 0 || name.find("norm") != std::string::npos ||
                             name.find("inp") != std::string::npos;
                    }},
               ErrorCode::corrupt, {"layer 1 has no experts", "blk.1.ffn_down_exps.weight", "blk.1.ffn_down.0.weight"});
}

TEST(BadModel, MisspeltTensorShowsTheNearMiss) {
  expect_error(
      {.rename = [](const std::string& name) { return name == "output_norm.weight" ? "output_nrom.weight" : name; }},
      ErrorCode::corrupt, {"'output_norm.weight'", "nearest: 'output_nrom.weight'"});
}

TEST(BadModel, WrongShapeNamesBoth) {
  expect_error({.shape =
                    [](const std::string& name, std::vector<int64_t> s) {
                      return name == "blk.0.attn_k.weight" ? std::vector<int64_t>{64, 64} : s;
                    }},
               ErrorCode::corrupt, {"'blk.0.attn_k.weight'", "[64, 64]", "[32, 64]"});
  expect_error({.shape =
                    [](const std::string& name, std::vector<int64_t> s) {
                      return name == "blk.0.ffn_up.2.weight" ? std::vector<int64_t>{64, 96} : s;
                    }},
               ErrorCode::corrupt, {"'blk.0.ffn_up.2.weight'", "[64, 96]", "[96, 64]"});
  expect_error({.hidden = 128}, ErrorCode::corrupt, {"shape"});
}

TEST(BadModel, ImpossibleNumbers) {
  expect_error({.used = 5}, ErrorCode::corrupt, {"experts used per token is 5", "1..4"});
  expect_error({.used = 0}, ErrorCode::corrupt, {"experts used per token is 0"});
  expect_error({.kv_heads = 3}, ErrorCode::corrupt, {"key/value heads is 3", "4 heads"});
  expect_error({.layers = 0}, ErrorCode::corrupt, {"block_count is 0"});
  expect_error({.layers = 4000000000u}, ErrorCode::corrupt, {"block_count is 4000000000", "1..1024"});
  expect_error({.layers = 3}, ErrorCode::corrupt, {"missing tensor 'blk.2."});
  expect_error({.rope_base = -1}, ErrorCode::corrupt, {"rope base -1"});
}

TEST(BadModel, ExpertCountThatTheTensorsContradict) {
  expect_error({.experts = 5}, ErrorCode::corrupt, {"[4, 64]", "[5, 64]"});
  // The key lost (0): the tensors tell.
  const auto logits = golden::logits_of({.model = write({.experts = 0}).string()}, {1, 2, 3});
  ASSERT_TRUE(logits.ok()) << logits.error().message;
}

TEST(BadModel, Architectures) {
  expect_error({.arch = "megatron"}, ErrorCode::unsupported, {"architecture 'megatron'", "qwen3moe"});
  expect_error({}, ErrorCode::invalid_argument, {"is a mixtral model", "not qwen2"}, "qwen2");
  expect_error({}, ErrorCode::invalid_argument, {"is a mixtral model", "not llama"}, "llama");
  expect_error({}, ErrorCode::invalid_argument, {"'gpt5' is no model family", "mixtral"}, "gpt5");
}

}  // namespace
}  // namespace moxie
