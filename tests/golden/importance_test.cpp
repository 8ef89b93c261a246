// Importance matrices: what is measured is what an independent computation measures, and encoders that are told of it
// lose less of what matters.
#include "convert/importance.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "convert/convert.h"
#include "engine/importance_maker.h"
#include "format/tensor_values.h"
#include "golden/golden_models.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

const fs::path kDemo = fs::path(source_dir()) / "models" / "demo";  // rows that divide by 256
const fs::path kStories = golden::data_folder() / "models" / "stories260k-moe8";

ImportanceMatrix measured(const EngineOptions& options, const std::vector<int32_t>& ids, ImportanceOptions how) {
  const auto engine = test::open_engine(options);
  EXPECT_TRUE(engine.ok()) << engine.error().message;
  auto matrix = make_importance(**engine, ids, how);
  EXPECT_TRUE(matrix.ok()) << matrix.error().message;
  return matrix.ok() ? *matrix : ImportanceMatrix();
}

void expect_near(const std::vector<float>& found, const std::vector<float>& expected, const std::string& name) {
  ASSERT_EQ(found.size(), expected.size()) << name;
  const float largest = *std::max_element(expected.begin(), expected.end());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-4f * largest) << name << " " << i;
}

// importance.gguf is computed in double by other programs (tools/make_importance_golden.py).
class MeasuredImportance : public ::testing::TestWithParam<const char*> {};

TEST_P(MeasuredImportance, IsWhatAnIndependentComputationSays) {
  const auto models = golden::all_models();
  const auto model =
      std::find_if(models.begin(), models.end(), [](const golden::Model& m) { return m.name == GetParam(); });
  ASSERT_NE(model, models.end());
  const auto expected = read_importance((golden::goldens() / GetParam() / "importance.gguf").string());
  ASSERT_TRUE(expected.ok()) << expected.error().message;
  for (const bool streaming : {false, true}) {
    for (const int64_t batch : {2048, 5}) {
      SCOPED_TRACE(fmt::format("streaming {}, batch {}", streaming, batch));
      EngineOptions options{.model = (golden::goldens() / GetParam() / "model.safetensors").string(),
                            .cache_type = "f32"};
      options.batch_size = options.ubatch_size = batch;
      if (streaming) options.expert_slots = 0;
      const ImportanceMatrix found =
          measured(options, model->prompt_ids, {.chunk_tokens = std::ssize(model->prompt_ids)});
      EXPECT_EQ(found.entries.size(), expected->entries.size());
      for (const auto& [name, entry] : expected->entries) {
        ASSERT_TRUE(found.entries.contains(name)) << name;
        expect_near(found.entries.at(name).sums, entry.sums, name);
        EXPECT_EQ(found.entries.at(name).counts, entry.counts) << name;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, MeasuredImportance, testing::Values("llama", "mixtral", "qwen2_moe"),
                         [](const auto& info) { return std::string(info.param); });

// A text of some length, by the small model's own tokenizer.
std::vector<int32_t> story_ids(size_t stories, const fs::path& model = kStories) {
  const auto engine = test::open_engine({.model = model.string(), .vocab_only = true});
  EXPECT_TRUE(engine.ok()) << engine.error().message;
  std::vector<int32_t> ids;
  const auto documents = golden::held_out_documents();
  for (size_t i = 0; i < std::min(stories, documents.size()); ++i) {
    const auto more = (*engine)->tokenize(documents[i], false, false);
    ids.insert(ids.end(), more->begin(), more->end());
  }
  return ids;
}

TEST(ImportanceMaker, ChunksAddUpAndTheOutputIsMeasuredOnRequest) {
  const std::vector<int32_t> ids = story_ids(2);
  const EngineOptions options{.model = kStories.string()};
  const ImportanceMatrix three = measured(options, ids, {.chunk_tokens = 32, .chunks = 3});
  EXPECT_EQ(three.chunks, 3u);
  EXPECT_FALSE(three.entries.contains("output.weight"));
  EXPECT_EQ(three.entries.at("blk.0.attn_q.weight").counts, std::vector<float>{96});
  const auto& experts = three.entries.at("blk.0.ffn_down_exps.weight").counts;
  EXPECT_EQ(std::accumulate(experts.begin(), experts.end(), 0.0f), 2 * 96);
  ImportanceMatrix sum;
  for (size_t chunk = 0; chunk < 3; ++chunk) {
    const std::vector<int32_t> part(ids.begin() + static_cast<ptrdiff_t>(32 * chunk),
                                    ids.begin() + static_cast<ptrdiff_t>(32 * chunk + 32));
    ASSERT_TRUE(sum.add(measured(options, part, {.chunk_tokens = 32})).ok());
  }
  for (const auto& [name, entry] : three.entries) {
    expect_near(entry.sums, sum.entries.at(name).sums, name);
    EXPECT_EQ(entry.counts, sum.entries.at(name).counts) << name;
  }
  const ImportanceMatrix with_output = measured(options, ids, {.chunk_tokens = 32, .chunks = 1, .output = true});
  EXPECT_EQ(with_output.entries.at("output.weight").counts, std::vector<float>{32});
}

TEST(ImportanceMaker, RefusesWhatLeavesNothingToMeasure) {
  const auto engine = test::open_engine({.model = kStories.string(), .ctx_size = 64});
  const std::vector<int32_t> ids(40, 5);
  for (const ImportanceOptions& options :
       {ImportanceOptions{.chunk_tokens = 41}, ImportanceOptions{.chunk_tokens = 65},
        ImportanceOptions{.chunk_tokens = 0}, ImportanceOptions{.chunk_tokens = 32, .chunks = 0}}) {
    const auto none = make_importance(**engine, ids, options);
    ASSERT_FALSE(none.ok());
    EXPECT_EQ(none.error().code, ErrorCode::invalid_argument);
  }
  std::atomic<bool> stop{true};
  const auto stopped = make_importance(**engine, ids, {.chunk_tokens = 32, .stop = &stop});
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled);
  EXPECT_TRUE(make_importance(**engine, ids, {.chunk_tokens = 32}).ok()) << "the engine computes as before";
}

// ---- what encoders make of it ----

struct WrittenModel {
  fs::path path;
  WeightFiles files;
};

class Informed : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("moxie-informed-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // The matrices of one layer in one type, so that only the encoder makes a difference.
  WrittenModel convert(const char* type, const ImportanceMatrix* importance, const std::string& name) {
    Log log;
    const WeightFiles source = open_weights(kDemo.string()).value();
    ConvertOptions options{.mixture = find_mixture("f32"), .importance = importance, .overwrite = true, .threads = 2};
    options.overrides = {parse_type_override(std::string("blk[.]1[.](attn|ffn)=") + type).value()};
    const fs::path path = folder_ / name;
    const auto done = convert_to_gguf(source, path.string(), options, log);
    EXPECT_TRUE(done.ok()) << done.error().message;
    return {path, open_weights(path.string()).value()};
  }
  static std::vector<float> values(const WeightFiles& files, const std::string& name) {
    std::vector<float> all;
    const auto done = read_tensor_rows(files, *files.find(name), [&](std::span<const float> row) -> Result<void> {
      all.insert(all.end(), row.begin(), row.end());
      return {};
    });
    EXPECT_TRUE(done.ok());
    return all;
  }

  fs::path folder_;
};

TEST_P(Informed, TheWeightedErrorIsLower) {
  static const ImportanceMatrix importance =
      measured({.model = kDemo.string()}, story_ids(2, kDemo), {.chunk_tokens = 128});
  const WrittenModel exact = convert("f32", nullptr, "exact.gguf"), plain = convert(GetParam(), nullptr, "plain.gguf"),
                     informed = convert(GetParam(), &importance, "informed.gguf");
  double plain_sum = 0, informed_sum = 0;
  size_t tensors = 0;
  for (const TensorInfo& tensor : plain.files.tensors) {
    if (tensor.type->block_values == 1 || !importance.entries.contains(tensor.name)) continue;
    ++tensors;
    const int64_t matrices = tensor.shape.size() == 3 ? tensor.shape[0] : 1, columns = tensor.shape.back();
    const auto weights = importance.weights(tensor.name, matrices, columns).value();
    const auto x = values(exact.files, tensor.name), a = values(plain.files, tensor.name),
               b = values(informed.files, tensor.name);
    const size_t per_matrix = x.size() / static_cast<size_t>(matrices);
    double plain_error = 0, informed_error = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t at = i / per_matrix * static_cast<size_t>(columns) + i % static_cast<size_t>(columns);
      plain_error += double{weights[at]} * double{(a[i] - x[i])} * double{(a[i] - x[i])};
      informed_error += double{weights[at]} * double{(b[i] - x[i])} * double{(b[i] - x[i])};
    }
    EXPECT_LT(informed_error, plain_error) << tensor.name;
    plain_sum += plain_error;
    informed_sum += informed_error;
  }
  EXPECT_EQ(tensors, 7u);
  RecordProperty("share_of_error", std::to_string(informed_sum / plain_sum));
  EXPECT_LT(informed_sum, 0.98 * plain_sum);
}

INSTANTIATE_TEST_SUITE_P(Types, Informed,
                         testing::Values("q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs", "q4_0", "q4_1",
                                         "q5_0", "q5_1"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace moxie
