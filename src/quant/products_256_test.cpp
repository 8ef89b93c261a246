// The products of the types with blocks of 256 values at the ends of their ranges: nothing saturates, wraps or crashes.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/select.h"
#include "quant/activations.h"
#include "quant/quant_type.h"

namespace moxie {
namespace {

struct Layout {
  const char* name;
  int scale_at;  // byte offsets of the half-precision scale and of the scale of the minima (-1: none)
  int minimum_at;
};
constexpr Layout kLayouts[] = {{"q2_k", 80, 82}, {"q3_k", 108, -1}, {"q4_k", 0, 2},
                               {"q5_k", 0, 2},   {"q6_k", 208, -1}, {"iq4_xs", 0, -1}};
constexpr uint16_t kHalfZero = 0x0000, kHalfOne = 0x3c00, kHalfInfinity = 0x7c00, kHalfNan = 0x7e01;

void set_half(std::byte* block, int at, uint16_t half) {
  if (at >= 0) std::memcpy(block + at, &half, sizeof half);
}

ActBlock256 activations(int pattern, std::mt19937& random) {
  ActBlock256 x = {};
  x.scale = 1;
  for (int part = 0; part < 16; part += 2) {
    // Sums of 32 equal signs do not fit with more than half of the largest factor.
    const int largest = pattern < 2 ? kMaxActFactor / 2 : kMaxActFactor;
    const int factor = pattern == 3 ? 1 + static_cast<int>(random() % kMaxActFactor) : largest;
    x.factors[part] = x.factors[part + 1] = static_cast<int16_t>(factor);
  }
  for (int i = 0; i < 256; ++i) {
    const int alternating = i % 2 ? 127 : -127;
    const int by_sub_block = i / 16 % 2 ? 127 : -127;
    const int values[] = {127, -127, alternating, static_cast<int>(random() % 255) - 127, 0, by_sub_block};
    x.values[i] = static_cast<int8_t>(values[pattern]);
    x.part_sums[i / 8] = static_cast<int16_t>(x.part_sums[i / 8] + x.values[i]);
    x.sums[i / 16] = static_cast<int16_t>(x.sums[i / 16] + x.factors[i / 16] * x.values[i]);
    x.sums_of_32[i / 32] = static_cast<int16_t>(x.sums_of_32[i / 32] + x.factors[i / 16] * x.values[i]);
  }
  return x;
}

// Rows x tokens results of a call over one matrix.
std::vector<float> multiply(const QuantType& type, const std::vector<std::byte>& weights, int64_t rows,
                            const std::vector<ActBlock256>& x, int64_t tokens) {
  const int64_t blocks = static_cast<int64_t>(x.size()) / tokens;
  std::vector<float> out(static_cast<size_t>(rows * tokens));
  MultiplyArgs args = {};
  args.weights = weights.data();
  args.row_bytes = static_cast<size_t>(blocks * type.block_bytes);
  args.rows = rows;
  args.columns = 256 * blocks;
  args.activations = reinterpret_cast<const std::byte*>(x.data());
  args.activation_row_bytes = static_cast<size_t>(blocks) * sizeof(ActBlock256);
  args.tokens = tokens;
  args.out = out.data();
  args.out_stride = rows;
  type.multiply(args);
  return out;
}

template <typename Check>
void for_each_type_and_target(const Check& check) {
  for (const Layout& layout : kLayouts) {
    for (const CpuTarget& target : cpu_targets()) {
      if (!target.supported()) continue;
      const QuantType* type = find_quant_type(layout.name, target.name);
      ASSERT_NE(type, nullptr) << layout.name;
      ASSERT_EQ(type->activations, ActFormat::q8_256) << layout.name;
      SCOPED_TRACE(std::string(layout.name) + " on " + std::string(target.name));
      check(layout, *type);
    }
  }
}

// With scales of one a decoded weight is an integer, so a product of one block has one right value: the integer sum,
// rounded once.
TEST(Products256, ExactAtTheEndsOfTheRange) {
  for_each_type_and_target([](const Layout& layout, const QuantType& type) {
    std::mt19937 random(1);
    for (int fill = 0; fill < 20; ++fill) {
      for (const bool minima : {false, true}) {
        if (minima && layout.minimum_at < 0) continue;
        std::vector<std::byte> block(static_cast<size_t>(type.block_bytes));
        const uint8_t fills[] = {0x00, 0xff, 0x0f, 0xf0, 0x55, 0xaa, 0x80, 0x7f};
        for (std::byte& b : block) b = static_cast<std::byte>(fill < 8 ? fills[fill] : random());
        for (int i = 0; i < 16 && std::string(layout.name) == "q6_k"; ++i) {
          const uint8_t scales[] = {0x7f, 0x80, static_cast<uint8_t>(i % 2 ? 0x7f : 0x80),
                                    static_cast<uint8_t>(i % 2 ? 0x80 : 0x7f)};
          block[static_cast<size_t>(192 + i)] = static_cast<std::byte>(scales[fill / 2 % 4]);
        }
        set_half(block.data(), layout.scale_at, minima ? kHalfZero : kHalfOne);
        set_half(block.data(), layout.minimum_at, minima ? kHalfOne : kHalfZero);
        float weights[256];
        type.decode(block.data(), weights, 1);
        for (int pattern = 0; pattern < 6; ++pattern) {
          const ActBlock256 x = activations(pattern, random);
          int64_t exact = 0;
          for (int i = 0; i < 256; ++i) exact += std::lrint(weights[i]) * x.factors[i / 16] * x.values[i];
          for (const int64_t tokens : {1, 7, 43}) {  // the ways of few tokens, of more and of many
            const std::vector<ActBlock256> all(static_cast<size_t>(tokens), x);
            for (const float result : multiply(type, block, 1, all, tokens)) {
              EXPECT_EQ(result, static_cast<float>(exact))
                  << "fill " << fill << ", activations " << pattern << (minima ? ", minima" : "");
            }
          }
        }
      }
    }
  });
}

// The same bits for a row and a token, whatever else is in the call, and at any address.
TEST(Products256, IndependentOfNeighbours) {
  for_each_type_and_target([](const Layout& layout, const QuantType& type) {
    constexpr int kRows = 37, kTokens = 45, kBlocks = 3;
    std::mt19937 random(2);
    std::vector<std::byte> weights(static_cast<size_t>(kRows * kBlocks * type.block_bytes));
    for (std::byte& b : weights) b = static_cast<std::byte>(random());
    for (int i = 0; i < kRows * kBlocks; ++i) {
      set_half(weights.data() + i * type.block_bytes, layout.scale_at, static_cast<uint16_t>(random() % 0x7c00));
      set_half(weights.data() + i * type.block_bytes, layout.minimum_at, static_cast<uint16_t>(random() % 0x7c00));
    }
    std::vector<ActBlock256> x;
    for (int i = 0; i < kTokens * kBlocks; ++i) {
      x.push_back(activations(3, random));
      x.back().scale = static_cast<float>(random() % 1000) / 1000;
    }
    const std::vector<float> all = multiply(type, weights, kRows, x, kTokens);
    for (int64_t rows = 1; rows <= kRows; rows = rows * 2 + 1) {
      for (int64_t tokens = 1; tokens <= kTokens; ++tokens) {
        const auto skip_rows = (kRows - rows) * kBlocks * type.block_bytes;
        const auto skip_tokens = (kTokens - tokens) * kBlocks;
        const std::vector<float> some = multiply(type, {weights.begin() + skip_rows, weights.end()}, rows,
                                                 {x.begin() + skip_tokens, x.end()}, tokens);
        for (int64_t t = 0; t < tokens; ++t) {
          for (int64_t r = 0; r < rows; ++r) {
            const size_t whole = static_cast<size_t>((kTokens - tokens + t) * kRows + kRows - rows + r);
            ASSERT_EQ(std::memcmp(&some[static_cast<size_t>(t * rows + r)], &all[whole], sizeof(float)), 0)
                << "row " << r << " of " << rows << ", token " << t << " of " << tokens;
          }
        }
      }
    }
  });
}

TEST(Products256, DamagedScalesGiveInfinitiesNotCrashes) {
  for_each_type_and_target([](const Layout& layout, const QuantType& type) {
    std::mt19937 random(3);
    for (const uint16_t half : {kHalfInfinity, kHalfNan, static_cast<uint16_t>(kHalfInfinity | 0x8000)}) {
      std::vector<std::byte> block(static_cast<size_t>(type.block_bytes), std::byte{0x5a});
      set_half(block.data(), layout.scale_at, half);
      set_half(block.data(), layout.minimum_at, half);
      float weights[256];
      type.decode(block.data(), weights, 1);
      EXPECT_FALSE(std::isfinite(weights[0] + weights[255]));
      for (const float result : multiply(type, block, 1, {activations(3, random), activations(0, random)}, 2)) {
        EXPECT_FALSE(std::isfinite(result));
      }
    }
  });
}

}  // namespace
}  // namespace moxie
