// Every kernel against a plain definition in double precision, on each CPU target of this machine, at odd sizes. Data
// lies against unreadable pages, so that touching what lies beyond a row fails too.
#include "kernels/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
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

// A row of floats that ends where readable memory does.
class Row {
 public:
  explicit Row(const std::vector<float>& values) : buffer_(values.size() * sizeof(float)), size_(values.size()) {
    std::memcpy(buffer_.data(), values.data(), values.size() * sizeof(float));
  }
  explicit Row(size_t n) : Row(std::vector<float>(n, 0.0f)) {}
  float* data() { return buffer_.as<float>(); }
  float operator[](size_t i) { return data()[i]; }
  size_t size() const { return size_; }
  std::vector<float> values() { return {data(), data() + size_}; }

 private:
  GuardedBuffer buffer_;
  size_t size_;
};

std::vector<float> normal_values(size_t n, uint32_t seed, float deviation = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

const size_t kSizes[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 255, 1000, 4096, 8192};

class KernelTest : public testing::TestWithParam<const CpuTarget*> {
 protected:
  const Kernels& kernels() const { return *GetParam()->kernels; }
};

TEST_P(KernelTest, RmsNorm) {
  for (const size_t n : kSizes) {
    SCOPED_TRACE(n);
    const std::vector<float> x = normal_values(n, 1, 3), weight = normal_values(n, 2);
    double squares = 0;
    for (float value : x) squares += static_cast<double>(value) * value;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-5f);
    Row in(x), w(weight), out(n), plain(n);
    kernels().rms_norm(in.data(), w.data(), 1e-5f, static_cast<int64_t>(n), out.data());
    kernels().rms_norm(in.data(), nullptr, 1e-5f, static_cast<int64_t>(n), plain.data());
    for (size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(out[i], x[i] * scale * weight[i], 5e-7 * std::abs(x[i] * scale * weight[i])) << i;
      EXPECT_NEAR(plain[i], x[i] * scale, 5e-7 * std::abs(x[i] * scale)) << i;
    }
    kernels().rms_norm(in.data(), w.data(), 1e-5f, static_cast<int64_t>(n), in.data());
    EXPECT_EQ(in.values(), out.values());
  }
  Row zeros(5);
  kernels().rms_norm(zeros.data(), nullptr, 1e-6f, 5, zeros.data());
  EXPECT_EQ(zeros.values(), std::vector<float>(5, 0.0f));
}

TEST_P(KernelTest, Rope) {
  struct Shape {
    int heads, head_dim, half;
  };
  for (const Shape& shape :
       {Shape{1, 2, 1}, {3, 20, 10}, {2, 64, 32}, {4, 128, 64}, {2, 80, 16}, {3, 96, 17}, {2, 37, 18}}) {
    for (const bool neox : {false, true}) {
      SCOPED_TRACE(testing::Message() << shape.heads << " x " << shape.head_dim << " half " << shape.half << " neox "
                                      << neox);
      const size_t n = static_cast<size_t>(shape.heads * shape.head_dim), half = static_cast<size_t>(shape.half);
      const std::vector<float> x = normal_values(n, 3);
      std::vector<float> cos(half), sin(half);
      for (size_t i = 0; i < half; ++i) {
        cos[i] = std::cos(0.3f * static_cast<float>(i + 1));
        sin[i] = std::sin(0.3f * static_cast<float>(i + 1));
      }
      Row row(x), c(cos), s(sin);
      kernels().rope(row.data(), shape.heads, shape.head_dim, shape.half, c.data(), s.data(), neox);
      std::vector<double> expected(x.begin(), x.end());
      for (int head = 0; head < shape.heads; ++head) {
        for (size_t i = 0; i < half; ++i) {
          const size_t base = static_cast<size_t>(head * shape.head_dim);
          const size_t a = base + (neox ? i : 2 * i), b = base + (neox ? i + half : 2 * i + 1);
          expected[a] = static_cast<double>(x[a]) * cos[i] - static_cast<double>(x[b]) * sin[i];
          expected[b] = static_cast<double>(x[a]) * sin[i] + static_cast<double>(x[b]) * cos[i];
        }
      }
      for (size_t i = 0; i < n; ++i) EXPECT_NEAR(row[i], expected[i], 1e-6) << i;
    }
  }
}

double silu(double x) {
  return x / (1 + std::exp(-x));
}

TEST_P(KernelTest, Swiglu) {
  for (const size_t n : kSizes) {
    const std::vector<float> gate = normal_values(n, 4, 20), up = normal_values(n, 5);
    Row g(gate), u(up), out(n);
    kernels().swiglu(g.data(), u.data(), static_cast<int64_t>(n), out.data());
    for (size_t i = 0; i < n; ++i) {
      const double expected = silu(gate[i]) * up[i];
      EXPECT_NEAR(out[i], expected, 5e-7 * std::abs(expected)) << n << " at " << i << ": " << gate[i];
    }
    const std::vector<float> separate = out.values();
    kernels().swiglu(g.data(), u.data(), static_cast<int64_t>(n), g.data());
    EXPECT_EQ(g.values(), separate);
    Row again(gate);
    kernels().swiglu(again.data(), u.data(), static_cast<int64_t>(n), u.data());
    EXPECT_EQ(u.values(), separate);
  }
}

TEST_P(KernelTest, SwigluOverTheWholeRange) {
  std::vector<float> gate;
  for (float x = -103; x < 200; x += 0.0137f) gate.push_back(x);
  gate.insert(gate.end(), {0.0f, -0.0f, 1e-30f, -1e-30f, 1e30f, 3e38f});
  Row g(gate), ones(std::vector<float>(gate.size(), 1.0f)), out(gate.size());
  kernels().swiglu(g.data(), ones.data(), static_cast<int64_t>(gate.size()), out.data());
  for (size_t i = 0; i < gate.size(); ++i) {
    const double expected = silu(gate[i]);
    // Below -87 exp(-x) leaves the range of normal numbers; results there are tiny or zero.
    ASSERT_NEAR(out[i], expected, gate[i] < -87 ? 1e-36 : 4e-7 * std::abs(expected)) << gate[i];
  }
  Row odd({-INFINITY, INFINITY, NAN, -1e30f}), one(std::vector<float>(4, 1.0f));
  kernels().swiglu(odd.data(), one.data(), 4, odd.data());
  EXPECT_EQ(odd[1], INFINITY);
  EXPECT_TRUE(std::isnan(odd[2]));
  EXPECT_EQ(odd[3], 0.0f);
}

TEST_P(KernelTest, ClampedSwiglu) {
  constexpr float kAlpha = 1.702f, kLimit = 7;
  for (const size_t n : kSizes) {
    std::vector<float> gate = normal_values(n, 4, 8), up = normal_values(n, 5, 8);
    gate[0] = -1e30f;
    up[0] = 100;
    Row g(gate), u(up), out(n);
    kernels().clamped_swiglu(g.data(), u.data(), kAlpha, kLimit, static_cast<int64_t>(n), out.data());
    for (size_t i = 0; i < n; ++i) {
      const double a = std::min(gate[i], kLimit), b = std::clamp(up[i], -kLimit, kLimit);
      const double expected = (b + 1) * a / (1 + std::exp(-double{kAlpha} * a));
      EXPECT_NEAR(out[i], expected, 3e-6 * std::abs(expected) + 1e-30) << n << " at " << i << ": " << gate[i];
    }
    const std::vector<float> separate = out.values();
    kernels().clamped_swiglu(g.data(), u.data(), kAlpha, kLimit, static_cast<int64_t>(n), g.data());
    EXPECT_EQ(g.values(), separate);
  }
}

TEST_P(KernelTest, Softmax) {
  for (const size_t n : kSizes) {
    std::vector<float> x = normal_values(n, 6, 8);
    if (n > 8) x[n / 2] = -INFINITY;
    if (n > 16) x[1] = -500;
    double top = -INFINITY, sum = 0;
    for (float value : x) top = std::max(top, static_cast<double>(value));
    for (float value : x) sum += std::exp(value - top);
    Row row(x);
    kernels().softmax(row.data(), static_cast<int64_t>(n));
    for (size_t i = 0; i < n; ++i) {
      // The difference to the maximum is rounded to single precision: up to 2^-24 times itself, absolute in the
      // exponent.
      const double expected = std::exp(x[i] - top) / sum;
      EXPECT_NEAR(row[i], expected, 1e-45 + expected * (1e-6 + 6e-8 * (std::isinf(x[i]) ? 0 : top - x[i])))
          << n << " at " << i;
    }
  }
  Row large({1000, 1000, 1000, 999});
  kernels().softmax(large.data(), 4);
  EXPECT_NEAR(large[0], 1 / (3 + std::exp(-1.0)), 1e-7);
}

TEST_P(KernelTest, Add) {
  for (const size_t n : kSizes) {
    const std::vector<float> x = normal_values(n, 7), y = normal_values(n, 8);
    Row a(x), b(y), c(x);
    kernels().add(a.data(), b.data(), static_cast<int64_t>(n));
    kernels().add_scaled(c.data(), 0.37f, b.data(), static_cast<int64_t>(n));
    for (size_t i = 0; i < n; ++i) {
      EXPECT_EQ(a[i], x[i] + y[i]);
      EXPECT_NEAR(c[i], x[i] + static_cast<double>(0.37f) * y[i], 2e-7 * (std::abs(x[i]) + std::abs(y[i])));
    }
  }
}

// The definition: scale = max / 127, values nearest to x / scale.
void expect_quantized(const float* x, int n, float scale, const int8_t* values) {
  float largest = 0;
  for (int i = 0; i < n; ++i) largest = std::max(largest, std::abs(x[i]));
  EXPECT_EQ(scale, largest / 127);
  for (int i = 0; i < n; ++i) {
    const double exact = largest == 0 ? 0 : static_cast<double>(x[i]) / largest * 127;
    EXPECT_LE(std::abs(exact - values[i]), 0.5 + 1e-4) << i;
  }
}

int sum_of(const int8_t* values, int n) {
  return std::accumulate(values, values + n, 0);
}

// Every 32 values have the smallest factor that holds them, and are off by half of their own step at most.
void expect_quantized_by_256(const float* x, const ActBlock256& block, int max_factor) {
  float largest = 0;
  for (int i = 0; i < 256; ++i) largest = std::max(largest, std::abs(x[i]));
  EXPECT_FLOAT_EQ(block.scale, largest / static_cast<float>(127 * max_factor));
  for (int part = 0; part < 8; ++part) {
    double part_largest = 0;
    for (int i = 0; i < 32; ++i) part_largest = std::max<double>(part_largest, std::abs(x[32 * part + i]));
    const int factor = block.factors[2 * part];
    EXPECT_EQ(block.factors[2 * part + 1], factor);
    const double needed = largest == 0 ? 1 : part_largest / largest * max_factor;
    EXPECT_EQ(factor, std::clamp(static_cast<int>(std::ceil(needed - 1e-6)), 1, max_factor)) << part;
    const double step = static_cast<double>(block.scale) * factor;
    for (int i = 32 * part; i < 32 * part + 32; ++i) {
      EXPECT_LE(std::abs(x[i] - step * block.values[i]), (0.5 + 1e-4) * step) << i;
    }
  }
}

TEST_P(KernelTest, QuantizeBy32) {
  for (const float deviation : {1.0f, 1e-20f, 1e20f, 0.0f}) {
    const std::vector<float> x = normal_values(32 * 9, 9, deviation);
    Row row(x);
    GuardedBuffer out(9 * sizeof(ActBlock32));
    kernels().quantize_q8_32(row.data(), 32 * 9, out.data());
    for (int b = 0; b < 9; ++b) {
      const ActBlock32& block = out.as<ActBlock32>()[b];
      expect_quantized(&x[static_cast<size_t>(32 * b)], 32, block.scale, block.values);
      int32_t sum = 0;
      for (int8_t value : block.values) sum += value;
      EXPECT_EQ(block.sum, sum);
    }
  }
}

TEST_P(KernelTest, RoundsToBf16) {
  for (const size_t n : {size_t{1}, size_t{31}, size_t{32}, size_t{100}, size_t{1537}}) {
    std::vector<float> x = normal_values(n, 21, 3);
    const float awkward[] = {0, -0.0f, 1.00390625f, 1.01171875f, -1.00390625f, 3e38f, INFINITY, -INFINITY, 1e-40f, NAN};
    for (size_t i = 0; i < std::size(awkward) && i < n; ++i) x[n - 1 - i] = awkward[i];
    const size_t padded = (n + 31) / 32 * 32;
    Row row(x);
    GuardedBuffer out(padded * sizeof(uint16_t));
    kernels().round_bf16(row.data(), static_cast<int64_t>(n), out.data());
    for (size_t i = 0; i < padded; ++i) {
      const uint16_t expected = i < n ? bf16_from_float(x[i]) : uint16_t{0}, found = out.as<uint16_t>()[i];
      if (i < n && std::isnan(x[i])) {
        EXPECT_TRUE(std::isnan(float_from_bf16(found))) << i;
      } else {
        EXPECT_EQ(found, expected) << i << " of " << n;
      }
    }
  }
}

TEST_P(KernelTest, QuantizeBy256) {
  for (const float deviation : {1.0f, 1e-20f, 1e20f, 0.0f}) {
    std::vector<float> x = normal_values(256 * 3, 10, deviation);
    for (size_t i = 0; i < 32; ++i) x[32 + i] *= 1e-3f;  // one factor must be 1
    Row row(x);
    GuardedBuffer out(3 * sizeof(ActBlock256));
    kernels().quantize_q8_256(row.data(), 256 * 3, out.data());
    for (int b = 0; b < 3; ++b) {
      const ActBlock256& block = out.as<ActBlock256>()[b];
      const float* from = &x[static_cast<size_t>(256 * b)];
      expect_quantized_by_256(from, block, kMaxActFactor);
      for (int i = 0; i < 32; ++i) EXPECT_EQ(block.part_sums[i], sum_of(block.values + 8 * i, 8));
      for (int i = 0; i < 16; ++i) EXPECT_EQ(block.sums[i], block.factors[i] * sum_of(block.values + 16 * i, 16));
      for (int i = 0; i < 8; ++i) {
        EXPECT_EQ(block.sums_of_32[i], block.factors[2 * i] * sum_of(block.values + 32 * i, 32));
      }
    }
  }
}

// Sums of 32 large values of one sign fit 16 bits only with half the factors.
TEST_P(KernelTest, QuantizeBy256HalvesTheFactorsOfOneSidedValues) {
  std::vector<float> x = normal_values(256, 12, 0.1f);
  for (size_t i = 64; i < 96; ++i) x[i] = -2 + x[i];
  Row row(x);
  ActBlock256 block;
  kernels().quantize_q8_256(row.data(), 256, reinterpret_cast<std::byte*>(&block));
  expect_quantized_by_256(x.data(), block, kMaxActFactor / 2);
  EXPECT_EQ(block.sums_of_32[2], block.factors[4] * sum_of(block.values + 64, 32));
  EXPECT_LT(block.sums_of_32[2], -20000);
}

TEST_P(KernelTest, QuantizeBy256TakesWhatIsNoNumber) {
  for (const float odd : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> x = normal_values(256, 13, 1);
    x[77] = odd;
    Row row(x);
    ActBlock256 block;
    kernels().quantize_q8_256(row.data(), 256, reinterpret_cast<std::byte*>(&block));
    for (const int16_t factor : block.factors) {
      EXPECT_GE(factor, 1);
      EXPECT_LE(factor, kMaxActFactor);
    }
  }
}

TEST_P(KernelTest, QuantizingRoundsToNearestEven) {
  std::vector<float> x(256, 0.0f);
  const std::vector<float> start = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f, -126.5f, -127, 3.49f, 3.51f};
  const std::vector<int> expected = {127, 0, 2, 2, 0, -2, -2, 126, -126, -127, 3, 4};
  std::copy(start.begin(), start.end(), x.begin());
  ActBlock32 by_32[8];
  ActBlock256 by_256;
  kernels().quantize_q8_32(x.data(), 256, reinterpret_cast<std::byte*>(by_32));
  kernels().quantize_q8_256(x.data(), 256, reinterpret_cast<std::byte*>(&by_256));
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(by_32[0].values[i], expected[i]) << start[i];
    EXPECT_EQ(by_256.values[i], expected[i]) << start[i];
  }
  EXPECT_EQ(by_32[1].scale, 0.0f);
  EXPECT_EQ(by_32[1].sum, 0);
}

TEST_P(KernelTest, StoresKeysAndValues) {
  const Kernels& baseline = *(*select_cpu_target("baseline"))->kernels;
  std::vector<float> x = normal_values(7 * 32, 11);
  x[3] = 1e6f;
  x[40] = 3e-6f;
  x[70] = -0.0f;
  for (size_t i = 96; i < 128; ++i) x[i] = 0;
  for (size_t i = 128; i < 160; ++i) x[i] *= 1e-7f;
  for (const size_t n : {size_t{32}, size_t{96}, x.size(), size_t{33}, size_t{5}}) {
    for (const KvType type : {KvType::f32, KvType::f16, KvType::q8_0}) {
      if (type == KvType::q8_0 && n % 32 != 0) continue;
      SCOPED_TRACE(testing::Message() << n << " of type " << static_cast<int>(type));
      Row row(std::vector<float>(x.begin(), x.begin() + static_cast<ptrdiff_t>(n)));
      const size_t bytes = kv_row_bytes(type, static_cast<int64_t>(n));
      GuardedBuffer out(bytes);
      std::vector<std::byte> expected(bytes);
      kernels().store_kv(row.data(), static_cast<int64_t>(n), type, out.data());
      baseline.store_kv(row.data(), static_cast<int64_t>(n), type, expected.data());
      EXPECT_EQ(std::memcmp(out.data(), expected.data(), bytes), 0) << "differs from baseline";
      for (size_t i = 0; i < n; ++i) {
        if (type == KvType::f32) {
          EXPECT_EQ(out.as<float>()[i], x[i]);
        } else if (type == KvType::f16) {
          EXPECT_EQ(out.as<uint16_t>()[i], f16_from_float(x[i])) << x[i];
        } else {
          const std::byte* block = out.data() + i / 32 * 34;
          uint16_t scale;
          std::memcpy(&scale, block, sizeof scale);
          float largest = 0;
          for (size_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j) largest = std::max(largest, std::abs(x[j]));
          const float value = float_from_f16(scale) * static_cast<float>(static_cast<int8_t>(block[2 + i % 32]));
          // Half a step, the rounding of the scale, and half precision's smallest number for tiny blocks.
          EXPECT_NEAR(value, x[i], largest * (0.5f / 127 + 0.0005f) + 127 * 0x1p-25f) << i;
        }
      }
    }
  }
}

TEST_P(KernelTest, StoresAKeyAsARowThatIsSpreadOut) {
  constexpr size_t kPositions = kKvBlockTokens;
  for (const KvType type : {KvType::f32, KvType::f16, KvType::q8_0}) {
    for (const size_t n : {size_t{128}, size_t{96}, size_t{33}, size_t{5}}) {
      if (type == KvType::q8_0 && n % 32 != 0) continue;
      SCOPED_TRACE(testing::Message() << n << " of type " << static_cast<int>(type));
      const size_t row_bytes = kv_row_bytes(type, static_cast<int64_t>(n));
      GuardedBuffer block(row_bytes * kPositions);
      std::memset(block.data(), 0x5a, row_bytes * kPositions);
      std::vector<std::byte> expected(row_bytes * kPositions, std::byte{0x5a}), row(row_bytes);
      for (const size_t position : {size_t{0}, size_t{7}, kPositions - 1}) {
        Row x(normal_values(n, 20 + static_cast<uint32_t>(position)));
        kernels().store_key(x.data(), static_cast<int64_t>(n), type, static_cast<int>(position), block.data());
        kernels().store_kv(x.data(), static_cast<int64_t>(n), type, row.data());
        const auto put = [&](size_t to, size_t from, size_t bytes) {
          std::memcpy(expected.data() + to, row.data() + from, bytes);
        };
        for (size_t i = 0; i < n; ++i) {
          if (type == KvType::f32) put((i * kPositions + position) * 4, 4 * i, 4);
          if (type == KvType::f16) put((i * kPositions + position) * 2, 2 * i, 2);
          if (type == KvType::q8_0) {
            const size_t part = i / 32 * 34 * kPositions;
            put(part + 2 * position, i / 32 * 34, 2);
            put(part + 2 * kPositions + i % 32 * kPositions + position, i / 32 * 34 + 2 + i % 32, 1);
          }
        }
      }
      EXPECT_EQ(std::memcmp(block.data(), expected.data(), expected.size()), 0);
    }
  }
}

std::vector<double> read_row(const std::byte* row, KvType type, int n) {
  std::vector<double> values(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) {
    const size_t at = static_cast<size_t>(i);
    if (type == KvType::f32) {
      float x;
      std::memcpy(&x, row + 4 * i, sizeof x);
      values[at] = x;
    } else {
      uint16_t half;
      std::memcpy(&half, type == KvType::f16 ? row + 2 * i : row + i / 32 * 34, sizeof half);
      const double x = float_from_f16(half);
      values[at] = type == KvType::f16 ? x : x * static_cast<int8_t>(row[i / 32 * 34 + 2 + i % 32]);
    }
  }
  return values;
}

// A cache of random keys and values for some kv heads, and what it means in double precision. What lies beyond the
// last position is no number.
struct Cache {
  Cache(const Kernels& kernels, KvType type_, int positions, int head_dim, int value_dim, int heads_ = 1)
      : type(type_),
        heads(heads_),
        key_bytes(kKvBlockTokens * kv_row_bytes(type_, head_dim)),
        head_bytes(key_bytes + kKvBlockTokens * kv_row_bytes(type_, value_dim)) {
    const size_t value_bytes = kv_row_bytes(type, value_dim), bytes = head_bytes * static_cast<size_t>(heads);
    for (int position = 0; position < positions; ++position) {
      const int place = position % kKvBlockTokens;
      if (place == 0) {
        storage.push_back(std::make_unique<GuardedBuffer>(bytes));
        blocks.push_back(storage.back()->data());
        std::memset(storage.back()->data(), 0xff, bytes);
      }
      std::byte* const block = storage.back()->data();
      for (int head = 0; head < heads; ++head) {
        const uint32_t seed = static_cast<uint32_t>(position + 100000 * head);
        const std::vector<float> key = normal_values(static_cast<size_t>(head_dim), 1000 + seed);
        const std::vector<float> value = normal_values(static_cast<size_t>(value_dim), 9000 + seed);
        std::byte* const keys = block + static_cast<size_t>(head) * head_bytes;
        std::vector<std::byte> row(kv_row_bytes(type, head_dim));
        kernels.store_kv(key.data(), head_dim, type, row.data());
        exact_keys.push_back(read_row(row.data(), type, head_dim));
        kernels.store_key(key.data(), head_dim, type, place, keys);
        std::byte* const to = keys + key_bytes + static_cast<size_t>(place) * value_bytes;
        kernels.store_kv(value.data(), value_dim, type, to);
        exact_values.push_back(read_row(to, type, value_dim));
      }
    }
  }
  const std::vector<double>& exact_key(int64_t position, int head) const {
    return exact_keys[static_cast<size_t>(position * heads + head)];
  }
  const std::vector<double>& exact_value(int64_t position, int head) const {
    return exact_values[static_cast<size_t>(position * heads + head)];
  }

  KvType type;
  int heads;
  size_t key_bytes, head_bytes;
  std::vector<std::unique_ptr<GuardedBuffer>> storage;
  std::vector<const std::byte*> blocks;
  std::vector<std::vector<double>> exact_keys, exact_values;
};

// `query` counts over the queries of all kv heads.
std::vector<double> plain_attention(const AttentionArgs& args, const Cache& cache, int64_t token, int query) {
  const int head = query / args.queries;
  std::vector<double> scores, out(static_cast<size_t>(args.value_dim));
  const float* q = args.q + token * args.q_stride + query * args.head_dim;
  const int64_t position = args.first_position + token;
  const int64_t first = args.window > 0 ? std::max<int64_t>(0, position + 1 - args.window) : 0;
  double top = args.sinks == nullptr ? -INFINITY : args.sinks[query];
  for (int64_t p = first; p <= position; ++p) {
    double score = 0;
    for (int i = 0; i < args.head_dim; ++i) {
      score += static_cast<double>(q[i]) * cache.exact_key(p, head)[static_cast<size_t>(i)];
    }
    score *= args.scale;
    if (args.softcap > 0) score = args.softcap * std::tanh(score / args.softcap);
    scores.push_back(score);
    top = std::max(top, score);
  }
  double sum = args.sinks == nullptr ? 0 : std::exp(args.sinks[query] - top);
  for (double score : scores) sum += std::exp(score - top);
  for (size_t p = 0; p < scores.size(); ++p) {
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] += std::exp(scores[p] - top) / sum * cache.exact_value(first + static_cast<int64_t>(p), head)[i];
    }
  }
  return out;
}

struct AttentionCase {
  KvType type;
  int head_dim, value_dim;
  int64_t first_position, tokens;
  int queries;
  int64_t window;
  float softcap;
  bool sinks;
  int kv_heads = 1;
};

const AttentionCase kAttentionCases[] = {
    {KvType::f32, 128, 128, 99, 1, 7, 0, 0, false},   {KvType::f16, 128, 128, 300, 16, 4, 0, 0, false},
    {KvType::q8_0, 128, 64, 98, 3, 6, 0, 0, false},   {KvType::f16, 64, 64, 172, 1, 1, 128, 0, true},
    {KvType::f32, 20, 36, 0, 9, 5, 0, 0, false},      {KvType::f16, 20, 37, 31, 33, 1, 17, 0, false},
    {KvType::q8_0, 96, 96, 60, 13, 3, 64, 30, true},  {KvType::f32, 64, 64, 63, 2, 8, 1, 5, false},
    {KvType::f16, 80, 80, 20, 8, 8, 0, 50, true},     {KvType::f32, 33, 64, 250, 60, 1, 100, 0, false},
    {KvType::f16, 192, 128, 32, 1, 64, 0, 0, false},  {KvType::f16, 64, 64, 0, 1, 1, 0, 0, false},
    {KvType::q8_0, 128, 128, 0, 64, 1, 40, 0, false}, {KvType::f16, 128, 128, 333, 1, 4, 0, 0, true, 8},
    {KvType::q8_0, 64, 96, 70, 3, 2, 50, 0, true, 5}, {KvType::f32, 36, 20, 40, 2, 3, 0, 20, false, 3},
};

TEST_P(KernelTest, Attention) {
  for (const AttentionCase& c : kAttentionCases) {
    SCOPED_TRACE(testing::Message() << "type " << static_cast<int>(c.type) << " dims " << c.head_dim << ", "
                                    << c.value_dim << ", " << c.kv_heads << " heads, " << c.tokens << " tokens from "
                                    << c.first_position << ", window " << c.window);
    const Cache cache(kernels(), c.type, static_cast<int>(c.first_position + c.tokens), c.head_dim, c.value_dim,
                      c.kv_heads);
    // Rows lie apart, as those of some kv heads among more do.
    const int all_queries = c.kv_heads * c.queries;
    const int64_t q_stride = all_queries * c.head_dim + 5, out_stride = all_queries * c.value_dim + 3;
    Row q(normal_values(static_cast<size_t>(c.tokens * q_stride), 12, 2));
    Row sinks(normal_values(static_cast<size_t>(all_queries), 13, 2)), out(static_cast<size_t>(c.tokens * out_stride));
    const AttentionArgs args = {.q = q.data(),
                                .q_stride = q_stride,
                                .tokens = c.tokens,
                                .queries = c.queries,
                                .kv_heads = c.kv_heads,
                                .head_dim = c.head_dim,
                                .value_dim = c.value_dim,
                                .blocks = cache.blocks.data(),
                                .offset = 0,
                                .key_bytes = cache.key_bytes,
                                .head_bytes = cache.head_bytes,
                                .kv_type = c.type,
                                .first_position = c.first_position,
                                .window = c.window,
                                .scale = 1 / std::sqrt(static_cast<float>(c.head_dim)),
                                .softcap = c.softcap,
                                .sinks = c.sinks ? sinks.data() : nullptr,
                                .out = out.data(),
                                .out_stride = out_stride};
    kernels().attention(args);
    for (int64_t token = 0; token < c.tokens; ++token) {
      for (int query = 0; query < all_queries; ++query) {
        const std::vector<double> expected = plain_attention(args, cache, token, query);
        for (int i = 0; i < c.value_dim; ++i) {
          ASSERT_NEAR(out[static_cast<size_t>(token * out_stride + query * c.value_dim + i)],
                      expected[static_cast<size_t>(i)], 5e-6)
              << token << " " << query << " " << i;
        }
      }
    }
    // All kv heads but the first have the same results without it.
    if (c.kv_heads > 1) {
      AttentionArgs rest = args;
      Row some(static_cast<size_t>(c.tokens * out_stride));
      rest.q += c.queries * c.head_dim;
      rest.kv_heads = c.kv_heads - 1;
      rest.offset = cache.head_bytes;
      rest.sinks = c.sinks ? sinks.data() + c.queries : nullptr;
      rest.out = some.data();
      kernels().attention(rest);
      const int64_t first = c.queries * c.value_dim, all = all_queries * c.value_dim;
      for (int64_t token = 0; token < c.tokens; ++token) {
        ASSERT_EQ(std::memcmp(some.data() + token * out_stride, out.data() + token * out_stride + first,
                              static_cast<size_t>(all - first) * sizeof(float)),
                  0)
            << token;
      }
    }
    // A row's result is the same whichever other tokens, queries and kv heads are in the call.
    for (const int64_t tokens : {int64_t{1}, int64_t{2}, int64_t{5}}) {
      for (int64_t from = 0; from + tokens <= c.tokens; from += tokens) {
        for (int queries = 1, first = 0; first + queries <= all_queries; first += queries, queries = queries % 3 + 1) {
          const int head = first / c.queries;
          queries = std::min(queries, (head + 1) * c.queries - first);  // of one head
          AttentionArgs part = args;
          Row some(static_cast<size_t>(tokens * queries * c.value_dim));
          part.q += from * q_stride + first * c.head_dim;
          part.tokens = tokens;
          part.queries = queries;
          part.kv_heads = 1;
          part.offset = static_cast<size_t>(head) * cache.head_bytes;
          part.first_position += from;
          part.sinks = c.sinks ? sinks.data() + first : nullptr;
          part.out = some.data();
          part.out_stride = queries * c.value_dim;
          kernels().attention(part);
          for (int64_t token = 0; token < tokens; ++token) {
            const float* whole = out.data() + (from + token) * out_stride + first * c.value_dim;
            ASSERT_EQ(std::memcmp(some.data() + token * part.out_stride, whole,
                                  static_cast<size_t>(part.out_stride) * sizeof(float)),
                      0)
                << tokens << " tokens from " << from << ", " << queries << " queries from " << first;
          }
        }
      }
    }
  }
}

TEST_P(KernelTest, AttentionWithoutTokensWritesNothing) {
  Row q(normal_values(64, 15)), out(normal_values(64, 16));
  const std::vector<float> before = out.values();
  AttentionArgs args = {};
  args.q = q.data();
  args.queries = args.kv_heads = 1;
  args.head_dim = args.value_dim = 64;
  args.kv_type = KvType::f16;
  args.first_position = 5;
  args.out = out.data();
  kernels().attention(args);
  EXPECT_EQ(out.values(), before);
}

// Scores that differ by thousands: the largest wins, nothing overflows.
TEST_P(KernelTest, AttentionToOnePositionAlone) {
  const Cache cache(kernels(), KvType::f32, 70, 64, 64);
  std::vector<float> query(64);
  for (size_t i = 0; i < 64; ++i) query[i] = static_cast<float>(cache.exact_keys[40][i]) * 1000;
  Row q(query), out(64);
  kernels().attention({.q = q.data(),
                       .q_stride = 64,
                       .tokens = 1,
                       .queries = 1,
                       .kv_heads = 1,
                       .head_dim = 64,
                       .value_dim = 64,
                       .blocks = cache.blocks.data(),
                       .offset = 0,
                       .key_bytes = cache.key_bytes,
                       .head_bytes = cache.head_bytes,
                       .kv_type = KvType::f32,
                       .first_position = 69,
                       .window = 0,
                       .scale = 1,
                       .softcap = 0,
                       .sinks = nullptr,
                       .out = out.data(),
                       .out_stride = 64});
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(out[i], static_cast<float>(cache.exact_values[40][i]));
}

TEST_P(KernelTest, EveryWayOfReadingReadsEverything) {
  std::vector<uint64_t> words(6 * kReadBytes / 8);
  uint64_t sum = 0;
  for (size_t i = 0; i < words.size(); ++i) sum += words[i] = i * i;
  for (int way = 0; way < kReadWays; ++way) {
    EXPECT_EQ(kernels().sum_of_lines(reinterpret_cast<const std::byte*>(words.data()), words.size() * 8, way), sum)
        << way;
  }
}

// As many multiply-adds are done as are counted, so that a speed made of them is one.
TEST_P(KernelTest, PeaksDoWhatTheyCount) {
  int64_t integers = 0;
  const int64_t products = kernels().int8_peak(100, 3, -7, &integers);
  EXPECT_GT(products, 100);
  EXPECT_EQ(integers, -21 * products);
  double floats = 0;
  const int64_t float_products = kernels().float_peak(100, 0.5f, 3.0f, &floats);
  EXPECT_GT(float_products, 100);
  EXPECT_EQ(floats, 1.5 * static_cast<double>(float_products));
  const int64_t bf16_products = kernels().bf16_peak(100, 0.5f, 3.0f, &floats);
  EXPECT_GT(bf16_products, 100);
  EXPECT_EQ(floats, 1.5 * static_cast<double>(bf16_products));
  const QuantType& bf16 = *find_quant_type("bf16", GetParam()->name);
  if (fast_quant_type(bf16) == &bf16) return;
  const int64_t rounded_products = kernels().rounded_bf16_peak(100, 0.5f, 3.0f, &floats);
  EXPECT_GT(rounded_products, 100);
  EXPECT_EQ(floats, 1.5 * static_cast<double>(rounded_products));
}

std::vector<const CpuTarget*> supported_targets() {
  std::vector<const CpuTarget*> targets;
  for (const CpuTarget& target : cpu_targets()) {
    if (target.supported()) targets.push_back(&target);
  }
  return targets;
}

INSTANTIATE_TEST_SUITE_P(All, KernelTest, testing::ValuesIn(supported_targets()),
                         [](const testing::TestParamInfo<const CpuTarget*>& info) {
                           return std::string(info.param->name);
                         });

}  // namespace
}  // namespace moxie
