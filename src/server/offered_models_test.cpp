#include "server/offered_models.h"

#include <gtest/gtest.h>

namespace moxie::server {
namespace {

const std::vector<OfferedModel> kModels = {
    {.id = "ollama:mixtral:8x7b"},
    {.id = "hf:org/Mixtral-8x22B:Q4_K_M"},
    {.id = "folder/Tales.Q8_0.gguf"},
    {.id = "a/same.gguf"},
    {.id = "b/same.gguf"},
    {.id = "broken.gguf", .problem = "the file is cut off"},
};

std::string found(std::string_view name) {
  const auto model = find_offered(kModels, name);
  return model.ok() ? model->id : "";
}

TEST(OfferedModels, AreFoundByIdAndByItsEnds) {
  for (const OfferedModel& model : kModels) {
    EXPECT_EQ(found(model.id), model.problem.empty() ? model.id : "");
  }
  EXPECT_EQ(found("mixtral:8x7b"), "ollama:mixtral:8x7b");
  EXPECT_EQ(found("OLLAMA:MIXTRAL:8X7B"), "ollama:mixtral:8x7b");
  EXPECT_EQ(found("mixtral-8x22b:q4_k_m"), "hf:org/Mixtral-8x22B:Q4_K_M");
  EXPECT_EQ(found("tales.q8_0"), "folder/Tales.Q8_0.gguf");
  EXPECT_EQ(found("Tales.Q8_0.gguf"), "folder/Tales.Q8_0.gguf");
  // An end begins where a name does.
  EXPECT_EQ(found("8_0.gguf"), "");
  EXPECT_EQ(found(""), "");
}

TEST(OfferedModels, NamesThatAreNoneGetTheNearest) {
  const auto near = find_offered(kModels, "mixtral:8x7");
  ASSERT_FALSE(near.ok());
  EXPECT_EQ(near.error().code, ErrorCode::not_found);
  EXPECT_NE(near.error().message.find("did you mean 'ollama:mixtral:8x7b'?"), std::string::npos);
  const auto far = find_offered(kModels, "something quite else");
  ASSERT_FALSE(far.ok());
  EXPECT_NE(far.error().message.find("lists what is (5)"), std::string::npos) << far.error().message;
}

TEST(OfferedModels, NamesOfSeveralAndOfBrokenOnes) {
  const auto several = find_offered(kModels, "same");
  ASSERT_FALSE(several.ok());
  EXPECT_EQ(several.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(several.error().message.find("'a/same.gguf', 'b/same.gguf'"), std::string::npos);
  const auto broken = find_offered(kModels, "broken");
  ASSERT_FALSE(broken.ok());
  EXPECT_EQ(broken.error().code, ErrorCode::not_found);
  EXPECT_NE(broken.error().message.find("the file is cut off"), std::string::npos);
}

}  // namespace
}  // namespace moxie::server
