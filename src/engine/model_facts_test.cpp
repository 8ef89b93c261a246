#include "engine/model_facts.h"

#include <gtest/gtest.h>

#include "support/paths.h"

namespace moxie {
namespace {

const std::string kModels = source_dir() + "/tests/data/models/";

TEST(ModelFacts, AddUpToTheFile) {
  const auto files = open_weights(kModels + "stories260k-moe8");
  ASSERT_TRUE(files.ok()) << files.error().message;
  const auto facts = read_model_facts(*files, "");
  ASSERT_TRUE(facts.ok()) << facts.error().message;
  EXPECT_EQ(facts->family, "mixtral");
  EXPECT_EQ(facts->experts, 8);
  EXPECT_EQ(facts->experts_used, 2);

  // From the shapes alone: hidden 64, FFN 192, 512 tokens, 5 layers, 8 heads over 4 of 8, 8 experts; two bytes a
  // weight.
  const uint64_t expert = 3 * 64 * 192, attention = 64 * 64 + 2 * 64 * 32 + 64 * 64 + 64, router = 64 * 8, norm = 64;
  const uint64_t embeddings = 2 * 512 * 64 + 64;
  EXPECT_EQ(facts->parameters, 5 * (8 * expert + attention + router + norm) + embeddings);
  EXPECT_EQ(facts->active_parameters, 5 * (2 * expert + attention + router + norm) + embeddings);
  EXPECT_EQ(facts->weight_bytes, 2 * facts->parameters);
  EXPECT_EQ(facts->weight_bytes, files->total_bytes());

  uint64_t of_parts = 0, of_layers = 0;
  int64_t tensors = 0;
  for (const PartFacts& part : facts->parts) {
    of_parts += part.bytes;
    for (const auto& [type, count] : part.tensors_by_type) {
      EXPECT_EQ(type, "BF16");
      tensors += count;
    }
  }
  EXPECT_EQ(of_parts, facts->weight_bytes);
  EXPECT_EQ(tensors, static_cast<int64_t>(files->tensors.size()));
  ASSERT_EQ(facts->layers.size(), 5u);
  for (const LayerFacts& layer : facts->layers) {
    EXPECT_TRUE(layer.mixture);
    EXPECT_EQ(layer.one_expert_bytes, 2 * expert);
    EXPECT_EQ(layer.attention_bytes, 2 * attention);
    EXPECT_EQ(layer.router_bytes, 2 * router);
    EXPECT_EQ(layer.dense_bytes, 2 * norm);
    of_layers += layer.total_bytes();
  }
  EXPECT_EQ(of_layers + 2 * embeddings, facts->weight_bytes);
}

TEST(ModelFacts, KnowTheFamilies) {
  EXPECT_TRUE(is_family("mixtral"));
  EXPECT_FALSE(is_family("my-assistant"));
  const auto files = open_weights(kModels + "stories260k-moe8");
  ASSERT_TRUE(files.ok());
  EXPECT_FALSE(read_model_facts(*files, "olmoe").ok());
}

}  // namespace
}  // namespace moxie
