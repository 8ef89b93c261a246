// What every type of parted.inc promises, on each CPU target: values are bit for bit those of the scheme's definition,
// written down here a second time and slowly; products are those of the values; a result never depends on the other
// rows and tokens of a call. Parts lie against unreadable pages.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <memory>
#include <random>
#include <set>
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

// Random parts of one matrix, and what they mean.
struct Sample {
  PartedLayout layout;
  std::vector<std::vector<uint8_t>> parts;  // empty: absent

  uint32_t bits(size_t part, int64_t first, int count) const {  // from a little-endian stream
    uint32_t number = 0;
    for (int i = 0; i < count; ++i)
      number |= (parts[part][static_cast<size_t>(first + i) / 8] >> ((first + i) % 8) & 1u) << i;
    return number;
  }
  template <typename T>
  T at(size_t part, int64_t index) const {
    T value;
    std::memcpy(&value, parts[part].data() + static_cast<size_t>(index) * sizeof(T), sizeof(T));
    return value;
  }
  float scale(size_t part, int64_t index) const {
    switch (layout.scales) {
      case ScaleFormat::f32:
        return at<float>(part, index);
      case ScaleFormat::f16:
        return float_from_f16(at<uint16_t>(part, index));
      case ScaleFormat::bf16:
        return float_from_bf16(at<uint16_t>(part, index));
      case ScaleFormat::e8m0:
        return std::ldexp(1.0f, parts[part][static_cast<size_t>(index)] - 127);
      case ScaleFormat::e4m3:
        return e4m3(parts[part][static_cast<size_t>(index)]);
      case ScaleFormat::u8:
        return parts[part][static_cast<size_t>(index)];
    }
    return 0;
  }
  static float e4m3(uint8_t x) {
    if ((x & 127) == 127) return std::nanf("");
    const int exponent = x >> 3 & 15, mantissa = x & 7;
    const float magnitude =
        exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9) : std::ldexp(8.0f + mantissa, exponent - 10);
    return x & 128 ? -magnitude : magnitude;
  }
};

class Maker {
 public:
  explicit Maker(uint32_t seed) : random_(seed) {}
  std::vector<uint8_t> bytes(int64_t count) {
    std::vector<uint8_t> made(static_cast<size_t>(count));
    for (uint8_t& byte : made) byte = static_cast<uint8_t>(random_());
    return made;
  }
  std::vector<uint8_t> scales(ScaleFormat format, int64_t count, bool positive = false) {
    std::normal_distribution<float> normal(0, 0.02f);
    std::vector<uint8_t> made;
    for (int64_t i = 0; i < count; ++i) {
      const float value = positive ? std::fabs(normal(random_)) : normal(random_);
      if (format == ScaleFormat::f32) {
        append(made, value);
      } else if (format == ScaleFormat::f16) {
        append(made, f16_from_float(value));
      } else if (format == ScaleFormat::bf16) {
        append(made, bf16_from_float(value));
      } else if (format == ScaleFormat::e8m0) {
        made.push_back(static_cast<uint8_t>(118 + random_() % 6));
      } else {
        made.push_back(static_cast<uint8_t>(random_() % 120));
      }
    }
    return made;
  }
  template <typename T>
  static void append(std::vector<uint8_t>& to, T value) {
    const auto* raw = reinterpret_cast<const uint8_t*>(&value);
    to.insert(to.end(), raw, raw + sizeof value);
  }
  uint32_t next() { return static_cast<uint32_t>(random_()); }

 private:
  std::mt19937 random_;
};

using Make = Sample (*)(int64_t rows, int64_t columns, int64_t group, int bits, ScaleFormat scales);

Sample mlx(int64_t rows, int64_t columns, int64_t group, int bits, ScaleFormat scales) {
  Maker make(static_cast<uint32_t>(rows + columns + bits));
  Sample sample{
      .layout = {
          .rows = rows, .columns = columns, .group = group, .bits = static_cast<uint8_t>(bits), .scales = scales}};
  sample.parts = {make.bytes(rows * columns * bits / 8), make.scales(scales, rows * (columns / group)),
                  make.scales(scales, rows * (columns / group))};
  return sample;
}
float mlx_value(const Sample& s, int64_t row, int64_t column) {
  const int64_t group = row * (s.layout.columns / s.layout.group) + column / s.layout.group;
  const float product = s.scale(1, group) *
                        static_cast<float>(s.bits(0, (row * s.layout.columns + column) * s.layout.bits, s.layout.bits));
  return product + s.scale(2, group);
}

Sample mlx_float(int64_t rows, int64_t columns, int64_t group, int bits, ScaleFormat scales) {
  Maker make(static_cast<uint32_t>(rows + columns));
  Sample sample{
      .layout = {
          .rows = rows, .columns = columns, .group = group, .bits = static_cast<uint8_t>(bits), .scales = scales}};
  sample.parts = {make.bytes(rows * columns * bits / 8), make.scales(scales, rows * (columns / group))};
  if (bits == 8) {
    for (uint8_t& byte : sample.parts[0]) byte = (byte & 127) == 127 ? 5 : byte;
  }
  return sample;
}
float mlx_float_value(const Sample& s, int64_t row, int64_t column) {
  constexpr float kE2m1[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  const uint32_t code = s.bits(0, (row * s.layout.columns + column) * s.layout.bits, s.layout.bits);
  const float number = s.layout.bits == 8 ? Sample::e4m3(static_cast<uint8_t>(code))
                       : code < 8         ? kE2m1[code]
                                          : -kE2m1[code - 8];
  return s.scale(1, row * (s.layout.columns / s.layout.group) + column / s.layout.group) * number;
}

// The rows of every second one of two matrices.
Sample mxfp4_in_turn(int64_t rows, int64_t columns, int64_t group, int bits, ScaleFormat scales) {
  Sample sample = mlx_float(2 * rows, columns, group, bits, scales);
  sample.layout.rows = rows;
  sample.layout.row_begin = rows % 2;
  sample.layout.row_step = 2;
  return sample;
}
float mxfp4_in_turn_value(const Sample& s, int64_t row, int64_t column) {
  return mlx_float_value(s, 2 * row + s.layout.row_begin, column);
}

// `group` matrices that are stored transposed, two of them in turn where bits is 2.
Sample strided(int64_t rows, int64_t columns, int64_t group, int bits, ScaleFormat scales) {
  Maker make(static_cast<uint32_t>(rows + columns));
  Sample sample{.layout = {.rows = rows,
                           .columns = columns,
                           .row_begin = bits == 2 ? columns / 32 % 2 : 0,
                           .row_step = bits,
                           .column_step = rows / group * bits,
                           .group_rows = rows / group,
                           .scales = scales}};
  sample.parts = {make.scales(scales, rows * columns * bits)};
  return sample;
}
float strided_value(const Sample& s, int64_t row, int64_t column) {
  const int64_t height = s.layout.group_rows, stored = height * s.layout.row_step;
  const int64_t before = row / height * stored * s.layout.columns;  // matrices
  return s.scale(0, before + column * stored + row % height * s.layout.row_step + s.layout.row_begin);
}

// With `inputs in order` where scales is f16, shuffled where it is f32 (the scales themselves are always f16).
Sample gptq(int64_t rows, int64_t columns, int64_t group, int bits, ScaleFormat order) {
  Maker make(static_cast<uint32_t>(rows + columns + bits));
  const int64_t groups = (columns + group - 1) / group;
  Sample sample{.layout = {.rows = rows,
                           .columns = columns,
                           .group = group,
                           .bits = static_cast<uint8_t>(bits),
                           .scales = ScaleFormat::f16,
                           .zero_step = static_cast<int8_t>(group == 64 ? 0 : 1)}};
  sample.parts = {make.bytes(columns * bits / 8 * rows),
                  make.bytes(groups * rows * bits / 8),
                  make.scales(ScaleFormat::f16, groups * rows, true),
                  {}};
  if (order == ScaleFormat::f32) {
    for (int64_t i = 0; i < columns; ++i) {
      const auto number = static_cast<int32_t>(make.next() % static_cast<uint32_t>(groups));
      Maker::append(sample.parts[3], i % 5 == 0 ? number - static_cast<int32_t>(groups) : number);
    }
  }
  return sample;
}
float gptq_value(const Sample& s, int64_t row, int64_t column) {
  const int64_t rows = s.layout.rows, groups = (s.layout.columns + s.layout.group - 1) / s.layout.group;
  const int bits = s.layout.bits;
  int64_t group = column / s.layout.group;
  if (!s.parts[3].empty()) {
    group = s.at<int32_t>(3, column);
    if (group < 0) group += groups;
  }
  uint32_t number = 0;  // the stream of this row goes down through the words
  for (int i = 0; i < bits; ++i) {
    const int64_t bit = column * bits + i;
    number |= (s.at<uint32_t>(0, bit / 32 * rows + row) >> (bit % 32) & 1u) << i;
  }
  const uint32_t zero =
      (s.bits(1, (group * rows + row) * bits, bits) + static_cast<uint32_t>(s.layout.zero_step)) % (1u << bits);
  return float_from_f16(s.at<uint16_t>(2, group * rows + row)) *
         (static_cast<float>(number) - static_cast<float>(zero));
}

Sample awq(int64_t rows, int64_t columns, int64_t group, int, ScaleFormat) {
  Maker make(static_cast<uint32_t>(rows + columns));
  const int64_t groups = columns / group;
  Sample sample{.layout = {.rows = rows, .columns = columns, .group = group, .bits = 4, .scales = ScaleFormat::f16}};
  sample.parts = {make.bytes(columns * rows / 2), make.bytes(groups * rows / 2),
                  make.scales(ScaleFormat::f16, groups * rows, true)};
  return sample;
}
float awq_value(const Sample& s, int64_t row, int64_t column) {
  constexpr int kColumnOfNibble[] = {0, 2, 4, 6, 1, 3, 5, 7};
  int nibble = 0;
  while (kColumnOfNibble[nibble] != row % 8) ++nibble;
  const int64_t line = s.layout.rows / 8, group = column / s.layout.group;
  const auto number = [&](size_t part, int64_t index) {
    return static_cast<float>(s.at<uint32_t>(part, index * line + row / 8) >> (4 * nibble) & 15);
  };
  return (number(0, column) - number(1, group)) * float_from_f16(s.at<uint16_t>(2, group * s.layout.rows + row));
}

// Zero points where the group is 64.
Sample packed(int64_t rows, int64_t columns, int64_t group, int bits, ScaleFormat scales) {
  Maker make(static_cast<uint32_t>(rows + columns));
  const int64_t groups = columns / group, per_word = 32 / bits;
  Sample sample{
      .layout = {
          .rows = rows, .columns = columns, .group = group, .bits = static_cast<uint8_t>(bits), .scales = scales}};
  sample.parts = {make.bytes(rows * columns * bits / 8), make.scales(scales, rows * groups, true),
                  group == 64 ? make.bytes((rows + per_word - 1) / per_word * groups * 4) : std::vector<uint8_t>{}};
  return sample;
}
float packed_value(const Sample& s, int64_t row, int64_t column) {
  const int bits = s.layout.bits;
  const int64_t groups = s.layout.columns / s.layout.group, group = column / s.layout.group, per_word = 32 / bits;
  const uint32_t zero =
      s.parts[2].empty()
          ? 1u << (bits - 1)
          : s.at<uint32_t>(2, row / per_word * groups + group) >> (row % per_word * bits) & ((1u << bits) - 1);
  const uint32_t number = s.bits(0, (row * s.layout.columns + column) * bits, bits);
  return s.scale(1, row * groups + group) * (static_cast<float>(number) - static_cast<float>(zero));
}

// Which group a column is of; zero points where the group is 64.
Sample packed_order(int64_t rows, int64_t columns, int64_t group, int bits, ScaleFormat scales) {
  Sample sample = packed(rows, columns, group, bits, scales);
  Maker make(3);
  sample.parts.push_back(sample.parts[2]);
  sample.parts[2].clear();
  for (int64_t i = 0; i < columns; ++i)
    Maker::append(sample.parts[2], static_cast<int32_t>(make.next() % static_cast<uint32_t>(columns / group)));
  return sample;
}
float packed_order_value(const Sample& s, int64_t row, int64_t column) {
  const int bits = s.layout.bits;
  const int64_t groups = s.layout.columns / s.layout.group, group = s.at<int32_t>(2, column), per_word = 32 / bits;
  const uint32_t zero =
      s.parts[3].empty()
          ? 1u << (bits - 1)
          : s.at<uint32_t>(3, row / per_word * groups + group) >> (row % per_word * bits) & ((1u << bits) - 1);
  const uint32_t number = s.bits(0, (row * s.layout.columns + column) * bits, bits);
  return s.scale(1, row * groups + group) * (static_cast<float>(number) - static_cast<float>(zero));
}

// One scale for all rows where bits is 1.
Sample int8_rows(int64_t rows, int64_t columns, int64_t, int bits, ScaleFormat scales) {
  Maker make(static_cast<uint32_t>(rows + columns));
  Sample sample{.layout = {.rows = rows,
                           .columns = columns,
                           .group = columns,
                           .group_rows = bits == 1 ? rows : 1,
                           .bits = 8,
                           .scales = scales}};
  sample.parts = {make.bytes(rows * columns), make.scales(scales, bits == 1 ? 1 : rows, true)};
  return sample;
}
float int8_rows_value(const Sample& s, int64_t row, int64_t column) {
  return static_cast<float>(s.at<int8_t>(0, row * s.layout.columns + column)) * s.scale(1, row / s.layout.group_rows);
}

Sample nvfp4_scaled(int64_t rows, int64_t columns, int64_t group, int bits, ScaleFormat scales) {
  Sample sample = mlx_float(rows, columns, group, bits, scales);
  sample.layout.constant = 0.0078125f;
  return sample;
}
float nvfp4_scaled_value(const Sample& s, int64_t row, int64_t column) {
  return mlx_float_value(s, row, column) * 0.0078125f;
}

// Scales of another type than half precision.
Sample gptq_with(int64_t rows, int64_t columns, int64_t group, int bits, ScaleFormat scales) {
  Sample sample = gptq(rows, columns, group, bits, ScaleFormat::f16);
  Maker make(9);
  sample.layout.scales = scales;
  sample.parts[2] = make.scales(scales, (columns + group - 1) / group * rows, true);
  return sample;
}
float gptq_with_value(const Sample& s, int64_t row, int64_t column) {
  Sample ones = s;
  ones.parts[2].clear();
  for (int64_t i = 0; i < (s.layout.columns + s.layout.group - 1) / s.layout.group * s.layout.rows; ++i)
    Maker::append(ones.parts[2], uint16_t{0x3c00});
  return s.scale(2, column / s.layout.group * s.layout.rows + row) * gptq_value(ones, row, column);
}

// Maxima of maxima where scales are bytes.
Sample bnb4(int64_t rows, int64_t columns, int64_t group, int, ScaleFormat scales) {
  Maker make(static_cast<uint32_t>(rows + columns));
  Sample sample{.layout = {.rows = rows,
                           .columns = columns,
                           .group = group,
                           .group_rows = 256,
                           .bits = 4,
                           .scales = scales,
                           .constant = 0.0625f}};
  const int64_t blocks = (rows * columns + group - 1) / group;
  sample.parts = {
      make.bytes(rows * columns / 2), make.scales(scales, blocks, true), make.scales(ScaleFormat::f32, 16), {}, {}};
  if (scales == ScaleFormat::u8) {
    sample.parts[3] = make.scales(ScaleFormat::f32, (blocks + 255) / 256, true);
    sample.parts[4] = make.scales(ScaleFormat::f32, 256);
  }
  return sample;
}
float bnb4_value(const Sample& s, int64_t row, int64_t column) {
  const int64_t at = row * s.layout.columns + column, block = at / s.layout.group;
  float maximum = 0;
  if (s.layout.scales == ScaleFormat::f32) {
    maximum = s.at<float>(1, block);
  } else {
    maximum = s.at<float>(4, s.at<uint8_t>(1, block)) * s.at<float>(3, block / 256);
    maximum += s.layout.constant;
  }
  const uint8_t two = s.at<uint8_t>(0, at / 2);
  return s.at<float>(2, at % 2 == 0 ? two >> 4 : two & 15) * maximum;
}

Sample bnb8(int64_t rows, int64_t columns, int64_t, int, ScaleFormat) {
  Maker make(static_cast<uint32_t>(rows + columns));
  Sample sample{.layout = {.rows = rows, .columns = columns, .group = columns, .bits = 8}};
  sample.parts = {make.bytes(rows * columns), make.scales(ScaleFormat::f32, rows, true)};
  return sample;
}
float bnb8_value(const Sample& s, int64_t row, int64_t column) {
  const float product = static_cast<float>(s.at<int8_t>(0, row * s.layout.columns + column)) * s.at<float>(1, row);
  return product * (1.0f / 127.0f);
}

Sample fp8(int64_t rows, int64_t columns, int64_t group, int, ScaleFormat scales) {
  Maker make(static_cast<uint32_t>(rows + columns));
  Sample sample{
      .layout = {.rows = rows, .columns = columns, .group = group, .group_rows = 24, .bits = 8, .scales = scales}};
  sample.parts = {make.bytes(rows * columns),
                  make.scales(scales, (rows + 23) / 24 * ((columns + group - 1) / group), true)};
  for (uint8_t& byte : sample.parts[0]) byte = (byte & 127) == 127 ? 5 : byte;
  return sample;
}
float fp8_value(const Sample& s, int64_t row, int64_t column) {
  const int64_t across = (s.layout.columns + s.layout.group - 1) / s.layout.group;
  return Sample::e4m3(s.at<uint8_t>(0, row * s.layout.columns + column)) *
         s.scale(1, row / 24 * across + column / s.layout.group);
}

struct Form {
  const char* type;
  Make make;
  float (*value)(const Sample&, int64_t row, int64_t column);
  int64_t rows, columns, group;
  int bits;
  ScaleFormat scales;
};

constexpr ScaleFormat kF32 = ScaleFormat::f32, kF16 = ScaleFormat::f16, kBf16 = ScaleFormat::bf16;
constexpr Form kForms[] = {
    {"mlx4", mlx, mlx_value, 37, 32, 32, 4, kF16},
    {"mlx4", mlx, mlx_value, 37, 96, 32, 4, kBf16},
    {"mlx4", mlx, mlx_value, 16, 1152, 128, 4, kF16},
    {"mlx4", mlx, mlx_value, 50, 2048, 64, 4, kF32},
    {"mlx4", mlx, mlx_value, 5, 288, 96, 4, kF16},
    {"mlx4", mlx, mlx_value, 256, 256, 128, 4, kBf16},
    {"mlx8", mlx, mlx_value, 37, 96, 32, 8, kBf16},
    {"mlx8", mlx, mlx_value, 33, 2048, 64, 8, kF16},
    {"mlx8", mlx, mlx_value, 7, 1152, 128, 8, kF32},
    {"mlx_affine", mlx, mlx_value, 9, 608, 16, 4, kF16},
    {"mlx_affine", mlx, mlx_value, 21, 1152, 64, 2, kF16},
    {"mlx_affine", mlx, mlx_value, 21, 1152, 64, 3, kBf16},
    {"mlx_affine", mlx, mlx_value, 21, 640, 128, 5, kF32},
    {"mlx_affine", mlx, mlx_value, 21, 544, 32, 6, kF16},
    {"mlx_affine", mlx, mlx_value, 3, 24, 8, 8, kF16},
    {"mlx_mxfp4", mlx_float, mlx_float_value, 37, 96, 32, 4, ScaleFormat::e8m0},
    {"mlx_mxfp4", mlx_float, mlx_float_value, 50, 2048, 32, 4, ScaleFormat::e8m0},
    {"mlx_mxfp4", mxfp4_in_turn, mxfp4_in_turn_value, 37, 96, 32, 4, ScaleFormat::e8m0},
    {"mlx_mxfp4", mxfp4_in_turn, mxfp4_in_turn_value, 50, 2048, 32, 4, ScaleFormat::e8m0},
    {"mlx_float", mxfp4_in_turn, mxfp4_in_turn_value, 11, 608, 32, 8, ScaleFormat::e8m0},
    {"mlx_float", mlx_float, mlx_float_value, 11, 608, 32, 8, ScaleFormat::e8m0},
    {"mlx_float", mlx_float, mlx_float_value, 11, 608, 16, 4, ScaleFormat::e4m3},
    {"gptq4", gptq, gptq_value, 40, 96, 32, 4, kF16},
    {"gptq4", gptq, gptq_value, 328, 2048, 64, 4, kF16},
    {"gptq4", gptq, gptq_value, 24, 1152, 128, 4, kF16},
    {"gptq4", gptq, gptq_value, 8, 1152, 1152, 4, kF16},
    {"gptq", gptq, gptq_value, 32, 192, 32, 2, kF16},
    {"gptq", gptq, gptq_value, 64, 192, 64, 3, kF16},
    {"gptq", gptq, gptq_value, 32, 640, 128, 8, kF32},
    {"gptq", gptq, gptq_value, 32, 640, 64, 4, kF32},
    {"gptq", gptq, gptq_value, 32, 160, 128, 3, kF32},
    {"awq4", awq, awq_value, 40, 96, 32, 4, kF16},
    {"awq4", awq, awq_value, 328, 2048, 128, 4, kF16},
    {"awq4", awq, awq_value, 8, 64, 64, 4, kF16},
    {"awq", awq, awq_value, 24, 80, 16, 4, kF16},
    {"packed4", packed, packed_value, 37, 96, 32, 4, kBf16},
    {"packed4", packed, packed_value, 50, 2048, 64, 4, kF16},
    {"packed4", packed, packed_value, 8, 1152, 128, 4, kF32},
    {"packed", packed, packed_value, 9, 608, 16, 4, kF16},
    {"packed", packed, packed_value, 21, 1152, 64, 8, kBf16},
    {"packed", packed, packed_value, 21, 1152, 128, 8, kF32},
    {"packed_order", packed_order, packed_order_value, 9, 608, 16, 4, kF16},
    {"packed_order", packed_order, packed_order_value, 16, 256, 64, 4, kBf16},
    {"packed_order", packed_order, packed_order_value, 21, 1152, 64, 8, kF32},
    {"int8_rows", int8_rows, int8_rows_value, 37, 96, 0, 8, kF32},
    {"int8_rows", int8_rows, int8_rows_value, 50, 2048, 0, 8, kBf16},
    {"int8_rows", int8_rows, int8_rows_value, 21, 96, 0, 1, kF16},
    {"mlx_float", nvfp4_scaled, nvfp4_scaled_value, 11, 608, 16, 4, ScaleFormat::e4m3},
    {"gptq", gptq_with, gptq_with_value, 32, 96, 32, 4, kBf16},
    {"gptq", gptq_with, gptq_with_value, 32, 96, 32, 8, kF32},
    {"bnb4", bnb4, bnb4_value, 21, 96, 64, 4, kF32},
    {"bnb4", bnb4, bnb4_value, 64, 640, 64, 4, ScaleFormat::u8},
    {"bnb8", bnb8, bnb8_value, 37, 96, 0, 8, kF32},
    {"bnb8", bnb8, bnb8_value, 50, 2048, 0, 8, kF32},
    {"fp8", fp8, fp8_value, 37, 608, 128, 8, kF32},
    {"fp8", fp8, fp8_value, 5, 1029, 128, 8,
     kF32},  // more columns than a panel has, the last of them in a vector's midst
    {"fp8", fp8, fp8_value, 5, 517, 128, 8, kF32},
    {"fp8", fp8, fp8_value, 21, 96, 1000, 8, kBf16},
    {"strided_bf16", strided, strided_value, 37, 96, 1, 1, kBf16},
    {"strided_bf16", strided, strided_value, 37, 96, 1, 2, kBf16},
    {"strided_bf16", strided, strided_value, 37, 160, 1, 2, kBf16},
    {"strided_bf16", strided, strided_value, 200, 608, 1, 2, kBf16},
    {"strided_bf16", strided, strided_value, 128, 64, 4, 1, kBf16},
    {"strided_f16", strided, strided_value, 90, 64, 2, 1, kF16},
    {"strided_f16", strided, strided_value, 90, 96, 2, 2, kF16},
    {"strided_f32", strided, strided_value, 90, 64, 2, 1, kF32},
    {"strided_f32", strided, strided_value, 90, 96, 2, 2, kF32},
};

// The parts of a sample where reading beyond them fails.
class Guarded {
 public:
  explicit Guarded(const Sample& sample) {
    weights_.layout = sample.layout;
    for (size_t i = 0; i < sample.parts.size(); ++i) {
      if (sample.parts[i].empty()) continue;
      buffers_.push_back(std::make_unique<GuardedBuffer>(sample.parts[i].size()));
      std::memcpy(buffers_.back()->data(), sample.parts[i].data(), sample.parts[i].size());
      weights_.part[i] = buffers_.back()->data();
    }
  }
  const PartedWeights& weights() const { return weights_; }

 private:
  PartedWeights weights_;
  std::vector<std::unique_ptr<GuardedBuffer>> buffers_;
};

std::vector<const CpuTarget*> targets() {
  std::vector<const CpuTarget*> supported;
  for (const CpuTarget& target : cpu_targets()) {
    if (target.supported()) supported.push_back(&target);
  }
  return supported;
}

class Parted : public testing::TestWithParam<Form> {
 protected:
  Sample sample() const {
    const Form& form = GetParam();
    return form.make(form.rows, form.columns, form.group, form.bits, form.scales);
  }
  std::vector<float> values(const Sample& sample) const {
    std::vector<float> all;
    for (int64_t row = 0; row < sample.layout.rows; ++row) {
      for (int64_t column = 0; column < sample.layout.columns; ++column)
        all.push_back(GetParam().value(sample, row, column));
    }
    return all;
  }
};

TEST_P(Parted, ValuesAreTheDefinitions) {
  const Sample made = sample();
  const Guarded guarded(made);
  const std::vector<float> expected = values(made);
  const int64_t columns = made.layout.columns;
  for (const CpuTarget* target : targets()) {
    const QuantType* type = find_quant_type(GetParam().type, target->name);
    ASSERT_NE(type, nullptr);
    ASSERT_TRUE(type->parted() && type->computable() && type->multiply != nullptr);
    for (int64_t row = 0; row < made.layout.rows; ++row) {
      // In one piece, and from a column in the middle on.
      for (const int64_t first : {int64_t{0}, columns / 64 * 32}) {
        GuardedBuffer to(static_cast<size_t>(columns - first) * sizeof(float));
        type->decode_columns(guarded.weights(), row, first, columns - first, to.as<float>());
        for (int64_t i = first; i < columns; ++i) {
          const float found = to.as<float>()[i - first], wanted = expected[static_cast<size_t>(row * columns + i)];
          ASSERT_TRUE(std::bit_cast<uint32_t>(found) == std::bit_cast<uint32_t>(wanted) || (found == 0 && wanted == 0))
              << target->name << ", row " << row << ", column " << i << ": " << found << " for " << wanted;
        }
      }
    }
  }
}

struct Inputs {
  std::vector<std::byte> bytes;
  size_t row_bytes;
  std::vector<float> values;  // what they mean
};

Inputs inputs(ActFormat format, int64_t tokens, int64_t columns) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0, 1);
  Inputs made;
  made.values.resize(static_cast<size_t>(tokens * columns));
  for (float& value : made.values) value = normal(random);
  made.row_bytes = format == ActFormat::f32 ? static_cast<size_t>(columns) * sizeof(float)
                                            : static_cast<size_t>(columns) / 32 * sizeof(ActBlock32);
  made.bytes.resize(made.row_bytes * static_cast<size_t>(tokens));
  const Kernels& kernels = *(*select_cpu_target("baseline"))->kernels;
  for (int64_t t = 0; t < tokens; ++t) {
    float* row = made.values.data() + t * columns;
    std::byte* to = made.bytes.data() + static_cast<size_t>(t) * made.row_bytes;
    if (format == ActFormat::f32) {
      std::memcpy(to, row, made.row_bytes);
      continue;
    }
    kernels.quantize_q8_32(row, columns, to);
    const auto* blocks = reinterpret_cast<const ActBlock32*>(to);
    for (int64_t i = 0; i < columns; ++i)
      row[i] = blocks[i / 32].scale * static_cast<float>(blocks[i / 32].values[i % 32]);
  }
  return made;
}

// (tokens, rows), as one call or as one for every row range and token.
std::vector<float> product(const QuantType& type, const PartedWeights& weights, const Inputs& x, int64_t tokens,
                           int64_t rows_at_once, bool one_token) {
  const int64_t rows = weights.layout.rows;
  std::vector<float> out(static_cast<size_t>(tokens * rows), -1);
  for (int64_t row = 0; row < rows; row += rows_at_once) {
    for (int64_t t = 0; t < tokens; t += one_token ? 1 : tokens) {
      type.multiply({.weights = nullptr,
                     .row_bytes = 0,
                     .rows = std::min(rows_at_once, rows - row),
                     .columns = weights.layout.columns,
                     .activations = x.bytes.data() + static_cast<size_t>(t) * x.row_bytes,
                     .activation_row_bytes = x.row_bytes,
                     .tokens = one_token ? 1 : tokens,
                     .out = out.data() + t * rows + row,
                     .out_stride = rows,
                     .parted = &weights,
                     .first_row = row});
    }
  }
  return out;
}

TEST_P(Parted, ProductsAreThoseOfTheValuesInEveryBatch) {
  constexpr int64_t kTokens = 29;
  const Sample made = sample();
  const Guarded guarded(made);
  const std::vector<float> w = values(made);
  const int64_t rows = made.layout.rows, columns = made.layout.columns;
  for (const CpuTarget* target : targets()) {
    const QuantType& type = *find_quant_type(GetParam().type, target->name);
    const Inputs x = inputs(type.activations, kTokens, columns);
    const std::vector<float> all = product(type, guarded.weights(), x, kTokens, rows, false);
    for (int64_t t = 0; t < kTokens; ++t) {
      for (int64_t row = 0; row < rows; ++row) {
        double expected = 0, magnitude = 0;
        for (int64_t i = 0; i < columns; ++i) {
          const double term = double{w[static_cast<size_t>(row * columns + i)]} *
                              double{x.values[static_cast<size_t>(t * columns + i)]};
          expected += term;
          magnitude += std::fabs(term);
        }
        ASSERT_NEAR(all[static_cast<size_t>(t * rows + row)], expected, 1e-6 + magnitude * 1e-5)
            << target->name << ", row " << row << ", token " << t;
      }
    }
    // Tiles of the backend begin at multiples of 16.
    EXPECT_TRUE(product(type, guarded.weights(), x, kTokens, 16, true) == all) << target->name;
    EXPECT_TRUE(product(type, guarded.weights(), x, kTokens, 32, false) == all) << target->name;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Parted, testing::ValuesIn(kForms), [](const auto& info) {
  return std::string(info.param.type) + "_" + std::to_string(info.index);
});

TEST(PartedTypes, AllAreTested) {
  std::set<std::string_view> tested;
  for (const Form& form : kForms) tested.insert(form.type);
  for (const QuantType* type : parted_types()) {
    EXPECT_TRUE(tested.contains(type->name)) << type->name;
    EXPECT_EQ(find_quant_type(type->name), type);
    EXPECT_EQ(type->gguf_id, -1);
    EXPECT_FALSE(type->summary.empty());
  }
  EXPECT_TRUE(parted_types("avx9000").empty());
}

}  // namespace
}  // namespace moxie
