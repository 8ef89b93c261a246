#include "hub/pull_choice.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hub/blob_download.h"

namespace moxie {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

HubListing listing(std::vector<HubEntry> files) {
  std::sort(files.begin(), files.end(), [](const HubEntry& a, const HubEntry& b) { return a.path < b.path; });
  return {.repo = "org/name", .revision = "main", .commit = std::string(40, 'a'), .files = std::move(files)};
}

std::vector<std::string> chosen(const HubListing& from, const PullRequest& request) {
  const auto choice = choose_files(from, request);
  if (!choice.ok()) return {"error: " + choice.error().message};
  std::vector<std::string> paths;
  for (const HubEntry& entry : choice->files) paths.push_back(entry.path);
  return paths;
}

// As Python's fnmatch.fnmatchcase answers.
TEST(PullChoice, PatternsAsPythonTakesThem) {
  EXPECT_TRUE(matches_pattern("mixtral-8x7b-v0.1.Q4_K_M.gguf", "*Q4_K*gguf"));
  EXPECT_TRUE(matches_pattern("sub/a.json", "*.json"));
  EXPECT_TRUE(matches_pattern("ab", "a[!c]"));
  EXPECT_FALSE(matches_pattern("ac", "a[!c]"));
  EXPECT_TRUE(matches_pattern("a]", "a[]]"));
  EXPECT_TRUE(matches_pattern("a-", "a[x-]"));
  EXPECT_TRUE(matches_pattern("am", "a[a-z]"));
  EXPECT_FALSE(matches_pattern("aM", "a[a-z]"));
  EXPECT_TRUE(matches_pattern("a[b", "a[b"));  // no set: as it is
  EXPECT_TRUE(matches_pattern("", "*"));
  EXPECT_FALSE(matches_pattern("", "?"));
  EXPECT_FALSE(matches_pattern("abc", "abcd"));
  EXPECT_TRUE(matches_pattern(std::string(2000, 'a') + "b", "*a*a*a*a*b"));
  EXPECT_FALSE(matches_pattern(std::string(2000, 'a'), "*a*a*a*a*b"));
}

TEST(PullChoice, ModelsOfARepository) {
  const HubListing files = listing({{"m.Q4_K_M.gguf", 20},
                                    {"m.Q2_K.gguf", 10},
                                    {"UD/m-UD-Q4_K_XL-00001-of-00002.gguf", 7},
                                    {"UD/m-UD-Q4_K_XL-00002-of-00002.gguf", 8},
                                    {"mmproj-F16.gguf", 1},
                                    {"imatrix.gguf", 1},
                                    {"README.md", 1}});
  const std::vector<HubModel> models = hub_models(files);
  std::vector<std::string> told;
  for (const HubModel& model : models)
    told.push_back(fmt::format("{} {} {}", model.name, model.bytes().value_or(0), model.files.size()));
  EXPECT_THAT(told, ElementsAre("Q2_K 10 1", "Q4_K_XL 15 2", "Q4_K_M 20 1"));
  EXPECT_TRUE(chosen(files, {}).empty());  // several: to choose from
  EXPECT_THAT(chosen(files, {.file = "q4_k_xl"}),
              ElementsAre("UD/m-UD-Q4_K_XL-00001-of-00002.gguf", "UD/m-UD-Q4_K_XL-00002-of-00002.gguf"));
  EXPECT_EQ(chosen(files, {.file = "UD/m-UD-Q4_K_XL-00002-of-00002.gguf"}).size(), 2u);
  EXPECT_THAT(chosen(files, {.file = "mmproj-F16.gguf"}), ElementsAre("mmproj-F16.gguf"));
  EXPECT_THAT(chosen(files, {.file = "Q5_K_M"}).front(), HasSubstr("Q4_K_M"));
}

TEST(PullChoice, TwoFilesOfOneQuantizationAreNamed) {
  const HubListing files = listing({{"a-Q8_0.gguf", 1}, {"b-Q8_0.gguf", 2}});
  EXPECT_THAT(chosen(files, {.file = "Q8_0"}).front(), HasSubstr("a-Q8_0.gguf, b-Q8_0.gguf"));
  EXPECT_EQ(hub_models(files).front().name, "a-Q8_0.gguf");
}

TEST(PullChoice, SafetensorsWithTheirFiles) {
  const HubListing files = listing({{"model-00001-of-00002.safetensors", 5},
                                    {"model-00002-of-00002.safetensors", 5},
                                    {"consolidated.safetensors", 10},
                                    {"model.safetensors.index.json", 1},
                                    {"config.json", 1},
                                    {"tokenizer.model.v3", 1},
                                    {"additional_chat_templates/tool.jinja", 1},
                                    {"vae/diffusion.safetensors", 1},
                                    {"pytorch_model.bin", 9}});
  EXPECT_THAT(chosen(files, {}),
              ElementsAre("additional_chat_templates/tool.jinja", "config.json", "model-00001-of-00002.safetensors",
                          "model-00002-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.model.v3"));
  EXPECT_EQ(chosen(files, {.everything = true}).size(), files.files.size());
  EXPECT_THAT(chosen(files, {.include = {"vae/"}}), ElementsAre("vae/diffusion.safetensors"));
  EXPECT_THAT(chosen(files, {.include = {"*.json"}, .exclude = {"*index*"}}), ElementsAre("config.json"));
  EXPECT_THAT(chosen(listing({{"consolidated.safetensors", 1}, {"params.json", 1}}), {}),
              ElementsAre("consolidated.safetensors", "params.json"));
}

TEST(PullChoice, RepositoriesWithoutAModel) {
  EXPECT_THAT(chosen(listing({{"pytorch_model.bin", 1}}), {}).front(), HasSubstr("PyTorch"));
  EXPECT_THAT(chosen(listing({{"README.md", 1}}), {}).front(), HasSubstr("holds no weights"));
  EXPECT_THAT(chosen(listing({}), {}).front(), HasSubstr("no files"));
}

TEST(BlobDownload, ContentRange) {
  const auto whole = parse_content_range("bytes 5-9/20");
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->begin, 5u);
  EXPECT_EQ(whole->end, 10u);
  EXPECT_EQ(whole->whole, 20u);
  EXPECT_FALSE(parse_content_range("bytes 0-0/*")->whole);
  for (const char* wrong : {"", "bytes", "bytes 5-4/20", "bytes 5-9", "bytes 5-9/", "bytes 5-9/9", "bytes */20",
                            "bytes -5-9/20", "items 5-9/20", "bytes 0-18446744073709551615/*", "bytes 5-9/20 "})
    EXPECT_FALSE(parse_content_range(wrong)) << wrong;
}

TEST(HubListing, OnlyWhatIsAListing) {
  const std::string commit(40, 'c');
  const auto parsed = parse_hub_listing(
      R"({"sha":")" + commit +
          R"(","siblings":[{"rfilename":"b","size":7},{"rfilename":"a","size":-1},{"rfilename":"../x"},{"x":1},3]})",
      "org/name", "main");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  ASSERT_EQ(parsed->files.size(), 2u);
  EXPECT_EQ(parsed->files[0].path, "a");
  EXPECT_FALSE(parsed->files[0].bytes);
  EXPECT_EQ(parsed->find("b")->bytes, 7u);
  for (const char* wrong : {"", "<html>", "[]", "{}", R"({"sha":"main","siblings":[]})",
                            R"({"sha":"cccccccccccccccccccccccccccccccccccccccc"})"})
    EXPECT_EQ(parse_hub_listing(wrong, "org/name", "main").error().code, ErrorCode::corrupt) << wrong;
}

}  // namespace
}  // namespace moxie
