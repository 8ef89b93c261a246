// A pack runs exactly like its source: same logits bits from every container of the goldens, resident, streamed and
// verified; same tokenizer. A byte that is wrong in it ends the run.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "convert/pack.h"
#include "core/fail.h"
#include "golden/golden_models.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

class Packed : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("moxie-packed-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  Result<std::string> pack(const fs::path& source, const std::string& name = "pack.gguf") const {
    const std::string path = (folder_ / name).string();
    MOXIE_TRY(const WeightFiles files, open_weights(source.string()));
    Log log;
    MOXIE_TRY(const PackSummary summary, write_pack(files, path, {.overwrite = true}, log));
    if (summary.bytes != fs::file_size(path))
      return fail(ErrorCode::internal, "{}: {} bytes were announced", path, summary.bytes);
    return path;
  }
  fs::path folder_;
};

TEST_F(Packed, LogitsHaveTheSameBitsFromEveryContainer) {
  int variants = 0, mixtures = 0;
  for (const golden::Model& model : golden::all_models()) {
    for (const golden::Variant& variant : model.variants) {
      SCOPED_TRACE(variant.name);
      const auto expected = golden::logits_of({.model = variant.path.string(), .threads = 2}, model.prompt_ids);
      ASSERT_TRUE(expected.ok()) << expected.error().message;
      const auto path = pack(variant.path);
      if (golden::has_parts(variant)) {
        ASSERT_FALSE(path.ok());
        EXPECT_EQ(path.error().code, ErrorCode::unsupported) << path.error().message;
        EXPECT_NE(path.error().message.find("for which a pack has no number"), std::string::npos);
        continue;
      }
      ASSERT_TRUE(path.ok()) << path.error().message;
      const auto expect_same = [&](EngineOptions options, const char* what) {
        options.model = *path;
        options.threads = 2;
        const auto found = golden::logits_of(options, model.prompt_ids);
        ASSERT_TRUE(found.ok()) << what << ": " << found.error().message;
        EXPECT_TRUE(golden::same_bits(*expected, *found)) << what;
      };
      expect_same({}, "mapped");
      expect_same({.mmap = false}, "read");
      expect_same({.verify = true}, "verified");
      ++variants;
      auto engine = Engine::open({.model = *path});
      ASSERT_TRUE(engine.ok());
      if ((*engine)->model().experts == 0) continue;
      const int64_t used = (*engine)->model().experts_used;
      expect_same({.expert_slots = 0}, "all streamed");
      expect_same({.expert_slots = used}, "some kept");
      expect_same({.expert_slots = used, .verify = true}, "some kept, verified");
      ++mixtures;
    }
  }
  EXPECT_GE(variants, 20);
  EXPECT_GE(mixtures, 14);
}

TEST_F(Packed, TokenizerComesAlong) {
  const fs::path source = golden::data_folder() / "models/stories260k-moe8";
  const auto path = pack(source);
  ASSERT_TRUE(path.ok()) << path.error().message;
  const auto ids_of = [](const std::string& model) {
    auto engine = Engine::open({.model = model, .vocab_only = true});
    return engine.ok() ? (*engine)->tokenize("Once upon a time, there was a dog.\n", true, true).value()
                       : std::vector<int32_t>();
  };
  EXPECT_GT(ids_of(source.string()).size(), 5u);
  EXPECT_EQ(ids_of(*path), ids_of(source.string()));
}

TEST_F(Packed, AFolderThatHoldsAPackOpens) {
  ASSERT_TRUE(pack(golden::data_folder() / "golden/mixtral-stacked").ok());
  EXPECT_TRUE(Engine::open({.model = folder_.string()}).ok());
}

TEST_F(Packed, AWrongByteEndsAVerifiedRun) {
  const auto path = pack(golden::data_folder() / "golden/mixtral/merged.gguf");
  ASSERT_TRUE(path.ok());
  const auto flip = [&](const char* tensor) {
    const auto files = open_weights(*path);
    std::fstream file(*path, std::ios::in | std::ios::out | std::ios::binary);
    const auto at = static_cast<std::streamoff>(files->find(tensor)->offset + 17);
    file.seekg(at);
    const char byte = static_cast<char>(file.get());
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 4));
  };
  const std::vector<int32_t> prompt = {1, 5, 9, 2, 7, 30, 11, 4, 6, 3, 17, 8, 40, 41, 42, 43, 44, 45};
  const auto expect_corrupt = [&](const EngineOptions& options, const std::string& words) {
    const auto found = golden::logits_of(options, prompt);
    ASSERT_FALSE(found.ok()) << words;
    EXPECT_EQ(found.error().code, ErrorCode::corrupt);
    EXPECT_NE(found.error().message.find(words), std::string::npos) << found.error().message;
    EXPECT_NE(found.error().message.find(*path), std::string::npos) << found.error().message;
  };
  const std::string expert = "expert 3 of layer 1: the bytes of its down projection",
                    dense = "the bytes of 'blk.0.attn_q.weight'";
  flip("blk.1.ffn_down.3.weight");
  expect_corrupt({.model = *path, .verify = true}, expert);
  expect_corrupt({.model = *path, .expert_slots = 2, .verify = true}, expert);
  EXPECT_TRUE(golden::logits_of({.model = *path}, prompt).ok()) << "who does not ask is not told";
  flip("blk.1.ffn_down.3.weight");
  flip("blk.0.attn_q.weight");
  expect_corrupt({.model = *path, .verify = true}, dense);
  flip("blk.0.attn_q.weight");
  EXPECT_TRUE(golden::logits_of({.model = *path, .verify = true}, prompt).ok());
}

TEST_F(Packed, OtherFilesHaveNothingToVerify) {
  const auto engine =
      Engine::open({.model = (golden::data_folder() / "golden/mixtral/merged.gguf").string(), .verify = true});
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().code, ErrorCode::unsupported);
  EXPECT_NE(engine.error().message.find("--pack"), std::string::npos);
}

}  // namespace
}  // namespace moxie
