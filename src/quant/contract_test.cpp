// What every weight type promises (quant_type.h), checked for each entry of types.inc and its fast twin on each CPU
// target of this machine. Data lies against unreadable pages, so that reading past a row's end fails too.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "core/float16.h"
#include "kernels/select.h"
#include "quant/activations.h"
#include "quant/quant_type.h"
#include "support/guarded_buffer.h"

namespace moxie {
namespace {

using test::GuardedBuffer;

struct Case {
  const CpuTarget* target;
  const QuantType* type;
  std::string name() const {
    const bool fast = find_quant_type(type->name, target->name) != type;
    return std::string(target->name) + "_" + std::string(type->name) + (fast ? "_fast" : "");
  }
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const CpuTarget& target : cpu_targets()) {
    if (!target.supported()) continue;
    for (const QuantType* type : quant_types(target.name)) {
      if (type->computable()) cases.push_back({&target, type});
      if (const QuantType* fast = fast_quant_type(*type); fast != type) cases.push_back({&target, fast});
    }
  }
  return cases;
}

std::vector<float> normal_values(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.05f);
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

bool same_number(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || (a == 0 && b == 0) ||
         std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

// `count` encoded values: by the type's encoder, else random bytes of which only blocks with harmless values are kept.
std::vector<std::byte> make_weights(const QuantType& type, size_t count, uint32_t seed) {
  const QuantType& baseline = *find_quant_type(type.name);
  const size_t blocks = count / static_cast<size_t>(type.block_values);
  const size_t block_bytes = static_cast<size_t>(type.block_bytes);
  std::vector<std::byte> bytes(blocks * block_bytes);
  if (baseline.encode != nullptr) {
    baseline.encode(normal_values(count, seed).data(), bytes.data(), static_cast<int64_t>(blocks), nullptr);
    return bytes;
  }
  std::mt19937 random(seed);
  std::vector<float> decoded(static_cast<size_t>(type.block_values));
  for (size_t b = 0; b < blocks; ++b) {
    for (bool harmless = false; !harmless;) {
      for (size_t i = 0; i < block_bytes; ++i) bytes[b * block_bytes + i] = static_cast<std::byte>(random());
      baseline.decode(bytes.data() + b * block_bytes, decoded.data(), 1);
      harmless = true;
      for (float value : decoded) harmless = harmless && std::abs(value) < 1000;
    }
  }
  return bytes;
}

struct Activations {
  std::vector<std::byte> bytes;  // rows in the type's ActFormat
  size_t row_bytes = 0;
  std::vector<double> values;  // what those mean
};

Activations make_activations(ActFormat format, int64_t tokens, int64_t columns, uint32_t seed) {
  const Kernels& kernels = *(*select_cpu_target("baseline"))->kernels;
  const std::vector<float> x = normal_values(static_cast<size_t>(tokens * columns), seed);
  Activations result;
  switch (format) {
    case ActFormat::f32:
      result.row_bytes = static_cast<size_t>(columns) * sizeof(float);
      break;
    case ActFormat::q8_32:
      result.row_bytes = static_cast<size_t>(columns) / 32 * sizeof(ActBlock32);
      break;
    case ActFormat::q8_256:
      result.row_bytes = static_cast<size_t>(columns) / 256 * sizeof(ActBlock256);
      break;
    case ActFormat::bf16:
      result.row_bytes = static_cast<size_t>((columns + 31) / 32) * 64;
      break;
  }
  result.bytes.resize(result.row_bytes * static_cast<size_t>(tokens));
  result.values.resize(x.size());
  for (int64_t t = 0; t < tokens; ++t) {
    const float* row = x.data() + t * columns;
    double* values = result.values.data() + t * columns;
    std::byte* bytes = result.bytes.data() + static_cast<size_t>(t) * result.row_bytes;
    if (format == ActFormat::f32) {
      std::memcpy(bytes, row, result.row_bytes);
      for (int64_t i = 0; i < columns; ++i) values[i] = row[i];
    } else if (format == ActFormat::bf16) {
      kernels.round_bf16(row, columns, bytes);
      for (int64_t i = 0; i < columns; ++i) values[i] = float_from_bf16(reinterpret_cast<const uint16_t*>(bytes)[i]);
    } else if (format == ActFormat::q8_32) {
      kernels.quantize_q8_32(row, columns, bytes);
      const auto* blocks = reinterpret_cast<const ActBlock32*>(bytes);
      for (int64_t i = 0; i < columns; ++i)
        values[i] = static_cast<double>(blocks[i / 32].scale) * blocks[i / 32].values[i % 32];
    } else {
      kernels.quantize_q8_256(row, columns, bytes);
      const auto* blocks = reinterpret_cast<const ActBlock256*>(bytes);
      for (int64_t i = 0; i < columns; ++i) {
        const ActBlock256& block = blocks[i / 256];
        values[i] = static_cast<double>(block.scale) * block.factors[i % 256 / 16] * block.values[i % 256];
      }
    }
  }
  return result;
}

// The row lengths worth trying: one block, a few, and a real one; uneven ones where a block is a single number.
std::vector<int64_t> column_counts(const QuantType& type) {
  if (type.block_values == 1) return {1, 3, 7, 16, 31, 33, 64, 100, 1536, 1537, 2083};
  const int64_t unit = std::max(type.block_values, type.activations == ActFormat::q8_256 ? 256 : 32);
  return {unit, 2 * unit, 3 * unit, 9 * unit, 2048};
}

class QuantContract : public testing::TestWithParam<Case> {
 protected:
  const QuantType& type() const { return *GetParam().type; }
};

TEST_P(QuantContract, EncodingIsWithinItsStatedError) {
  if (type().encode == nullptr) GTEST_SKIP() << type().name << " is not written by moxie";
  const std::vector<float> x = normal_values(256 * 64, 1);
  const int64_t blocks = static_cast<int64_t>(x.size()) / type().block_values;
  GuardedBuffer from(x.size() * sizeof(float)), bytes(static_cast<size_t>(blocks * type().block_bytes));
  GuardedBuffer decoded(x.size() * sizeof(float));
  std::memcpy(from.data(), x.data(), x.size() * sizeof(float));
  type().encode(from.as<float>(), bytes.data(), blocks, nullptr);
  type().decode(bytes.data(), decoded.as<float>(), blocks);
  double error = 0, power = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += std::pow(decoded.as<float>()[i] - static_cast<double>(x[i]), 2);
    power += std::pow(static_cast<double>(x[i]), 2);
  }
  EXPECT_LE(std::sqrt(error / power), type().max_relative_error);
  // A stated error far above the real one would say nothing.
  EXPECT_GE(std::sqrt(error / power), 0.5 * type().max_relative_error);
}

TEST_P(QuantContract, EncodesAwkwardValuesWithoutHarm) {
  if (type().encode == nullptr) GTEST_SKIP() << type().name << " is not written by moxie";
  const float inf = INFINITY;
  const std::vector<std::vector<float>> patterns = {{0},
                                                    {-0.0f},
                                                    {1e-42f},
                                                    {-1e-42f, 1e-42f},
                                                    {3e-8f, -1e-8f},
                                                    {3e38f},
                                                    {-3e38f, 3e38f},
                                                    {1e5f, -2e4f},
                                                    {inf},
                                                    {-inf, 1},
                                                    {NAN},
                                                    {NAN, 1, -1},
                                                    {1},
                                                    {-1},
                                                    {-1, 1},
                                                    {0, 1},
                                                    {0, -1},
                                                    {5, 5.0001f}};
  const int64_t blocks = 256 / std::min(256, type().block_values);
  const size_t count = static_cast<size_t>(blocks * type().block_values);
  for (const std::vector<float>& pattern : patterns) {
    std::vector<float> x(count), decoded(count);
    for (size_t i = 0; i < count; ++i) x[i] = pattern[i % pattern.size()];
    GuardedBuffer bytes(static_cast<size_t>(blocks * type().block_bytes));
    const std::vector<float> importance(count, 0.0f);
    for (const float* weights : {static_cast<const float*>(nullptr), importance.data()}) {
      type().encode(x.data(), bytes.data(), blocks, weights);
      type().decode(bytes.data(), decoded.data(), blocks);
      const bool tiny = std::all_of(x.begin(), x.end(), [](float value) { return std::abs(value) < 1e-6f; });
      for (size_t i = 0; i < count; ++i) {
        if (tiny) {
          EXPECT_LE(std::abs(decoded[i]), 1e-6f) << pattern[0];
        } else if (type().block_values > 1) {
          EXPECT_TRUE(std::isfinite(decoded[i])) << pattern[0];
        }
      }
    }
  }
}

TEST_P(QuantContract, DecodesAsBaselineDoes) {
  const QuantType& baseline = *find_quant_type(type().name);
  std::mt19937 random(7);
  constexpr int64_t kBlocks = 300;
  GuardedBuffer bytes(static_cast<size_t>(kBlocks * type().block_bytes));
  for (int64_t i = 0; i < kBlocks * type().block_bytes; ++i) bytes.data()[i] = static_cast<std::byte>(random());
  const size_t count = static_cast<size_t>(kBlocks * type().block_values);
  std::vector<float> expected(count);
  GuardedBuffer decoded(count * sizeof(float));
  baseline.decode(bytes.data(), expected.data(), kBlocks);
  type().decode(bytes.data(), decoded.as<float>(), kBlocks);
  for (size_t i = 0; i < count; ++i) ASSERT_TRUE(same_number(decoded.as<float>()[i], expected[i])) << "value " << i;
}

TEST_P(QuantContract, ProductsMatchTheReference) {
  constexpr int64_t kRows = 21, kTokens = 6;
  for (const int64_t columns : column_counts(type())) {
    SCOPED_TRACE(columns);
    const size_t row_bytes = static_cast<size_t>(type().row_bytes(columns));
    const std::vector<std::byte> weights = make_weights(type(), static_cast<size_t>(kRows * columns), 2);
    std::vector<float> decoded(static_cast<size_t>(kRows * columns));
    type().decode(weights.data(), decoded.data(), kRows * columns / type().block_values);
    const Activations x = make_activations(type().activations, kTokens, columns, 3);
    GuardedBuffer w(weights.size()), a(x.bytes.size()), out(kTokens * kRows * sizeof(float));
    std::memcpy(w.data(), weights.data(), weights.size());
    std::memcpy(a.data(), x.bytes.data(), x.bytes.size());
    type().multiply({w.data(), row_bytes, kRows, columns, a.data(), x.row_bytes, kTokens, out.as<float>(), kRows});
    for (int64_t t = 0; t < kTokens; ++t) {
      for (int64_t r = 0; r < kRows; ++r) {
        double sum = 0, magnitude = 0;
        for (int64_t i = 0; i < columns; ++i) {
          const double term =
              decoded[static_cast<size_t>(r * columns + i)] * x.values[static_cast<size_t>(t * columns + i)];
          sum += term;
          magnitude += std::abs(term);
        }
        ASSERT_NEAR(out.as<float>()[t * kRows + r], sum, 4e-6 * magnitude) << "row " << r << " token " << t;
      }
    }
  }
}

// Whatever rows and tokens a call has, wherever the weights lie and however far apart rows are: the same bits.
TEST_P(QuantContract, ProductsDoNotDependOnTheBatch) {
  constexpr int64_t kRows = 37, kTokens = 17;
  for (const int64_t columns : column_counts(type())) {
    SCOPED_TRACE(columns);
    const size_t row_bytes = static_cast<size_t>(type().row_bytes(columns));
    const std::vector<std::byte> weights = make_weights(type(), static_cast<size_t>(kRows * columns), 4);
    const Activations x = make_activations(type().activations, kTokens, columns, 5);
    std::vector<float> single(kRows * kTokens);
    for (int64_t t = 0; t < kTokens; ++t) {
      for (int64_t r = 0; r < kRows; ++r) {
        type().multiply({weights.data() + static_cast<size_t>(r) * row_bytes, row_bytes, 1, columns,
                         x.bytes.data() + static_cast<size_t>(t) * x.row_bytes, x.row_bytes, 1,
                         &single[static_cast<size_t>(t * kRows + r)], 1});
      }
    }
    // Rows lie 1 byte further apart, the first at an odd address; outputs have a gap that must stay untouched.
    const size_t stride = row_bytes + 1;
    GuardedBuffer apart(stride * kRows - 1);
    for (int64_t r = 0; r < kRows; ++r) {
      std::memcpy(apart.data() + static_cast<size_t>(r) * stride, weights.data() + static_cast<size_t>(r) * row_bytes,
                  row_bytes);
    }
    constexpr int64_t kOutStride = kRows + 3;
    for (const int64_t rows : {1, 2, 3, 5, 8, 15, 16, 17, 32, 37}) {
      for (int64_t tokens = 1; tokens <= kTokens; ++tokens) {
        std::vector<float> out(kOutStride * kTokens, 12345.0f);
        const int64_t first_row = kRows - rows, first_token = kTokens - tokens;
        type().multiply({apart.data() + static_cast<size_t>(first_row) * stride, stride, rows, columns,
                         x.bytes.data() + static_cast<size_t>(first_token) * x.row_bytes, x.row_bytes, tokens,
                         out.data(), kOutStride});
        for (int64_t t = 0; t < kTokens; ++t) {
          for (int64_t r = 0; r < kOutStride; ++r) {
            const float got = out[static_cast<size_t>(t * kOutStride + r)];
            const bool written = r < rows && t < tokens;
            const float expected =
                written ? single[static_cast<size_t>((first_token + t) * kRows + first_row + r)] : 12345.0f;
            ASSERT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(expected))
                << rows << " rows, " << tokens << " tokens, at row " << r << " token " << t;
          }
        }
      }
    }
  }
}

// More tokens than any panel of a kernel holds at once.
TEST_P(QuantContract, LongPromptsGiveTheSameBits) {
  constexpr int64_t kRows = 19, kTokens = 277;
  const int64_t columns = type().block_values > 32 || type().activations == ActFormat::q8_256 ? 1280 : 1056;
  const size_t row_bytes = static_cast<size_t>(type().row_bytes(columns));
  const std::vector<std::byte> weights = make_weights(type(), static_cast<size_t>(kRows * columns), 6);
  const Activations x = make_activations(type().activations, kTokens, columns, 7);
  std::vector<float> out(kRows * kTokens), single(kRows);
  type().multiply({weights.data(), row_bytes, kRows, columns, x.bytes.data(), x.row_bytes, kTokens, out.data(), kRows});
  for (int64_t t = 0; t < kTokens; ++t) {
    const std::byte* token = x.bytes.data() + static_cast<size_t>(t) * x.row_bytes;
    type().multiply({weights.data(), row_bytes, kRows, columns, token, x.row_bytes, 1, single.data(), kRows});
    ASSERT_EQ(std::memcmp(single.data(), out.data() + t * kRows, kRows * sizeof(float)), 0) << "token " << t;
  }
}

// More rows than share copied activations, and a last group of them that has no neighbour; blocks for more than one
// panel.
TEST_P(QuantContract, ManyRowsGiveTheSameBits) {
  constexpr int64_t kRows = 517;
  // More than the parts that products are cut into, and not whole ones.
  const int64_t tokens = type().activations == ActFormat::f32 ? 101 : 43;
  const int64_t columns = type().activations == ActFormat::bf16 ? 4133 : type().block_values == 1 ? 1301 : 1280;
  const size_t row_bytes = static_cast<size_t>(type().row_bytes(columns));
  const std::vector<std::byte> weights = make_weights(type(), static_cast<size_t>(kRows * columns), 8);
  const Activations x = make_activations(type().activations, tokens, columns, 9);
  std::vector<float> out(static_cast<size_t>(kRows * tokens)), single(kRows);
  type().multiply({weights.data(), row_bytes, kRows, columns, x.bytes.data(), x.row_bytes, tokens, out.data(), kRows});
  const int64_t few = 7;  // takes another way than many do
  std::vector<float> of_few(kRows * few);
  type().multiply({weights.data(), row_bytes, kRows, columns, x.bytes.data(), x.row_bytes, few, of_few.data(), kRows});
  ASSERT_EQ(std::memcmp(of_few.data(), out.data(), of_few.size() * sizeof(float)), 0);
  for (int64_t t = 0; t < tokens; t += 6) {
    const std::byte* token = x.bytes.data() + static_cast<size_t>(t) * x.row_bytes;
    type().multiply({weights.data(), row_bytes, kRows, columns, token, x.row_bytes, 1, single.data(), kRows});
    ASSERT_EQ(std::memcmp(single.data(), out.data() + t * kRows, kRows * sizeof(float)), 0) << "token " << t;
  }
}

TEST_P(QuantContract, NothingToDoIsFine) {
  float out = 1;
  const std::byte none{};
  type().multiply({&none, 0, 0, 256, &none, 0, 1, &out, 1});
  type().multiply({&none, 0, 1, 256, &none, 0, 0, &out, 1});
  type().decode(&none, &out, 0);
  EXPECT_EQ(out, 1);
}

INSTANTIATE_TEST_SUITE_P(All, QuantContract, testing::ValuesIn(all_cases()),
                         [](const testing::TestParamInfo<Case>& info) { return info.param.name(); });

}  // namespace
}  // namespace moxie
