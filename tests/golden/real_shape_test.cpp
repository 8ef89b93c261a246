// One layer of real shape, so that rows span many blocks. Whatever the threads and the batch, the bits are the same.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "golden/golden_models.h"
#include "golden/real_shape_model.h"
#include "kernels/select.h"
#include "support/paths.h"
#include "support/sanitized.h"

namespace moxie {
namespace {

class RealShape : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    path_ = std::filesystem::path(testing::TempDir()) / "moxie-real-shape.gguf";
    types_ = golden::expert_types();
    golden::write_real_shape(path_, types_);
    for (int32_t i = 0; i < 24; ++i) ids_.push_back(i * 37 % 128);
  }
  static void TearDownTestSuite() { std::filesystem::remove(path_); }

  static std::filesystem::path path_;
  static std::vector<const QuantType*> types_;
  static std::vector<int32_t> ids_;
};
std::filesystem::path RealShape::path_;
std::vector<const QuantType*> RealShape::types_;
std::vector<int32_t> RealShape::ids_;

TEST_F(RealShape, SameBitsForAnyThreadsAndBatch) {
  ASSERT_GE(types_.size(), 4u);
  for (const CpuTarget& target : cpu_targets()) {
    if (!target.supported()) continue;
    const std::string name(target.name);
    const auto expected =
        golden::logits_of({.model = path_.string(), .threads = 1, .cpu_target = name, .ubatch_size = 512}, ids_);
    ASSERT_TRUE(expected.ok()) << expected.error().message;
    for (const float logit : *expected) ASSERT_TRUE(std::isfinite(logit));
    for (const auto& [threads, ubatch] : std::vector<std::pair<int, int64_t>>{{1, 1}, {2, 512}, {3, 5}, {8, 11}}) {
      const auto found = golden::logits_of(
          {.model = path_.string(), .threads = threads, .cpu_target = name, .ubatch_size = ubatch}, ids_);
      ASSERT_TRUE(found.ok()) << found.error().message;
      EXPECT_TRUE(*found == *expected) << target.name << ", threads " << threads << ", ubatch " << ubatch;
    }
  }
}

TEST_F(RealShape, MappedAndReadGiveTheSameBits) {
  const auto mapped = golden::logits_of({.model = path_.string(), .mmap = true}, ids_);
  const auto read = golden::logits_of({.model = path_.string(), .mmap = false}, ids_);
  ASSERT_TRUE(mapped.ok() && read.ok());
  EXPECT_TRUE(*mapped == *read);
}

// The program's own account of its peak, from the kernel (VmHWM), with a long prompt in large batches.
TEST_F(RealShape, PeakMemoryIsFileAndCacheAndLittleElse) {
  if (test::kSanitized) GTEST_SKIP() << "a sanitizer's own memory counts";
  std::string ids = "1";
  for (int i = 1; i < 400; ++i) ids += "," + std::to_string(i % 128);
  for (const char* flag : {"--mmap", "--no-mmap"}) {
    const std::string command = moxie_program() + " run " + path_.string() + " --ids " + ids +
                                " -n 8 --ignore-eos --stats json " + flag + " 2>&1 >/dev/null";
    FILE* pipe = popen(command.c_str(), "r");
    ASSERT_NE(pipe, nullptr);
    std::string output;
    for (char piece[256]; std::fgets(piece, sizeof piece, pipe) != nullptr;) output += piece;
    ASSERT_EQ(pclose(pipe), 0) << output;
    const auto stats = nlohmann::json::parse(output.substr(output.rfind('{')));
    const uint64_t cache = 512ull * 8 * 128 * 2 * 2;  // tokens, heads, values, K and V, f16
    EXPECT_LE(stats.at("rss_peak_bytes").get<uint64_t>(), std::filesystem::file_size(path_) + cache + 300'000'000)
        << flag;
    EXPECT_GE(stats.at("rss_peak_bytes").get<uint64_t>(), 10'000'000u);
  }
}

TEST_F(RealShape, TargetsAgreeWithinAccuracy) {
  const auto baseline = golden::logits_of({.model = path_.string(), .cpu_target = "baseline"}, ids_);
  ASSERT_TRUE(baseline.ok());
  for (const CpuTarget& target : cpu_targets()) {
    if (!target.supported()) continue;
    const auto found = golden::logits_of({.model = path_.string(), .cpu_target = std::string(target.name)}, ids_);
    ASSERT_TRUE(found.ok());
    double error = 0, size = 0;
    for (size_t i = 0; i < found->size(); ++i) {
      error += std::pow(double{(*found)[i]} - (*baseline)[i], 2);
      size += std::pow(double{(*baseline)[i]}, 2);
    }
    EXPECT_LE(std::sqrt(error / size), 1e-2)
        << target.name;  // rounding of activations to 8 bits tips the other way here and there
  }
}

}  // namespace
}  // namespace moxie
