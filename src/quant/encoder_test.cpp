// Encoders against the reference ones: on the same numbers their error is no larger. The reference's errors come from
// tools/encoder_errors.py (Python package gguf 0.19, which follows llama.cpp).
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "quant/quant_type.h"

namespace moxie {
namespace {

// As in tools/encoder_errors.py.
std::vector<float> numbers(size_t count) {
  uint64_t state = 1;
  std::vector<float> x(count);
  for (float& value : x) {
    int64_t total = 0;
    for (int i = 0; i < 4; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      total += static_cast<int64_t>(state >> 48);
    }
    value = static_cast<float>(static_cast<double>(total - 131070) / 65536.0);
  }
  return x;
}

double relative_error(const std::vector<float>& x, const std::vector<float>& decoded,
                      const std::vector<float>& weights) {
  double error = 0, power = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += weights[i] * std::pow(static_cast<double>(decoded[i]) - x[i], 2);
    power += weights[i] * std::pow(static_cast<double>(x[i]), 2);
  }
  return std::sqrt(error / power);
}

std::vector<float> round_trip(const QuantType& type, const std::vector<float>& x, const float* importance) {
  const int64_t blocks = static_cast<int64_t>(x.size()) / type.block_values;
  std::vector<std::byte> bytes(static_cast<size_t>(blocks * type.block_bytes));
  std::vector<float> decoded(x.size());
  type.encode(x.data(), bytes.data(), blocks, importance);
  type.decode(bytes.data(), decoded.data(), blocks);
  return decoded;
}

struct Reference {
  std::string_view type;
  double error;
};

TEST(Encoders, NoWorseThanTheReference) {
  constexpr Reference kReferences[] = {{"f16", 0.000208979},  {"bf16", 0.001678493}, {"q8_0", 0.005077502},
                                       {"q5_1", 0.036482976}, {"q5_0", 0.040371490}, {"q4_1", 0.075633340},
                                       {"q4_0", 0.081341891}, {"mxfp4", 0.111094675}};
  const std::vector<float> x = numbers(65536);
  EXPECT_EQ(x[0], -0.03616333f);
  const std::vector<float> ones(x.size(), 1.0f);
  for (const Reference& reference : kReferences) {
    const QuantType* type = find_quant_type(reference.type);
    ASSERT_NE(type, nullptr) << reference.type;
    const double error = relative_error(x, round_trip(*type, x, nullptr), ones);
    EXPECT_LE(error, reference.error) << reference.type;
    RecordProperty(std::string(reference.type), std::to_string(error / reference.error));
  }
}

// Where values count unequally, an encoder that knows does better by that measure than one that does not.
TEST(Encoders, HeedImportance) {
  const std::vector<float> x = numbers(65536);
  std::vector<float> importance(x.size());
  for (size_t i = 0; i < x.size(); ++i) importance[i] = i % 8 == 3 ? 10.0f : 0.1f;
  for (const std::string_view name : {"q4_0", "q4_1", "q5_0", "q5_1"}) {
    const QuantType& type = *find_quant_type(name);
    EXPECT_LT(relative_error(x, round_trip(type, x, importance.data()), importance),
              0.95 * relative_error(x, round_trip(type, x, nullptr), importance))
        << name;
  }
}

// What decodes to itself must be stored as it is: encoding decoded values changes nothing.
TEST(Encoders, AreStableOnTheirOwnValues) {
  const std::vector<float> x = numbers(8192);
  for (const std::string_view name : {"f32", "f16", "bf16", "q8_0"}) {
    const QuantType& type = *find_quant_type(name);
    const std::vector<float> once = round_trip(type, x, nullptr);
    EXPECT_EQ(round_trip(type, once, nullptr), once) << name;
  }
}

}  // namespace
}  // namespace moxie
