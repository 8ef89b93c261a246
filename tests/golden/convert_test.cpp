// Conversions of every container: the same bytes as an independent converter writes, the same logits and text as the
// float reference, and back again without a changed bit.
#include "convert/convert.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "core/file.h"
#include "golden/golden_models.h"
#include "golden/tensor_bytes.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

// Files of tests go through memory where there is a folder for that: every one is synced to its disk.
fs::path temporary_folder() {
  const fs::path memory = "/dev/shm";
  std::error_code ignored;
  const bool usable = fs::is_directory(memory, ignored) && ::access(memory.c_str(), W_OK) == 0 &&
                      fs::space(memory, ignored).available > (64u << 20);
  return usable ? memory : fs::temp_directory_path();
}

class Converted : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = temporary_folder() / ("moxie-converted-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // The path of the file, or of its first part.
  Result<std::string> convert(const fs::path& source, const std::string& name, ConvertOptions options = {}) {
    auto files = open_weights(source.string());
    if (!files.ok()) return std::move(files).error();
    options.overwrite = true;
    options.threads = 2;
    auto summary = convert_to_gguf(*files, (folder_ / name).string(), options, log_);
    if (!summary.ok()) return std::move(summary).error();
    uint64_t bytes = 0;
    for (const std::string& path : summary->paths) bytes += fs::file_size(path);
    EXPECT_EQ(bytes, summary->bytes) << source;
    return summary->paths.front();
  }
  static ConvertOptions to_type(const char* name) { return {.mixture = find_mixture(name)}; }

  fs::path folder_;
  Log log_;
};

// ---- against an independent converter, which writes with the gguf package ----

struct Twin {
  const char *folder, *file, *type;
};
constexpr Twin kTwins[] = {
    {"mixtral", "merged.gguf", ""},    {"mixtral", "split.gguf", ""},    {"olmoe", "merged.gguf", ""},
    {"qwen2", "bf16.gguf", ""},        {"qwen2_moe", "merged.gguf", ""}, {"qwen3_moe", "merged.gguf", ""},
    {"llama-llama3", "bf16.gguf", ""}, {"llama-yarn", "bf16.gguf", ""},  {"llama", "f32-00001-of-00002.gguf", "f32"}};

TEST_F(Converted, TensorsAndKeysAreThoseOfAnIndependentConverter) {
  for (const Twin& twin : kTwins) {
    SCOPED_TRACE(std::string(twin.folder) + "/" + twin.file);
    ConvertOptions options = to_type(twin.type);
    if (std::string(twin.file).starts_with("split")) options.experts = ExpertForm::one_by_one;
    const auto path = convert(golden::goldens() / twin.folder / "model.safetensors", "out.gguf", options);
    ASSERT_TRUE(path.ok()) << path.error().message;
    const WeightFiles ours = open_weights(*path).value();
    const WeightFiles theirs = open_weights((golden::goldens() / twin.folder / twin.file).string()).value();
    EXPECT_EQ(ours.tensors.size(), theirs.tensors.size());
    for (const TensorInfo& tensor : theirs.tensors) {
      const TensorInfo* found = ours.find(tensor.name);
      ASSERT_NE(found, nullptr) << tensor.name;
      EXPECT_EQ(found->shape, tensor.shape) << tensor.name;
      ASSERT_EQ(found->type, tensor.type) << tensor.name;
      EXPECT_EQ(golden::tensor_bytes(ours, *found), golden::tensor_bytes(theirs, tensor)) << tensor.name;
    }
    for (const auto& [key, value] : theirs.metadata.all()) {
      if (key == "general.name" || key.starts_with("split.")) continue;
      ASSERT_TRUE(ours.metadata.has(key)) << key;
      EXPECT_EQ(*ours.metadata.find(key), value) << key;
    }
  }
}

// ---- against the float reference ----

const std::set<std::string> kDense = {"llama", "llama-yarn", "qwen2", "mixtral-equal-dense"};

class ConvertedModel : public Converted, public testing::WithParamInterface<golden::Model> {};

TEST_P(ConvertedModel, AsFloatsItGivesTheReferencesLogitsAndText) {
  for (const golden::Variant& variant : GetParam().variants) {
    SCOPED_TRACE(variant.name);
    const auto path = convert(variant.path, "out.gguf", to_type("f32"));
    ASSERT_TRUE(path.ok()) << path.error().message;
    const golden::Logits expected = golden::read_npy(variant.logits);
    const auto found = golden::logits_of({.model = *path, .cache_type = "f32"}, GetParam().prompt_ids);
    ASSERT_TRUE(found.ok()) << found.error().message;
    EXPECT_LE(golden::max_difference(*found, expected.values), 1e-3 * GetParam().logit_range);
    if (variant.logits.filename() != "logits.npy") continue;  // the text is that of the model's own weights
    const auto text = golden::greedy({.model = *path}, GetParam().prompt_ids, std::ssize(GetParam().greedy_ids));
    ASSERT_TRUE(text.ok()) << text.error().message;
    EXPECT_EQ(*text, GetParam().greedy_ids);
  }
}

TEST_P(ConvertedModel, BytesAreCopiedUnlessATypeIsAskedFor) {
  for (const golden::Variant& variant : GetParam().variants) {
    SCOPED_TRACE(variant.name);
    const auto path = convert(variant.path, "out.gguf");
    if (!golden::has_gguf_form(variant)) {
      ASSERT_FALSE(path.ok());
      EXPECT_EQ(path.error().code, ErrorCode::unsupported);
      EXPECT_NE(path.error().message.find("GGUF has no form; give --type"), std::string::npos) << path.error().message;
      continue;
    }
    ASSERT_TRUE(path.ok()) << path.error().message;
    const golden::Logits expected = golden::read_npy(variant.logits);
    const auto found = golden::logits_of({.model = *path, .cache_type = "f32"}, GetParam().prompt_ids);
    ASSERT_TRUE(found.ok()) << found.error().message;
    const bool coarse = golden::is_one_of(variant.type, {"q8_0", "mxfp4", "mlx", "gpt-oss"});
    EXPECT_LE(golden::max_difference(*found, expected.values), (coarse ? 3e-2 : 1e-3) * GetParam().logit_range);
  }
}

// Against the same weights decoded: what is left is the rounding of activations. In a mixture of random weights it may
// tip a close choice of experts, so that these are dense models.
TEST_P(ConvertedModel, InEveryTypeItGivesTheLogitsOfItsDecodedWeights) {
  if (!kDense.contains(GetParam().name)) return;
  const golden::Variant& variant = GetParam().variants.front();
  for (const Mixture& mixture : mixtures()) {
    SCOPED_TRACE(mixture.name);
    const auto stored = convert(variant.path, "stored.gguf", {.mixture = &mixture});
    ASSERT_TRUE(stored.ok()) << stored.error().message;
    const auto decoded = convert(*stored, "decoded.gguf", to_type("f32"));
    ASSERT_TRUE(decoded.ok()) << decoded.error().message;
    const auto found = golden::logits_of({.model = *stored, .cache_type = "f32"}, GetParam().prompt_ids);
    const auto expected = golden::logits_of({.model = *decoded, .cache_type = "f32"}, GetParam().prompt_ids);
    ASSERT_TRUE(found.ok() && expected.ok());
    EXPECT_LE(golden::max_difference(*found, *expected), 3e-2 * GetParam().logit_range);
  }
}

// rms(a - b) / rms(b)
double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, power = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    error += std::pow(double{a[i]} - double{b[i]}, 2);
    power += std::pow(double{b[i]}, 2);
  }
  return power > 0 ? std::sqrt(error / power) : 0;
}

std::vector<float> decoded(const WeightFiles& files, const TensorInfo& tensor) {
  const std::vector<std::byte> bytes = golden::tensor_bytes(files, tensor);
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  tensor.type->decode(bytes.data(), values.data(), tensor.elements() / tensor.type->block_values);
  return values;
}

TEST_P(ConvertedModel, WeightsAreWithinTheErrorOfTheirType) {
  const golden::Variant& variant = GetParam().variants.front();
  const auto plain = convert(variant.path, "plain.gguf", to_type("f32"));
  ASSERT_TRUE(plain.ok()) << plain.error().message;
  const WeightFiles exact = open_weights(*plain).value();
  for (const char* name : {"f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl"}) {
    const auto stored = convert(variant.path, "stored.gguf", to_type(name));
    ASSERT_TRUE(stored.ok()) << stored.error().message;
    const WeightFiles files = open_weights(*stored).value();
    ASSERT_EQ(files.tensors.size(), exact.tensors.size());
    int matrices = 0;
    for (const TensorInfo& tensor : files.tensors) {
      const double error = relative_error(decoded(files, tensor), decoded(exact, *exact.find(tensor.name)));
      // The types' own bounds are for normal numbers; these may stand on a grid of few values, with outliers.
      EXPECT_LE(error, 1.5 * double{tensor.type->max_relative_error}) << name << " " << tensor.name;
      matrices += tensor.type->name == name;
    }
    EXPECT_GE(matrices, 8) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ConvertedModel, testing::ValuesIn(golden::all_models()), [](const auto& info) {
  std::string name = info.param.name;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
});

// ---- there and back ----

TEST_F(Converted, MergedToSplitToMergedIsTheSameFile) {
  for (const char* source : {"mixtral/merged.gguf", "mixtral/q8_0.gguf", "olmoe/merged.gguf", "qwen2_moe/merged.gguf",
                             "qwen3_moe/merged.gguf"}) {
    SCOPED_TRACE(source);
    const auto split = convert(golden::goldens() / source, "split.gguf", {.experts = ExpertForm::one_by_one});
    ASSERT_TRUE(split.ok()) << split.error().message;
    EXPECT_NE(open_weights(*split).value().find("blk.0.ffn_gate.0.weight"), nullptr);
    EXPECT_EQ(open_weights(*split).value().find("blk.0.ffn_gate_exps.weight"), nullptr);
    const auto merged = convert(*split, "merged.gguf");
    ASSERT_TRUE(merged.ok()) << merged.error().message;
    EXPECT_TRUE(golden::file_bytes(*merged) == golden::file_bytes(golden::goldens() / source));
  }
}

TEST_F(Converted, AFileOfOneExpertEachBecomesOneThatOthersLoad) {
  const auto merged = convert(golden::goldens() / "mixtral" / "split.gguf", "merged.gguf");
  ASSERT_TRUE(merged.ok()) << merged.error().message;
  const WeightFiles ours = open_weights(*merged).value();
  const WeightFiles theirs = open_weights((golden::goldens() / "mixtral" / "merged.gguf").string()).value();
  ASSERT_EQ(ours.tensors.size(), theirs.tensors.size());
  for (const TensorInfo& tensor : theirs.tensors)
    EXPECT_EQ(golden::tensor_bytes(ours, *ours.find(tensor.name)), golden::tensor_bytes(theirs, tensor)) << tensor.name;
}

TEST_F(Converted, PartsHoldTogetherAndJoinAgain) {
  const fs::path source = golden::goldens() / "mixtral" / "merged.gguf";
  const auto first = convert(source, "parts.gguf", {.split_bytes = 40'000});
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_NE(first->find("parts-00001-of-"), std::string::npos);
  const WeightFiles files = open_weights(*first).value();
  EXPECT_GE(files.files.size(), 5u);
  for (size_t i = 1; i < files.files.size(); ++i) EXPECT_LE(files.files[i].bytes, 45'000u) << files.files[i].path;
  const auto joined = convert(files.files.back().path, "joined.gguf");
  ASSERT_TRUE(joined.ok()) << joined.error().message;
  EXPECT_TRUE(golden::file_bytes(*joined) == golden::file_bytes(source));
}

// What an earlier conversion divided otherwise does not stay beside the new files, which is no other's.
TEST_F(Converted, OtherDivisionsOfTheSamePlaceAreReplaced) {
  const fs::path source = golden::goldens() / "mixtral" / "merged.gguf";
  const auto names = [&] {
    std::set<std::string> all;
    for (const auto& entry : fs::directory_iterator(folder_)) all.insert(entry.path().filename().string());
    return all;
  };
  std::ofstream(folder_ / "other-00001-of-00002.gguf") << "another's";
  ASSERT_TRUE(convert(source, "out.gguf", {.split_bytes = 40'000}).ok());
  const size_t small = names().size();
  ASSERT_GE(small, 6u);
  ASSERT_TRUE(convert(source, "out.gguf", {.split_bytes = 200'000, .overwrite = true}).ok());
  EXPECT_EQ(names(),
            (std::set<std::string>{"other-00001-of-00002.gguf", "out-00001-of-00002.gguf", "out-00002-of-00002.gguf"}));
  EXPECT_NE(log_.notices().back().find("of an earlier conversion"), std::string::npos) << log_.notices().back();
  ASSERT_TRUE(convert(source, "out.gguf", {.overwrite = true}).ok());
  EXPECT_EQ(names(), (std::set<std::string>{"other-00001-of-00002.gguf", "out.gguf"}));
  ASSERT_TRUE(convert(source, "out.gguf", {.split_bytes = 200'000, .overwrite = true}).ok());
  EXPECT_EQ(names().count("out.gguf"), 0u);
  // Parts that are the source stay.
  ASSERT_TRUE(convert(folder_ / "out-00001-of-00002.gguf", "out.gguf", {.overwrite = true}).ok());
  EXPECT_EQ(names().size(), 4u);
  EXPECT_TRUE(golden::file_bytes(folder_ / "out.gguf") == golden::file_bytes(source));
}

// Without --force, over the source, into a folder that is not there: a dry run says what a real one would.
TEST_F(Converted, DryRunsRefuseWhatRealOnesDo) {
  const fs::path source = golden::goldens() / "mixtral" / "merged.gguf";
  const auto path = convert(source, "there.gguf");
  ASSERT_TRUE(path.ok());
  const WeightFiles files = open_weights(source.string()).value(), copy = open_weights(*path).value();
  struct Attempt {
    const WeightFiles* files;
    fs::path to;
    bool overwrite;
  };
  for (const Attempt& attempt : {Attempt{&files, "there.gguf", false}, Attempt{&copy, "there.gguf", true},
                                 Attempt{&files, "absent/out.gguf", false}, Attempt{&files, ".", false}}) {
    const std::string to = (folder_ / attempt.to).string();
    const auto dry = convert_to_gguf(*attempt.files, to, {.overwrite = attempt.overwrite, .dry_run = true}, log_);
    const auto real = convert_to_gguf(*attempt.files, to, {.overwrite = attempt.overwrite}, log_);
    ASSERT_TRUE(dry.ok()) << dry.error().message;
    ASSERT_FALSE(real.ok()) << to;
    ASSERT_TRUE(dry->refusal.has_value()) << to;
    EXPECT_EQ(dry->refusal->message, real.error().message);
  }
  const auto fine = convert_to_gguf(files, (folder_ / "new.gguf").string(), {.dry_run = true}, log_);
  ASSERT_TRUE(fine.ok());
  EXPECT_FALSE(fine->refusal.has_value());
  EXPECT_FALSE(fs::exists(folder_ / "new.gguf"));
}

TEST_F(Converted, ThreadsNeverChangeTheFile) {
  const auto files = open_weights((golden::goldens() / "mixtral" / "model.safetensors").string());
  ASSERT_TRUE(files.ok());
  std::string expected;
  for (const int threads : {1, 3}) {
    ConvertOptions options = to_type("q4_k_m");
    options.threads = threads;
    options.overwrite = true;
    ASSERT_TRUE(convert_to_gguf(*files, (folder_ / "out.gguf").string(), options, log_).ok());
    const std::string bytes = golden::file_bytes(folder_ / "out.gguf");
    if (expected.empty()) expected = bytes;
    EXPECT_TRUE(bytes == expected) << threads;
  }
}

// ---- types ----

TEST_F(Converted, ExpertsOfDifferentTypesAreRefusedByNameOrUnified) {
  ConvertOptions mixed = {.experts = ExpertForm::one_by_one};
  mixed.overrides.push_back(parse_type_override("ffn_down\\.3\\.=q8_0").value());
  const auto split = convert(golden::goldens() / "mixtral" / "merged.gguf", "mixed.gguf", mixed);
  ASSERT_TRUE(split.ok()) << split.error().message;
  EXPECT_EQ(open_weights(*split).value().find("blk.1.ffn_down.3.weight")->dtype, "Q8_0");
  EXPECT_EQ(open_weights(*split).value().find("blk.1.ffn_down.2.weight")->dtype, "BF16");

  const auto refused = convert(*split, "merged.gguf");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::unsupported);
  EXPECT_NE(refused.error().message.find("the experts of 'blk.0.ffn_down_exps.weight' differ in type: BF16 (experts 0, "
                                         "1, 2, 4 and 3 more), Q8_0 (experts 3)"),
            std::string::npos)
      << refused.error().message;

  const auto unified = convert(*split, "merged.gguf", to_type("q8_0"));
  ASSERT_TRUE(unified.ok()) << unified.error().message;
  EXPECT_EQ(open_weights(*unified).value().find("blk.1.ffn_down_exps.weight")->dtype, "Q8_0");
}

TEST_F(Converted, OverridesDecideBeforeMixtures) {
  ConvertOptions options = to_type("q4_0");
  options.overrides.push_back(parse_type_override("attn_(k|v)=Q5_1").value());
  options.overrides.push_back(parse_type_override("blk\\.0\\.=f16").value());
  const auto path = convert(golden::goldens() / "mixtral" / "model.safetensors", "out.gguf", options);
  ASSERT_TRUE(path.ok()) << path.error().message;
  const WeightFiles files = open_weights(*path).value();
  EXPECT_EQ(files.find("blk.0.attn_k.weight")->dtype, "Q5_1");
  EXPECT_EQ(files.find("blk.0.attn_q.weight")->dtype, "F16");
  EXPECT_EQ(files.find("blk.1.attn_q.weight")->dtype, "Q4_0");
  EXPECT_EQ(files.find("blk.0.ffn_gate_inp.weight")->dtype, "F32");
  EXPECT_EQ(parse_type_override("attn_k").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(parse_type_override("attn_k=iq2_xxs").error().code, ErrorCode::invalid_argument);
}

TEST_F(Converted, QuantizingAgainIsSaid) {
  const auto path = convert(golden::goldens() / "mixtral" / "q8_0.gguf", "out.gguf", to_type("q4_0"));
  ASSERT_TRUE(path.ok()) << path.error().message;
  bool said = false;
  for (const std::string& notice : log_.notices())
    said = said || notice.find("quantized again from Q8_0") != std::string::npos;
  EXPECT_TRUE(said);
}

// ---- what ends a conversion ----

TEST_F(Converted, GivenUpNothingIsLeft) {
  const auto files = open_weights((golden::goldens() / "mixtral" / "model.safetensors").string());
  ASSERT_TRUE(files.ok());
  int64_t calls = 0;
  for (int64_t last = 0; last < 40; last += 7) {
    calls = 0;
    const auto result = convert_to_gguf(
        *files, (folder_ / "out.gguf").string(),
        {.split_bytes = 60'000, .on_progress = [&](uint64_t, uint64_t) { return calls++ < last; }}, log_);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::cancelled);
    EXPECT_TRUE(fs::is_empty(folder_)) << last;
  }
}

TEST_F(Converted, TheModelItselfIsNeverOverwritten) {
  const auto path = convert(golden::goldens() / "mixtral" / "merged.gguf", "model.gguf");
  ASSERT_TRUE(path.ok());
  const std::string before = golden::file_bytes(*path);
  const auto refused = convert(*path, "model.gguf", to_type("q8_0"));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
  EXPECT_TRUE(golden::file_bytes(*path) == before);
}

}  // namespace
}  // namespace moxie
