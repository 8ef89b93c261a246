// Residency never changes the answer, on a trained model and on a layer of real shape: every budget from the least one
// up, every policy, every way of reading, guesses or none give the bits of a run with all experts in memory.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "convert/pack.h"
#include "core/fail.h"
#include "golden/golden_models.h"
#include "golden/real_shape_model.h"
#include "store/policy.h"
#include "support/paths.h"
#include "support/sanitized.h"
#include "support/watchdog.h"

namespace moxie {
namespace {

namespace fs = std::filesystem;

struct Work {
  std::vector<int32_t> prompt;
  int steps = 0;
};

// Logits of the prompt's every position and of `steps` steps after it, each taking the likeliest token.
Result<std::vector<float>> logits_of(const EngineOptions& options, const Work& work, ExpertStats* stats = nullptr) {
  MOXIE_TRY(auto engine, test::open_engine(options));
  MOXIE_TRY(auto sequence, engine->new_sequence());
  std::vector<float> all;
  const auto keep = [&](int64_t, std::span<const float> logits) {
    all.insert(all.end(), logits.begin(), logits.end());
  };
  MOXIE_TRY_VOID(sequence->append(work.prompt, keep));
  for (int step = 0; step < work.steps; ++step) {
    const std::span<const float> logits = sequence->logits();
    const auto id = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    MOXIE_TRY_VOID(sequence->append({&id, 1}, keep));
  }
  if (stats != nullptr) *stats = engine->expert_stats();
  return all;
}

// The least budget that works, as the refusal of a smaller one names it.
uint64_t least_budget(EngineOptions options) {
  options.memory = "1M";
  options.expert_slots = -1;
  const auto refused = Engine::open(options);
  EXPECT_FALSE(refused.ok());
  if (refused.ok()) return 0;
  EXPECT_EQ(refused.error().code, ErrorCode::out_of_memory);
  const std::string_view before = "the least that works is --memory ";
  const size_t at = refused.error().message.find(before);
  EXPECT_NE(at, std::string::npos) << refused.error().message;
  return std::strtoull(refused.error().message.c_str() + at + before.size(), nullptr, 10) << 20;
}

// What a model must give, whatever is resident.
class Reference {
 public:
  Reference(EngineOptions options, Work work) : options_(std::move(options)), work_(std::move(work)) {
    options_.memory = "all";
    auto logits = logits_of(options_, work_);
    EXPECT_TRUE(logits.ok()) << logits.error().message;
    if (logits.ok()) logits_ = std::move(logits).value();
    for (const float logit : logits_) EXPECT_TRUE(std::isfinite(logit));
    options_.memory = "auto";
  }
  EngineOptions options() const { return options_; }
  ExpertStats expect_same(const EngineOptions& changed, const std::string& what) const {
    ExpertStats stats;
    const auto found = logits_of(changed, work_, &stats);
    EXPECT_TRUE(found.ok()) << what << ": " << found.error().message;
    if (!found.ok()) return stats;
    EXPECT_EQ(found->size(), logits_.size()) << what;
    EXPECT_EQ(std::memcmp(found->data(), logits_.data(), std::min(found->size(), logits_.size()) * sizeof(float)), 0)
        << what;
    return stats;
  }

 private:
  EngineOptions options_;
  Work work_;
  std::vector<float> logits_;
};

// From the least budget up, until everything fits: the more memory, the more experts are kept.
void expect_same_for_every_budget(const Reference& reference, double experts) {
  EngineOptions some = reference.options();
  const uint64_t least = least_budget(some);
  ASSERT_GT(least, 0u);
  EngineOptions everything = some;
  everything.memory = "all";
  uint64_t expert_bytes = 0;
  {  // its bytes would count as the test's own
    const auto resident = test::open_engine(everything);
    ASSERT_TRUE(resident.ok());
    expert_bytes = (*resident)->memory().experts;
  }
  double kept = -1;
  int streamed = 0;
  for (const double share : {0.0, 0.5, 0.75, 1.5}) {
    // The test's own size grows with the engines it has had, and differs by some pages from one moment to the next.
    const uint64_t budget = std::max(least, least_budget(reference.options())) + (uint64_t{3} << 20) +
                            static_cast<uint64_t>(share * static_cast<double>(expert_bytes));
    some.memory = std::to_string(budget);
    const ExpertStats stats = reference.expect_same(some, "memory " + some.memory);
    if (!stats.streaming) {
      EXPECT_GT(share, 0.5) << "kept " << kept;
      continue;
    }
    ++streamed;
    EXPECT_LT(share, 1.5);
    EXPECT_GT(stats.slots_per_layer, kept);
    EXPECT_LT(stats.slots_per_layer, experts);
    kept = stats.slots_per_layer;
  }
  EXPECT_GE(streamed, 2);
}

void expect_same_for_every_way(const Reference& reference, int64_t slots) {
  for (const char* lookahead : {"off", "on", "auto"}) {
    for (const int depth : {1, 2, 8}) {
      for (const char* backend : {"threads", "io_uring"}) {
        for (const bool direct : {true, false}) {
          EngineOptions some = reference.options();
          some.expert_slots = slots;
          some.lookahead = lookahead;
          some.io_depth = depth;
          some.io_backend = backend;
          some.direct_io = direct;
          // Pieces smaller than a projection, larger than one, and the default.
          some.io_piece = depth == 1 ? 0 : depth == 2 ? 20480 : 1 << 22;
          reference.expect_same(
              some, fmt::format("lookahead {}, {} at once, {}, direct {}", lookahead, depth, backend, direct));
        }
      }
    }
  }
}

// ---- the demo_shape model ----

EngineOptions demo_shape() {
  return {.model = (fs::path(source_dir()) / "models" / "demo").string(), .ctx_size = 1024, .threads = 2};
}

std::vector<int32_t> some_ids(int count, int vocabulary) {
  std::vector<int32_t> ids;
  for (int i = 0; i < count; ++i) ids.push_back((i * 37 + i * i % 11 + 1) % vocabulary);
  return ids;
}

TEST(ResidencyOfTheDemoModel, AnyBudget) {
  if (test::kSanitized) GTEST_SKIP() << "a sanitizer's own memory counts";
  const test::Watchdog watchdog;
  const Reference reference(demo_shape(), {.prompt = some_ids(20, 4096), .steps = 12});
  expect_same_for_every_budget(reference, 8);
  for (const int64_t slots : {0, 2, 4, 6, 8}) {
    EngineOptions some = reference.options();
    some.expert_slots = slots;
    const ExpertStats stats = reference.expect_same(some, fmt::format("{} slots", slots));
    EXPECT_EQ(stats.slots_per_layer, static_cast<double>(slots));
    EXPECT_EQ(stats.streaming, slots < 8);
  }
  EngineOptions read = reference.options();
  read.mmap = false;
  const ExpertStats stats = reference.expect_same(read, "all read");
  EXPECT_EQ(stats.misses, 0u);
  EXPECT_FALSE(stats.streaming);
}

TEST(ResidencyOfTheDemoModel, AnyPolicy) {
  const test::Watchdog watchdog;
  const Reference reference(demo_shape(), {.prompt = some_ids(20, 4096), .steps = 24});
  for (const PolicyEntry* policy : policy_entries()) {
    for (const int64_t slots : {2, 5}) {
      EngineOptions some = reference.options();
      some.policy = policy->name;
      some.expert_slots = slots;
      reference.expect_same(some, fmt::format("{}, {} slots", policy->name, slots));
    }
  }
}

TEST(ResidencyOfTheDemoModel, AnyReadsAndGuesses) {
  const test::Watchdog watchdog;
  expect_same_for_every_way(Reference(demo_shape(), {.prompt = some_ids(9, 4096), .steps = 10}), 2);
}

// More tokens than a chunk has, and than the batch that a small budget allows.
TEST(ResidencyOfTheDemoModel, APromptOfSeveralChunksAndBatches) {
  if (test::kSanitized) GTEST_SKIP() << "a sanitizer's own memory counts";
  const test::Watchdog watchdog;
  const Reference reference(demo_shape(), {.prompt = some_ids(700, 4096), .steps = 3});
  for (const int64_t slots : {0, 2, 6}) {
    for (const int64_t chunk : {512, 48, 7}) {
      EngineOptions some = reference.options();
      some.expert_slots = slots;
      some.ubatch_size = chunk;
      reference.expect_same(some, fmt::format("{} slots, chunks of {}", slots, chunk));
    }
  }
  EngineOptions least = reference.options();
  least.memory = std::to_string(least_budget(least) + (uint64_t{3} << 20));
  reference.expect_same(least, "the least budget");
}

// ---- a layer of real shape ----

class ResidencyOfRealShape : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    path_ = fs::path(testing::TempDir()) / ("moxie-residency-" + std::to_string(::getpid()) + ".gguf");
    // The smaller types: what is read here is read often.
    golden::write_real_shape(
        path_, {find_quant_type("q4_k"), find_quant_type("q2_k"), find_quant_type("q3_k"), find_quant_type("q4_0")});
    reference_ = std::make_unique<Reference>(EngineOptions{.model = path_.string(), .ctx_size = 64, .threads = 2},
                                             Work{.prompt = some_ids(3, 128), .steps = 3});
  }
  static void TearDownTestSuite() {
    reference_.reset();
    fs::remove(path_);
  }

  static fs::path path_;
  static std::unique_ptr<Reference> reference_;
};
fs::path ResidencyOfRealShape::path_;
std::unique_ptr<Reference> ResidencyOfRealShape::reference_;

TEST_F(ResidencyOfRealShape, AnyBudget) {
  const test::Watchdog watchdog;
  expect_same_for_every_budget(*reference_, 8);
  for (const int64_t slots : {0, 4, 6}) {
    EngineOptions some = reference_->options();
    some.expert_slots = slots;
    reference_->expect_same(some, fmt::format("{} slots", slots));
  }
  EngineOptions read = reference_->options();
  read.mmap = false;
  reference_->expect_same(read, "all read");
}

TEST_F(ResidencyOfRealShape, AnyReads) {
  const test::Watchdog watchdog;
  for (const int depth : {1, 2, 8}) {
    EngineOptions some = reference_->options();
    some.expert_slots = depth == 2 ? 0 : 3;
    some.io_depth = depth;
    some.io_backend = depth == 8 ? "io_uring" : "threads";
    some.direct_io = depth != 2;
    reference_->expect_same(some, fmt::format("{} at once", depth));
  }
}

TEST_F(ResidencyOfRealShape, AnyPolicyWithAndWithoutGuesses) {
  const test::Watchdog watchdog;
  for (const PolicyEntry* policy : policy_entries()) {
    for (const char* lookahead : {"off", "on"}) {
      EngineOptions some = reference_->options();
      some.policy = policy->name;
      some.lookahead = lookahead;
      some.expert_slots = 2;
      const ExpertStats stats = reference_->expect_same(some, fmt::format("{}, lookahead {}", policy->name, lookahead));
      EXPECT_GT(stats.misses, 0u);
    }
  }
}

TEST_F(ResidencyOfRealShape, APackAndItsSource) {
  const test::Watchdog watchdog;
  const fs::path packed = path_.string() + ".pack.gguf";
  {
    const auto files = open_weights(path_.string());
    ASSERT_TRUE(files.ok()) << files.error().message;
    Log log;
    const auto written = write_pack(*files, packed.string(), {}, log);
    ASSERT_TRUE(written.ok()) << written.error().message;
  }
  EngineOptions some = reference_->options();
  some.model = packed.string();
  some.memory = "all";
  reference_->expect_same(some, "resident");
  some.memory = "auto";
  for (const int64_t slots : {0, 2, 6}) {
    some.expert_slots = slots;
    some.verify = slots == 2;
    reference_->expect_same(some, fmt::format("{} slots", slots));
  }
  fs::remove(packed);
}

// ---- containers ----

// Every form of every golden mixture: itself with all experts in memory, and the other forms with the same weights.
class ResidencyOfContainers : public testing::TestWithParam<golden::Model> {};

TEST_P(ResidencyOfContainers, StreamedAsResident) {
  for (const golden::Variant& variant : GetParam().variants) {
    EngineOptions options = {.model = variant.path.string(), .threads = 2};
    const Reference reference(options, {.prompt = GetParam().prompt_ids, .steps = 8});
    for (const int64_t slots : {0, 3, 4}) {
      options.expert_slots = slots;
      reference.expect_same(options, fmt::format("{}, {} slots", variant.name, slots));
    }
  }
}

std::vector<golden::Model> mixtures() {
  std::vector<golden::Model> models = golden::all_models();
  std::erase_if(models, [](const golden::Model& model) { return model.variants[0].experts == "none"; });
  return models;
}

INSTANTIATE_TEST_SUITE_P(Golden, ResidencyOfContainers, testing::ValuesIn(mixtures()), [](const auto& info) {
  std::string name = info.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// GGUF and safetensors order the rows of queries and keys in two ways, so sums differ in their last bits between these
// two.
TEST(ResidencyAcrossContainers, MergedAndSplitAndOneByOneAndStackedAndFused) {
  const fs::path folder = golden::data_folder() / "golden";
  const std::vector<std::vector<const char*>> same = {
      {"mixtral/merged.gguf", "mixtral/split.gguf"},
      {"mixtral/model.safetensors", "mixtral-shards", "mixtral-stacked"}};
  for (const std::vector<const char*>& containers : same) {
    const Reference first({.model = (folder / containers[0]).string(), .threads = 2},
                          {.prompt = some_ids(16, 64), .steps = 8});
    for (const char* container : containers) {
      for (const int64_t slots : {0, 2, 5, 8}) {
        EngineOptions some = first.options();
        some.model = (folder / container).string();
        some.expert_slots = slots;
        first.expect_same(some, fmt::format("{}, {} slots", container, slots));
      }
    }
  }
}

}  // namespace
}  // namespace moxie
