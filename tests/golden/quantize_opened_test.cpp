// --quantize: a model quantized while it opens is the converted file, to the last bit, and leaves what was asked for.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "convert/convert.h"
#include "engine/engine_impl.h"
#include "engine/kv_identity.h"
#include "golden/golden_models.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

const std::vector<int32_t> kOpenedIds = {1, 5, 9, 2, 7, 30, 11, 4, 8, 3};

class QuantizedWhileOpening : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("moxie-quantize-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  EngineOptions options(const char* model, const char* type, bool keep = false) {
    EngineOptions options{.model = (golden::goldens() / model / "model.safetensors").string()};
    options.quantize = type;
    options.quantize_cache = keep;
    options.cache_folder = folder_.string();
    options.on_log = [this](Severity, std::string_view text) { said_ += std::string(text) + "\n"; };
    return options;
  }
  std::vector<fs::path> kept() const {
    std::vector<fs::path> paths;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(folder_ / "quantized", none)) paths.push_back(entry.path());
    return paths;
  }
  static std::vector<float> logits(const EngineOptions& options) {
    auto found = golden::logits_of(options, kOpenedIds);
    EXPECT_TRUE(found.ok()) << found.error().message;
    return found.ok() ? *found : std::vector<float>();
  }

  fs::path folder_;
  std::string said_;
};

TEST_F(QuantizedWhileOpening, IsTheConvertedFileToTheLastBit) {
  for (const char* model : {"mixtral", "qwen3_moe", "llama-llama3"}) {
    for (const char* type : {"q8_0", "q4_k_m", "Q4_0"}) {
      SCOPED_TRACE(std::string(model) + " " + type);
      const EngineOptions quantizing = options(model, type);
      const std::string file = (folder_ / "converted.gguf").string();
      Log log;
      const WeightFiles source = open_weights(quantizing.model).value();
      const auto converted =
          convert_to_gguf(source, file, {.mixture = find_mixture(type), .overwrite = true, .threads = 1}, log);
      ASSERT_TRUE(converted.ok()) << converted.error().message;
      const std::vector<float> expected = logits({.model = file});
      ASSERT_FALSE(expected.empty());
      EXPECT_NE(expected, logits({.model = quantizing.model})) << "the type makes no difference: nothing is compared";
      EXPECT_EQ(logits(quantizing), expected);
      EXPECT_NE(said_.find("were quantized to"), std::string::npos) << said_;
      EngineOptions streaming = quantizing;
      streaming.expert_slots = 0;
      EXPECT_EQ(logits(streaming), expected);
      EXPECT_TRUE(kept().empty());
    }
  }
}

TEST_F(QuantizedWhileOpening, WhatIsKeptIsTakenTheNextTime) {
  const std::vector<float> first = logits(options("mixtral", "q4_0", true));
  ASSERT_EQ(kept().size(), 1u);
  const fs::path file = kept().front();
  EXPECT_NE(said_.find(file.string()), std::string::npos) << said_;
  const auto written = fs::last_write_time(file);

  said_.clear();
  EXPECT_EQ(logits(options("mixtral", "q4_0", true)), first);
  EXPECT_NE(said_.find("earlier"), std::string::npos) << said_;
  EXPECT_EQ(fs::last_write_time(file), written);

  logits(options("mixtral", "q8_0", true));
  EXPECT_EQ(kept().size(), 2u) << "another type is another file";
}

TEST_F(QuantizedWhileOpening, AKeptFileThatIsDamagedIsMadeAnew) {
  const std::vector<float> first = logits(options("mixtral", "q4_0", true));
  const fs::path file = kept().front();
  const auto bytes = fs::file_size(file);
  fs::resize_file(file, bytes / 2);
  EXPECT_EQ(logits(options("mixtral", "q4_0", true)), first);
  EXPECT_EQ(fs::file_size(file), bytes);
  EXPECT_EQ(kept().size(), 1u);
}

TEST_F(QuantizedWhileOpening, AChangedSourceIsQuantizedAgain) {
  const fs::path copy = folder_ / "copy";
  fs::copy(golden::goldens() / "mixtral", copy);
  EngineOptions changed = options("mixtral", "q4_0", true);
  changed.model = (copy / "model.safetensors").string();
  logits(changed);
  const fs::path first = kept().front();
  fs::last_write_time(copy / "model.safetensors", fs::file_time_type::clock::now() - std::chrono::hours(1));
  said_.clear();
  logits(changed);
  ASSERT_EQ(kept().size(), 1u) << "what came of the elder source is of no use any more";
  EXPECT_NE(kept().front(), first);
  EXPECT_NE(said_.find(first.filename().string() + " was of an elder version"), std::string::npos) << said_;

  // Another type, and another source of the same name, are not elder versions.
  changed.quantize = "q8_0";
  logits(changed);
  logits(options("mixtral", "q4_0", true));
  EXPECT_EQ(kept().size(), 3u);
}

// With 8 experts the types of attention are the same in both.
TEST_F(QuantizedWhileOpening, KeysAndValuesOfAnotherTypeAreOthers) {
  const auto fingerprint = [&](const char* type) {
    const auto engine = Engine::open(options("mixtral", type));
    EXPECT_TRUE(engine.ok()) << engine.error().message;
    return engine.ok() ? kv_fingerprint(EngineInternals::of(**engine)) : std::string();
  };
  EXPECT_NE(fingerprint("q4_k_s"), fingerprint("q4_k_m"));
  EXPECT_EQ(fingerprint("q4_k_m"), fingerprint("q4_k_m"));
}

TEST_F(QuantizedWhileOpening, QuantizedWeightsStayAsTheyAre) {
  const std::string file = (folder_ / "converted.gguf").string();
  Log log;
  const WeightFiles source = open_weights((golden::goldens() / "mixtral" / "model.safetensors").string()).value();
  ASSERT_TRUE(convert_to_gguf(source, file, {.mixture = find_mixture("q8_0")}, log).ok());
  EngineOptions again = options("mixtral", "q4_0");
  again.model = file;
  EXPECT_EQ(logits(again), logits({.model = file}));
  EXPECT_NE(said_.find("quantized already"), std::string::npos) << said_;
}

TEST_F(QuantizedWhileOpening, AskedForWhatThereIsNotIsRefused) {
  const auto unknown = Engine::open(options("mixtral", "q9_z"));
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(unknown.error().message.find("q4_k_m"), std::string::npos) << unknown.error().message;

  EngineOptions nowhere = options("mixtral", "q4_0", true);
  nowhere.cache_folder.clear();
  const auto kept_nowhere = Engine::open(nowhere);
  ASSERT_FALSE(kept_nowhere.ok());
  EXPECT_EQ(kept_nowhere.error().code, ErrorCode::invalid_argument);

  EngineOptions blocked = options("mixtral", "q4_0");
  blocked.cache_folder = blocked.model;  // a file is there
  EXPECT_FALSE(Engine::open(blocked).ok());
}

TEST_F(QuantizedWhileOpening, GivingUpLeavesNothing) {
  EngineOptions cancelled = options("mixtral", "q4_0", true);
  cancelled.on_progress = [](uint64_t, uint64_t) { return false; };
  const auto engine = Engine::open(cancelled);
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().code, ErrorCode::cancelled);
  EXPECT_TRUE(kept().empty());
}

}  // namespace
}  // namespace moxie
