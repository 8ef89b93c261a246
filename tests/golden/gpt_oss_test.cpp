// GPT-OSS in place: what is read for an expert is its own bytes, once, although gate and up lie in turn.
#include <gtest/gtest.h>

#include <algorithm>

#include "format/weight_file.h"
#include "golden/golden_models.h"
#include "model/expert_table.h"
#include "model/model.h"

namespace moxie {
namespace {

constexpr uint64_t kHidden = 64, kInner = 32, kExperts = 8, kLayers = 2;

struct Form {
  const char* folder;
  size_t ranges;          // of an expert
  uint64_t expert_bytes;  // of its three matrices
};
// MXFP4: 17 bytes for 32 numbers, in two tensors each for gate with up and for down.
constexpr Form kForms[] = {
    {"gpt_oss-published", 4, 3 * kHidden* kInner / 32 * 17},
    {"gpt_oss-transposed", 2, 3 * kHidden* kInner * 2},
    {"gpt_oss-apart", 3, 3 * kHidden* kInner * 2},
};

TEST(GptOssExperts, EachIsReadOnce) {
  for (const Form& form : kForms) {
    SCOPED_TRACE(form.folder);
    const auto files = open_weights((golden::goldens() / form.folder).string());
    ASSERT_TRUE(files.ok()) << files.error().message;
    Log log;
    const auto plan = plan_model(*files, {}, log);
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    uint64_t end = 0;
    for (size_t id = 0; id < kExperts; ++id) {
      const ExpertRecord& expert = plan->experts.experts[1].at(id);
      const ExpertRanges ranges = file_ranges(expert);
      EXPECT_EQ(ranges.size(), form.ranges);
      EXPECT_EQ(ranges.bytes(), form.expert_bytes);
      EXPECT_EQ(expert.bytes(), form.expert_bytes);
      // The experts of a tensor follow one another.
      EXPECT_TRUE(id == 0 || ranges[0].offset == end);
      end = ranges[0].offset + ranges[0].bytes;
    }
    EXPECT_EQ(plan->expert_bytes, kLayers * kExperts * form.expert_bytes);
    uint64_t all = 0;
    for (const WeightPart& part : files->files) all += part.bytes;
    EXPECT_LE(files->total_bytes(), all) << "no byte counts twice";
  }
}

TEST(GptOssExperts, FormsOfOneModelGiveTheSameLogits) {
  const std::vector<int32_t> ids = {1, 94, 35, 116, 93, 15, 94, 111, 32, 115};
  const auto apart = golden::logits_of({.model = (golden::goldens() / "gpt_oss-apart").string()}, ids);
  ASSERT_TRUE(apart.ok()) << apart.error().message;
  const auto [low, high] = std::minmax_element(apart->begin(), apart->end());
  for (const int slots : {-1, 0, 3}) {
    EngineOptions options{.model = (golden::goldens() / "gpt_oss-transposed").string()};
    options.expert_slots = slots;
    const auto found = golden::logits_of(options, ids);
    ASSERT_TRUE(found.ok()) << found.error().message;
    // The order of sums differs, and the cache of keys and values is in half precision.
    EXPECT_LE(golden::max_difference(*found, *apart), 1e-3 * (*high - *low)) << "slots " << slots;
  }
}

}  // namespace
}  // namespace moxie
