#include "quant/interleave.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "kernels/select.h"
#include "quant/activations.h"

namespace moxie {
namespace {

struct Pairing {
  std::string_view target;
  const QuantType* type;
};

std::vector<Pairing> pairings() {
  std::vector<Pairing> all;
  for (const CpuTarget& target : cpu_targets()) {
    if (!target.supported()) continue;
    for (const QuantType* type : quant_types(target.name)) {
      if (type->can_interleave(512)) all.push_back({target.name, type});
    }
  }
  return all;
}

std::vector<std::byte> activations(const Kernels& kernels, ActFormat format, int64_t columns, int64_t tokens,
                                   size_t* row_bytes) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  if (format == ActFormat::f32) {
    *row_bytes = static_cast<size_t>(columns) * sizeof(float);
    std::vector<std::byte> rows(*row_bytes * static_cast<size_t>(tokens));
    for (size_t at = 0; at < rows.size(); at += sizeof(float)) {
      const float x = normal(random);
      std::memcpy(rows.data() + at, &x, sizeof x);
    }
    return rows;
  }
  const bool small = format == ActFormat::q8_32;
  *row_bytes = static_cast<size_t>(small ? columns / 32 * static_cast<int64_t>(sizeof(ActBlock32))
                                         : columns / 256 * static_cast<int64_t>(sizeof(ActBlock256)));
  std::vector<std::byte> rows(*row_bytes * static_cast<size_t>(tokens));
  std::vector<float> row(static_cast<size_t>(columns));
  for (int64_t t = 0; t < tokens; ++t) {
    for (float& x : row) x = normal(random);
    const auto quantize = small ? kernels.quantize_q8_32 : kernels.quantize_q8_256;
    quantize(row.data(), columns, rows.data() + static_cast<size_t>(t) * *row_bytes);
  }
  return rows;
}

// Random bytes with scales that are finite and of many magnitudes and signs.
std::vector<std::byte> weights(const QuantType& type, int64_t rows, int64_t columns) {
  std::mt19937 random(4);
  std::vector<std::byte> bytes(static_cast<size_t>(rows * type.row_bytes(columns)));
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  if (type.halves == 0) {
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<size_t>(rows * columns));
    for (float& value : values) value = normal(random);
    type.encode(values.data(), bytes.data(), rows * columns, nullptr);
  }
  for (size_t block = 0; block < bytes.size(); block += static_cast<size_t>(type.block_bytes)) {
    for (int half = 0; half < type.halves; ++half) {
      const uint16_t bits = static_cast<uint16_t>((random() & 0x8fff) | 0x1000);
      std::memcpy(bytes.data() + block + static_cast<size_t>(type.halves_at + 2 * half), &bits, sizeof bits);
    }
  }
  return bytes;
}

const Kernels& kernels_of(std::string_view name) {
  for (const CpuTarget& target : cpu_targets()) {
    if (target.name == name) return *target.kernels;
  }
  ADD_FAILURE() << "no target " << name;
  return *cpu_targets().front().kernels;
}

// Rows that fill whole groups, one group and no pair of them, and some that fill none; more than two streams take at
// once.
TEST(Interleave, ProductsHaveTheSameBits) {
  constexpr int64_t kColumns = 1280, kTokens = 81;
  ASSERT_FALSE(pairings().empty());
  for (const Pairing& c : pairings()) {
    const QuantType& type = *c.type;
    size_t x_bytes = 0;
    const auto x = activations(kernels_of(c.target), type.activations, kColumns, kTokens, &x_bytes);
    for (const int64_t rows : {16, 32, 48, 75, 5, 403}) {
      const auto plain = weights(type, rows, kColumns);
      auto interleaved = plain;
      std::vector<std::byte> scratch;
      interleave_rows(type, interleaved.data(), rows, kColumns, scratch);
      EXPECT_EQ(plain == interleaved, rows < kInterleavedRows);
      for (const int64_t tokens : {1, 2, 3, 4, 5, 12, 39, 40, 81}) {
        if (rows > 100 && tokens > 3) break;
        std::vector<float> want(static_cast<size_t>(tokens * rows), -1), got(want.size(), -2);
        MultiplyArgs args = {.weights = plain.data(),
                             .row_bytes = static_cast<size_t>(type.row_bytes(kColumns)),
                             .rows = rows,
                             .columns = kColumns,
                             .activations = x.data(),
                             .activation_row_bytes = x_bytes,
                             .tokens = tokens,
                             .out = want.data(),
                             .out_stride = rows};
        type.multiply(args);
        args.weights = interleaved.data();
        args.out = got.data();
        args.interleaved = true;
        type.multiply(args);
        EXPECT_EQ(std::memcmp(want.data(), got.data(), want.size() * sizeof(float)), 0)
            << c.target << ' ' << type.name << ", " << rows << " rows, " << tokens << " tokens";
      }
    }
  }
}

// The layout itself, in words of the header: what one kernel writes and another reads must not agree on a mistake.
TEST(Interleave, NumbersFirstThenWords) {
  const QuantType& type = *find_quant_type("q6_k");
  constexpr int64_t kRows = 16, kColumns = 512;
  const auto plain = weights(type, kRows, kColumns);
  auto interleaved = plain;
  std::vector<std::byte> scratch;
  interleave_rows(type, interleaved.data(), kRows, kColumns, scratch);
  const size_t row_bytes = 420, second_block = 210, group_block = 16 * 210;
  const auto at = [](const std::vector<std::byte>& from, size_t offset, size_t count) {
    return std::vector<std::byte>(from.begin() + static_cast<ptrdiff_t>(offset),
                                  from.begin() + static_cast<ptrdiff_t>(offset + count));
  };
  // The scale of row 5's second block, and word 2 of its low nibbles.
  EXPECT_EQ(at(plain, 5 * row_bytes + second_block + 208, 2), at(interleaved, group_block + 5 * 2, 2));
  EXPECT_EQ(at(plain, 5 * row_bytes + second_block + 8, 4), at(interleaved, group_block + 32 + 2 * 64 + 5 * 4, 4));
}

}  // namespace
}  // namespace moxie
