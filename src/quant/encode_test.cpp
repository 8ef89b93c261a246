// The encoders that search: how small their errors are, with and without importance, and that all targets write the
// same bytes.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/select.h"
#include "quant/quant_type.h"

namespace moxie {
namespace {

struct Expected {
  const char* name;
  // rms(error) / rms(x) on Laplace-distributed values, of ggml's quantizer without importance (libggml-base 0.25.3).
  double ggml_laplace;
};
constexpr Expected kTypes[] = {{"q2_k", 0.3440}, {"q3_k", 0.1761},   {"q4_k", 0.0846},  {"q5_k", 0.0428},
                               {"q6_k", 0.0216}, {"iq4_nl", 0.0878}, {"iq4_xs", 0.0885}};
constexpr int kCount = 256 * 1024;

std::vector<float> normal_values(int count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

std::vector<float> laplace_values(int count, uint32_t seed) {
  std::mt19937 random(seed);
  std::exponential_distribution<float> exponential(50);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = random() % 2 ? exponential(random) : -exponential(random);
  return values;
}

std::vector<std::byte> encode(const QuantType& type, const std::vector<float>& x,
                              const std::vector<float>& importance = {}) {
  const int64_t blocks = static_cast<int64_t>(x.size()) / type.block_values;
  std::vector<std::byte> bytes(static_cast<size_t>(blocks * type.block_bytes));
  type.encode(x.data(), bytes.data(), blocks, importance.empty() ? nullptr : importance.data());
  return bytes;
}

// rms(decode(encode(x)) - x) / rms(x); the squares weighted by `cost` unless that is empty.
double relative_error(const QuantType& type, const std::vector<float>& x, const std::vector<std::byte>& bytes,
                      const std::vector<float>& cost = {}) {
  std::vector<float> decoded(x.size());
  type.decode(bytes.data(), decoded.data(), static_cast<int64_t>(x.size()) / type.block_values);
  double error = 0, power = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double w = cost.empty() ? 1 : cost[i];
    error += w * std::pow(static_cast<double>(decoded[i]) - x[i], 2);
    power += w * std::pow(static_cast<double>(x[i]), 2);
  }
  return std::sqrt(error / power);
}

TEST(Encode, StatedErrorsAreTight) {
  const std::vector<float> x = normal_values(kCount, 1);
  for (const Expected& expected : kTypes) {
    const QuantType& type = *find_quant_type(expected.name);
    const double error = relative_error(type, x, encode(type, x));
    EXPECT_LE(error, type.max_relative_error) << expected.name;
    EXPECT_GE(error, 0.97 * type.max_relative_error) << expected.name;
  }
}

TEST(Encode, HeavyTailsCostNoMoreThanWithGgml) {
  const std::vector<float> x = laplace_values(kCount, 2);
  for (const Expected& expected : kTypes) {
    const QuantType& type = *find_quant_type(expected.name);
    EXPECT_LE(relative_error(type, x, encode(type, x)), expected.ggml_laplace) << expected.name;
  }
}

TEST(Encode, ImportanceMovesTheErrorToWhereItCostsLeast) {
  const std::vector<float> x = normal_values(kCount / 4, 3);
  std::mt19937 random(4);
  std::exponential_distribution<float> exponential(1);
  std::vector<float> importance(x.size());
  for (float& w : importance) w = exponential(random);
  for (const Expected& expected : kTypes) {
    const QuantType& type = *find_quant_type(expected.name);
    const double blind = relative_error(type, x, encode(type, x), importance);
    const double informed = relative_error(type, x, encode(type, x, importance), importance);
    EXPECT_LT(informed, 0.98 * blind) << expected.name;
    // Importance that says nothing changes nothing, whatever its unit.
    for (const float same : {0.0f, 1e-20f, 1e20f}) {
      const std::vector<float> some(x.begin(), x.begin() + 1024);
      EXPECT_EQ(encode(type, some, std::vector<float>(1024, same)), encode(type, some))
          << expected.name << ", " << same;
    }
  }
}

TEST(Encode, EveryTargetWritesTheSameBytes) {
  std::vector<float> x = laplace_values(256 * 40, 5);
  const std::vector<float> importance(normal_values(256 * 40, 6));  // negative ones count as none
  for (size_t i = 0; i < 256; ++i) x[i] = i % 16 == 0 ? x[i] * 1000 : 0;
  for (const Expected& expected : kTypes) {
    const QuantType& baseline = *find_quant_type(expected.name);
    for (const CpuTarget& target : cpu_targets()) {
      if (!target.supported()) continue;
      const QuantType& type = *find_quant_type(expected.name, target.name);
      EXPECT_EQ(encode(type, x), encode(baseline, x)) << expected.name << " on " << target.name;
      EXPECT_EQ(encode(type, x, importance), encode(baseline, x, importance)) << expected.name << " on " << target.name;
    }
  }
}

// Two levels, one of them zero: nothing is lost but the rounding of the scale, and with iq4's table, which has no zero,
// its 1 / 127.
TEST(Encode, TwoLevelsAreExact) {
  for (const Expected& expected : kTypes) {
    const QuantType& type = *find_quant_type(expected.name);
    std::vector<float> x(256);
    for (size_t i = 0; i < x.size(); ++i) x[i] = i % 3 == 0 ? -0.5f : 0.0f;
    const bool has_zero = type.name[0] == 'q';
    EXPECT_LE(relative_error(type, x, encode(type, x)), has_zero ? 1e-3 : 0.012) << expected.name;
  }
}

}  // namespace
}  // namespace moxie
