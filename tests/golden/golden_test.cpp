// Every family against `transformers` (float64) on tiny random models, in every form the weights come in.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "golden/golden_models.h"
#include "kernels/select.h"

namespace moxie {
namespace {

using golden::Variant;

bool is_float(const Variant& variant) {
  return variant.type == "f32" || variant.type == "f16" || variant.type == "bf16";
}

// Float types: the contract. Quantized weights are multiplied by 8-bit activations, which may tip a close choice of
// experts in a model of random weights: looser, and no greedy text (the demo model's text is what judges them).
double bound(const Variant& variant) {
  return is_float(variant) ? 1e-3 : 3e-2;
}

class Golden : public testing::TestWithParam<golden::Model> {};

TEST_P(Golden, LogitsOfEveryVariant) {
  for (const Variant& variant : GetParam().variants) {
    for (const char* cache : {"f32", "f16"}) {
      if (!is_float(variant) && std::string(cache) == "f16") continue;
      const golden::Logits expected = golden::read_npy(variant.logits);
      ASSERT_GT(expected.tokens, 0) << variant.logits;
      const auto found =
          golden::logits_of({.model = variant.path.string(), .cache_type = cache}, GetParam().prompt_ids);
      ASSERT_TRUE(found.ok()) << variant.name << ": " << found.error().message;
      ASSERT_EQ(found->size(), expected.values.size()) << variant.name;
      const double share = golden::max_difference(*found, expected.values) / GetParam().logit_range;
      EXPECT_LE(share, bound(variant)) << variant.name << ", cache " << cache;
      RecordProperty(variant.name + " " + cache, std::to_string(share));
    }
  }
}

TEST_P(Golden, GreedyTextOfEveryVariant) {
  for (const Variant& variant : GetParam().variants) {
    if (!is_float(variant)) continue;
    const auto found = golden::greedy({.model = variant.path.string()}, GetParam().prompt_ids, 64);
    ASSERT_TRUE(found.ok()) << variant.name << ": " << found.error().message;
    EXPECT_EQ(*found, GetParam().greedy_ids) << variant.name;
  }
}

TEST_P(Golden, EveryCpuTarget) {
  const Variant& variant = GetParam().variants.front();
  const golden::Logits expected = golden::read_npy(variant.logits);
  for (const CpuTarget& target : cpu_targets()) {
    if (!target.supported()) continue;
    const auto found = golden::logits_of({.model = variant.path.string(), .cpu_target = std::string(target.name)},
                                         GetParam().prompt_ids);
    ASSERT_TRUE(found.ok()) << found.error().message;
    EXPECT_LE(golden::max_difference(*found, expected.values) / GetParam().logit_range, bound(variant)) << target.name;
  }
}

TEST_P(Golden, SameBitsForAnyThreadsAndBatch) {
  for (const Variant& variant : GetParam().variants) {
    const auto expected = golden::logits_of({.model = variant.path.string(), .threads = 1}, GetParam().prompt_ids);
    ASSERT_TRUE(expected.ok()) << expected.error().message;
    for (const auto& [threads, ubatch] : std::vector<std::pair<int, int64_t>>{{1, 1}, {2, 5}, {3, 512}, {8, 7}}) {
      const auto found = golden::logits_of({.model = variant.path.string(), .threads = threads, .ubatch_size = ubatch},
                                           GetParam().prompt_ids);
      ASSERT_TRUE(found.ok()) << found.error().message;
      EXPECT_TRUE(*found == *expected) << variant.name << ", threads " << threads << ", ubatch " << ubatch;
    }
  }
}

// The last layer computes the last token alone where only its logits are wanted, and nothing of parts of a prompt that
// come before: keys and values aside.
TEST_P(Golden, LastLogitsAsAmongAll) {
  const Variant& variant = GetParam().variants.front();
  const std::vector<int32_t>& prompt = GetParam().prompt_ids;
  ASSERT_GE(prompt.size(), size_t{8});
  const auto all = golden::logits_of({.model = variant.path.string()}, prompt);
  ASSERT_TRUE(all.ok()) << all.error().message;
  for (const auto& [batch, ubatch] : std::vector<std::pair<int64_t, int64_t>>{{2048, 512}, {2048, 3}, {5, 5}, {4, 2}}) {
    const EngineOptions options = {.model = variant.path.string(), .batch_size = batch, .ubatch_size = ubatch};
    const auto engine = test::open_engine(options).value();
    const auto sequence = engine->new_sequence().value();
    const std::span<const int32_t> ids = prompt;
    const auto expect_logits = [&](size_t tokens) {
      const auto vocabulary = static_cast<size_t>(engine->model().vocabulary);
      const auto expected = std::span(*all).subspan((tokens - 1) * vocabulary, vocabulary);
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), sequence->logits().begin(), sequence->logits().end()))
          << tokens << " tokens, batches of " << batch << ", " << ubatch;
    };
    ASSERT_TRUE(sequence->append(ids.first(ids.size() - 2)).ok());
    expect_logits(ids.size() - 2);
    // Steps of one token see what all the tokens left behind.
    ASSERT_TRUE(sequence->append(ids.subspan(ids.size() - 2, 1)).ok());
    expect_logits(ids.size() - 1);
    ASSERT_TRUE(sequence->append(ids.last(1)).ok());
    expect_logits(ids.size());
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Golden, testing::ValuesIn(golden::all_models()), [](const auto& info) {
  std::string name = info.param.name;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
});

TEST(GoldenModels, CoverEveryFamily) {
  std::vector<std::string> families;
  for (const golden::Model& model : golden::all_models()) {
    auto engine = test::open_engine({.model = model.variants.front().path.string()});
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    families.push_back((*engine)->model().family);
  }
  for (const char* family : {"llama", "mixtral", "qwen2", "qwen2_moe", "qwen3_moe", "olmoe", "gpt_oss"}) {
    EXPECT_NE(std::find(families.begin(), families.end(), family), families.end()) << family;
  }
}

TEST(GoldenModels, MergedAndSplitExpertsGiveTheSameBits) {
  const auto folder = golden::data_folder() / "golden" / "mixtral";
  const std::vector<int32_t> ids = {1, 109, 28, 15, 57, 4, 52, 64};
  const auto merged = golden::logits_of({.model = (folder / "merged.gguf").string()}, ids);
  const auto split = golden::logits_of({.model = (folder / "split.gguf").string()}, ids);
  ASSERT_TRUE(merged.ok() && split.ok());
  EXPECT_TRUE(*merged == *split);
}

TEST(GoldenModels, EqualExpertsAmountToTheDenseModel) {
  const auto folder = golden::data_folder() / "golden";
  const std::vector<int32_t> ids = {1, 20, 31, 42, 53, 64, 75, 86, 97};
  const auto mixture = golden::logits_of({.model = (folder / "mixtral-equal-experts").string()}, ids);
  const auto dense = golden::logits_of({.model = (folder / "mixtral-equal-dense").string()}, ids);
  ASSERT_TRUE(mixture.ok() && dense.ok());
  const auto [low, high] = std::minmax_element(dense->begin(), dense->end());
  EXPECT_LE(golden::max_difference(*mixture, *dense), 1e-5 * (*high - *low));
}

}  // namespace
}  // namespace moxie
