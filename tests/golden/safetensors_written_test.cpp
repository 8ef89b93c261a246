// Models written as safetensors: every container gives the logits of the float reference, and what went from
// safetensors to GGUF comes back without a changed bit.
#include "convert/safetensors_writer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "core/fail.h"
#include "core/file.h"
#include "golden/golden_models.h"
#include "golden/tensor_bytes.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

std::string file_bytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class SafetensorsWritten : public ::testing::Test {
 protected:
  void SetUp() override {
    const bool memory = ::access("/dev/shm", W_OK) == 0 && fs::space("/dev/shm").available > (uint64_t{64} << 20);
    folder_ = (memory ? fs::path("/dev/shm") : fs::temp_directory_path()) /
              ("moxie-safetensors-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  Result<ConvertSummary> write(const fs::path& source, const std::string& name, SafetensorsOptions options = {}) {
    MOXIE_TRY(const WeightFiles files, open_weights(source.string()));
    options.threads = 2;
    return convert_to_safetensors(files, (folder_ / name).string(), options, log_);
  }
  Result<std::string> as_gguf(const fs::path& source, const std::string& name) {
    MOXIE_TRY(const WeightFiles files, open_weights(source.string()));
    const std::string path = (folder_ / name).string();
    MOXIE_TRY_VOID(convert_to_gguf(files, path, {.overwrite = true, .threads = 2}, log_));
    return path;
  }

  fs::path folder_;
  Log log_;
};

TEST_F(SafetensorsWritten, FromSafetensorsToGgufAndBackNoBitChanges) {
  for (const char* model :
       {"mixtral", "llama", "llama-llama3", "llama-yarn", "llama-linear", "qwen2", "qwen2_moe", "qwen3_moe", "olmoe"}) {
    SCOPED_TRACE(model);
    const auto gguf = as_gguf(golden::goldens() / model / "model.safetensors", "between.gguf");
    ASSERT_TRUE(gguf.ok()) << gguf.error().message;
    const auto back = write(*gguf, model);
    ASSERT_TRUE(back.ok()) << back.error().message;
    const WeightFiles first = open_weights((golden::goldens() / model / "model.safetensors").string()).value();
    const WeightFiles last = open_weights((folder_ / model).string()).value();
    EXPECT_EQ(first.tensors.size(), last.tensors.size());
    for (const TensorInfo& tensor : first.tensors) {
      const TensorInfo* found = last.find(tensor.name);
      ASSERT_NE(found, nullptr) << tensor.name;
      EXPECT_EQ(found->shape, tensor.shape) << tensor.name;
      ASSERT_EQ(found->dtype, tensor.dtype) << tensor.name;
      EXPECT_EQ(golden::tensor_bytes(last, *found), golden::tensor_bytes(first, tensor)) << tensor.name;
    }
    // What was in the configuration and shapes the model is there again.
    const auto had = nlohmann::json::parse(file_bytes(golden::goldens() / model / "config.json"));
    const auto has = nlohmann::json::parse(file_bytes(folder_ / model / "config.json"));
    for (const auto& [key, value] : had.items()) {
      const std::set<std::string> elsewhere = {"bos_token_id", "eos_token_id", "qkv_bias", "attention_bias",
                                               "rope_scaling"};
      if (elsewhere.contains(key)) continue;
      ASSERT_TRUE(has.contains(key)) << key;
      EXPECT_EQ(has[key], value) << key;
    }
    const auto again = as_gguf(folder_ / model, "again.gguf");
    ASSERT_TRUE(again.ok()) << again.error().message;
    const WeightFiles a = open_weights(*gguf).value(), b = open_weights(*again).value();
    ASSERT_EQ(a.tensors.size(), b.tensors.size());
    for (size_t i = 0; i < a.tensors.size(); ++i) {
      EXPECT_EQ(a.tensors[i].name, b.tensors[i].name);
      EXPECT_EQ(golden::tensor_bytes(a, a.tensors[i]), golden::tensor_bytes(b, b.tensors[i])) << a.tensors[i].name;
    }
  }
}

class WrittenFromEveryContainer : public SafetensorsWritten, public testing::WithParamInterface<golden::Model> {};

TEST_P(WrittenFromEveryContainer, AsFloatsItGivesTheReferencesLogits) {
  for (const golden::Variant& variant : GetParam().variants) {
    SCOPED_TRACE(variant.name);
    const std::string name = std::to_string(&variant - GetParam().variants.data());
    const auto written = write(variant.path, name, {.type = find_quant_type("f32")});
    if (GetParam().name.starts_with("gpt_oss")) {
      ASSERT_FALSE(written.ok());
      EXPECT_NE(written.error().message.find("for the family gpt_oss"), std::string::npos) << written.error().message;
      continue;
    }
    ASSERT_TRUE(written.ok()) << written.error().message;
    const golden::Logits expected = golden::read_npy(variant.logits);
    const auto found =
        golden::logits_of({.model = (folder_ / name).string(), .cache_type = "f32"}, GetParam().prompt_ids);
    ASSERT_TRUE(found.ok()) << found.error().message;
    ASSERT_EQ(found->size(), expected.values.size());
    double largest = 0;
    for (size_t i = 0; i < found->size(); ++i)
      largest = std::max(largest, std::fabs(double{(*found)[i]} - double{expected.values[i]}));
    EXPECT_LE(largest, 1e-3 * GetParam().logit_range);
    fs::remove_all(folder_ / name);
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, WrittenFromEveryContainer, testing::ValuesIn(golden::all_models()),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_F(SafetensorsWritten, PartsHaveAnIndexAndTheSameTensors) {
  const fs::path source = golden::goldens() / "mixtral" / "merged.gguf";
  ASSERT_TRUE(write(source, "one").ok());
  const auto parts = write(source, "parts", {.split_bytes = 60000});
  ASSERT_TRUE(parts.ok()) << parts.error().message;
  EXPECT_GT(parts->paths.size(), 2u);
  for (const std::string& path : parts->paths) EXPECT_LT(fs::file_size(path), 64000u) << path;
  const WeightFiles a = open_weights((folder_ / "one").string()).value(),
                    b = open_weights((folder_ / "parts").string()).value();
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const TensorInfo& tensor : a.tensors)
    EXPECT_EQ(golden::tensor_bytes(a, tensor), golden::tensor_bytes(b, *b.find(tensor.name))) << tensor.name;
  const auto index = nlohmann::json::parse(file_bytes(folder_ / "parts" / "model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"], a.total_bytes());
  EXPECT_EQ(index["weight_map"].size(), a.tensors.size());
}

// The vocabulary of a GGUF file becomes files that give the same ids; those of safetensors stay as they are.
TEST_F(SafetensorsWritten, TokenizersGoAlong) {
  const fs::path demo = fs::path(source_dir()) / "models" / "demo";
  const fs::path stories = golden::data_folder() / "models" / "stories260k-moe8";
  for (const fs::path& model : {demo, stories}) {
    SCOPED_TRACE(model);
    const auto gguf = as_gguf(model, "between.gguf");
    ASSERT_TRUE(gguf.ok()) << gguf.error().message;
    const std::string name = model.filename().string();
    ASSERT_TRUE(write(*gguf, name).ok());
    ASSERT_TRUE(write(model, name + "-same").ok());
    const auto a = Engine::open({.model = *gguf, .vocab_only = true}),
               b = Engine::open({.model = (folder_ / name).string(), .vocab_only = true});
    ASSERT_TRUE(a.ok() && b.ok());
    for (const std::string& text : golden::held_out_documents()) {
      EXPECT_EQ((*a)->tokenize(text, true, false).value(), (*b)->tokenize(text, true, false).value());
    }
    EXPECT_EQ((*a)->tokenize("żółw \t\n  ½<s> 12345", true, true).value(),
              (*b)->tokenize("żółw \t\n  ½<s> 12345", true, true).value());
    EXPECT_EQ((*a)->model().chat_template, (*b)->model().chat_template);
    for (const auto& entry : fs::directory_iterator(model)) {
      if (!entry.path().filename().string().starts_with("tokenizer")) continue;
      EXPECT_EQ(file_bytes(folder_ / (name + "-same") / entry.path().filename()), file_bytes(entry.path()));
    }
  }
}

TEST_F(SafetensorsWritten, NothingIsOverwrittenAndNothingIsLeftBehind) {
  const fs::path source = golden::goldens() / "mixtral" / "merged.gguf";
  SafetensorsOptions cancelling;
  cancelling.on_progress = [](uint64_t, uint64_t) { return false; };
  const auto cancelled = write(source, "out", cancelling);
  ASSERT_FALSE(cancelled.ok());
  EXPECT_EQ(cancelled.error().code, ErrorCode::cancelled);
  EXPECT_FALSE(fs::exists(folder_ / "out")) << "the folder too was made by it";

  const auto dry = write(source, "nowhere", {.dry_run = true});
  ASSERT_TRUE(dry.ok());
  EXPECT_FALSE(fs::exists(folder_ / "nowhere"));

  const auto written = write(source, "out");
  ASSERT_TRUE(written.ok());
  EXPECT_EQ(written->bytes, fs::file_size(folder_ / "out" / "model.safetensors"));
  EXPECT_EQ(written->bytes, dry->bytes);
  const auto again = write(source, "out");
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code, ErrorCode::invalid_argument);
  EXPECT_TRUE(write(source, "out", {.overwrite = true}).ok());
  EXPECT_FALSE(write(folder_ / "out", "out", {.overwrite = true}).ok()) << "never the source itself";
}

// Files of an earlier model in the folder, its tokenizer among them, would be taken for the new one's.
TEST_F(SafetensorsWritten, WhatWasThereBeforeIsReplacedWhole) {
  const fs::path source = golden::goldens() / "mixtral" / "merged.gguf";
  const fs::path stories = golden::data_folder() / "models" / "stories260k-moe8";
  const auto names = [&] {
    std::set<std::string> all;
    for (const auto& entry : fs::directory_iterator(folder_ / "out")) all.insert(entry.path().filename().string());
    return all;
  };
  ASSERT_TRUE(write(stories, "out", {.split_bytes = 200'000}).ok());
  EXPECT_TRUE(names().contains("tokenizer.json") && names().contains("model.safetensors.index.json"));
  std::ofstream(folder_ / "out" / "README.md") << "mine";
  ASSERT_TRUE(write(source, "out", {.overwrite = true}).ok());
  EXPECT_EQ(names(), (std::set<std::string>{"README.md", "config.json", "model.safetensors"}));
  ASSERT_TRUE(write(source, "out", {.split_bytes = 200'000, .overwrite = true}).ok());
  EXPECT_FALSE(names().contains("model.safetensors"));
  EXPECT_TRUE(open_weights((folder_ / "out").string()).ok());
}

// What lies in a folder without a model is nobody's earlier conversion.
TEST_F(SafetensorsWritten, SideFilesOfNoModelStay) {
  fs::create_directories(folder_ / "out");
  for (const char* name : {"tokenizer.model", "chat_template.jinja"}) std::ofstream(folder_ / "out" / name) << "mine";
  ASSERT_TRUE(write(golden::goldens() / "mixtral" / "merged.gguf", "out", {.overwrite = true}).ok());
  for (const char* name : {"tokenizer.model", "chat_template.jinja", "model.safetensors"})
    EXPECT_TRUE(fs::exists(folder_ / "out" / name)) << name;
}

TEST_F(SafetensorsWritten, DryRunsRefuseWhatRealOnesDo) {
  const fs::path source = golden::goldens() / "mixtral" / "merged.gguf";
  ASSERT_TRUE(write(source, "out").ok());
  std::ofstream(folder_ / "file") << "x";
  for (const char* name : {"out", "file"}) {
    const auto dry = write(source, name, {.dry_run = true}), real = write(source, name);
    ASSERT_TRUE(dry.ok());
    ASSERT_FALSE(real.ok());
    ASSERT_TRUE(dry->refusal.has_value()) << name;
    EXPECT_EQ(dry->refusal->message, real.error().message);
  }
  EXPECT_TRUE(write(source, "file/below", {.dry_run = true})->refusal.has_value());
  EXPECT_FALSE(write(source, "new/and/deeper/", {.dry_run = true})->refusal.has_value());
  EXPECT_FALSE(fs::exists(folder_ / "new"));
}

// Weights under other names, but config.json would be written over.
TEST_F(SafetensorsWritten, NeverIntoTheFolderOfTheSource) {
  ASSERT_TRUE(write(golden::goldens() / "mixtral" / "merged.gguf", "parts", {.split_bytes = 20000}).ok());
  const std::string config = file_bytes(folder_ / "parts" / "config.json");
  const auto refused = write(folder_ / "parts", "parts", {.overwrite = true});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("holds the model itself"), std::string::npos) << refused.error().message;
  EXPECT_EQ(file_bytes(folder_ / "parts" / "config.json"), config);
  EXPECT_FALSE(fs::exists(folder_ / "parts" / "model.safetensors"));
}

}  // namespace
}  // namespace moxie
