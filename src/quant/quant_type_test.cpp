// Facts about the lists of weight types; what they compute is in contract_test.cpp.
#include "quant/quant_type.h"

#include <gtest/gtest.h>

#include <set>

#include "kernels/select.h"

namespace moxie {
namespace {

TEST(QuantTypes, SameFactsOnEveryTarget) {
  const auto baseline = quant_types();
  ASSERT_FALSE(baseline.empty());
  for (const CpuTarget& target : cpu_targets()) {
    const auto types = quant_types(target.name);
    ASSERT_EQ(types.size(), baseline.size()) << target.name;
    for (size_t i = 0; i < types.size(); ++i) {
      EXPECT_EQ(types[i]->name, baseline[i]->name);
      EXPECT_EQ(types[i]->gguf_id, baseline[i]->gguf_id);
      EXPECT_EQ(types[i]->block_values, baseline[i]->block_values);
      EXPECT_EQ(types[i]->block_bytes, baseline[i]->block_bytes);
      EXPECT_EQ(types[i]->activations, baseline[i]->activations);
      EXPECT_EQ(types[i]->computable(), baseline[i]->computable());
      EXPECT_EQ(types[i]->multiply != nullptr, types[i]->computable()) << types[i]->name;
    }
  }
}

TEST(QuantTypes, NamesAndIdsAreDistinct) {
  std::set<std::string_view> names;
  std::set<int> ids;
  for (const QuantType* type : quant_types()) {
    EXPECT_TRUE(names.insert(type->name).second) << type->name;
    EXPECT_TRUE(ids.insert(type->gguf_id).second) << type->gguf_id;
    EXPECT_FALSE(type->summary.empty());
    EXPECT_EQ(find_quant_type(type->name), type);
    EXPECT_EQ(find_quant_type_by_gguf_id(type->gguf_id), type);
    EXPECT_TRUE(describe_gguf_type_id(type->gguf_id).empty()) << type->name;
  }
}

TEST(QuantTypes, UnknownNamesAndTargets) {
  EXPECT_EQ(find_quant_type("q9_9"), nullptr);
  EXPECT_EQ(find_quant_type("f32", "avx9000"), nullptr);
  EXPECT_EQ(find_quant_type_by_gguf_id(4), nullptr);
  EXPECT_TRUE(quant_types("avx9000").empty());
}

TEST(QuantTypes, DescribesForeignIds) {
  EXPECT_NE(describe_gguf_type_id(31).find("Q4_0"), std::string_view::npos);
  EXPECT_NE(describe_gguf_type_id(139).find("ik_llama.cpp: IQ4_K"), std::string_view::npos);
  EXPECT_NE(describe_gguf_type_id(212).find("ik_llama.cpp"), std::string_view::npos);
  EXPECT_TRUE(describe_gguf_type_id(100000).empty());
  EXPECT_TRUE(describe_gguf_type_id(-1).empty());
}

TEST(CpuTargets, SelectsTheBestSupported) {
  auto best = select_cpu_target();
  ASSERT_TRUE(best.ok());
  for (const CpuTarget& target : cpu_targets()) {
    EXPECT_EQ(target.kernels->target, target.name);
    auto named = select_cpu_target(target.name);
    EXPECT_EQ(named.ok(), target.supported());
    if (named.ok()) {
      EXPECT_EQ(*named, &target);
    } else {
      EXPECT_EQ(named.error().code, ErrorCode::unsupported);
      EXPECT_NE(named.error().message.find(target.requires_), std::string::npos);
    }
  }
  for (const CpuTarget& target : cpu_targets()) {
    if (!target.supported()) continue;
    EXPECT_EQ(*best, &target);
    break;
  }
  auto unknown = select_cpu_target("avx9000");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(unknown.error().message.find("avx9000"), std::string::npos);
}

}  // namespace
}  // namespace moxie
