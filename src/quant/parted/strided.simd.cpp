// Plain floats in an order that is not row after row: part 0 holds matrices of `group_rows` rows one after another; in
// each of them number row_begin + row * row_step + column * column_step is that of a row and a column. So lie matrices
// that are stored transposed, also two of them in turn.
#include "quant/parted_float.h"
#include "quant/parted_numbers.h"

namespace moxie::MOXIE_TARGET {
namespace {

template <ScaleFormat kFormat>
MOXIE_INLINE const std::byte* number_at(const PartedWeights& from, int64_t row, int64_t column) {
  const PartedLayout& layout = from.layout;
  const int64_t matrix = row / layout.group_rows, within = row % layout.group_rows;
  const int64_t number =
      (matrix * layout.columns + column) * layout.column_step + layout.row_begin + within * layout.row_step;
  return from.part[0] + number * scale_bytes(kFormat);
}

template <ScaleFormat kFormat>
void decode(const PartedWeights& from, int64_t row, int64_t column, int64_t count, float* to) {
  const std::byte* number = number_at<kFormat>(from, row, column);
  const int64_t step = from.layout.column_step * scale_bytes(kFormat);
  for (int64_t i = 0; i < count; ++i, number += step) to[i] = read_number(kFormat, number, 0);
}

// One number each of `count` rows that follow one another, at most kLanes.
template <ScaleFormat kFormat>
MOXIE_INLINE FloatVec load_rows(const std::byte* from, int64_t row_step, bool odd, int count) {
  if (row_step == 1) return load_numbers<kFormat>(from, 0, count);
  if constexpr (kFormat == ScaleFormat::bf16) {
    // Two numbers are one word, of which all but the last 16 bits are float.
    if (row_step == 2 && count == kLanes) {
      IntVec words;
      std::memcpy(&words, odd ? from - 2 : from, sizeof words);
      return (FloatVec)(odd ? words & splat_int(static_cast<int32_t>(0xffff0000u)) : words << 16);
    }
  }
  float lanes[kLanes] = {};
  for (int r = 0; r < count; ++r) lanes[r] = read_number(kFormat, from, r * row_step);
  return load(lanes);
}

// kVectors * kLanes rows (one vector: `count` rows) times kTokens tokens. Sums go from the first column to the last.
template <ScaleFormat kFormat, int kVectors, int kTokens>
void multiply_tile(const MultiplyArgs& args, int64_t row, int64_t token, int count = kLanes) {
  const PartedLayout& layout = args.parted->layout;
  const std::byte* number = number_at<kFormat>(*args.parted, args.first_row + row, 0);
  const int64_t column_bytes = layout.column_step * scale_bytes(kFormat);
  const int64_t vector_bytes = kLanes * layout.row_step * scale_bytes(kFormat);
  const bool odd = layout.row_begin % 2 != 0;
  const float* x[kTokens];
  FloatVec sums[kTokens][kVectors] = {};
  for (int t = 0; t < kTokens; ++t) {
    x[t] =
        reinterpret_cast<const float*>(args.activations + static_cast<size_t>(token + t) * args.activation_row_bytes);
  }
  for (int64_t column = 0; column < args.columns; ++column, number += column_bytes) {
    FloatVec weights[kVectors];
    for (int v = 0; v < kVectors; ++v)
      weights[v] = load_rows<kFormat>(number + v * vector_bytes, layout.row_step, odd, count);
    for (int t = 0; t < kTokens; ++t) {
      const FloatVec value = splat(x[t][column]);
      for (int v = 0; v < kVectors; ++v) sums[t][v] = fma(weights[v], value, sums[t][v]);
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    float* out = args.out + (token + t) * args.out_stride + row;
    for (int v = 0; v < kVectors; ++v) {
      if (count == kLanes) {
        store(out + v * kLanes, sums[t][v]);
      } else {
        store_part(out + v * kLanes, sums[t][v], count);
      }
    }
  }
}

template <ScaleFormat kFormat, int kVectors>
void multiply_tokens(const MultiplyArgs& args, int64_t row, int count = kLanes) {
  constexpr int kTokens = 4;
  int64_t token = 0;
  for (; token + kTokens <= args.tokens; token += kTokens)
    multiply_tile<kFormat, kVectors, kTokens>(args, row, token, count);
  for (; token < args.tokens; ++token) multiply_tile<kFormat, kVectors, 1>(args, row, token, count);
}

template <ScaleFormat kFormat>
void multiply_strided(const MultiplyArgs& args) {
  constexpr int kVectors = kLanes == 16 ? 4 : 2;
  const int64_t matrix_rows = args.parted->layout.group_rows;
  for (int64_t row = 0; row < args.rows;) {
    const int64_t to_end = matrix_rows - (args.first_row + row) % matrix_rows;
    const int64_t left = args.rows - row < to_end ? args.rows - row : to_end;
    if (left >= kVectors * kLanes) {
      multiply_tokens<kFormat, kVectors>(args, row);
      row += kVectors * kLanes;
    } else {
      const int count = static_cast<int>(left < kLanes ? left : kLanes);
      multiply_tokens<kFormat, 1>(args, row, count);
      row += count;
    }
  }
}

template <ScaleFormat kFormat>
constexpr QuantType make_strided_type(const PartedFacts& facts) {
  QuantType type = make_decoded_type<decode<kFormat>>(facts);
  type.multiply = multiply_strided<kFormat>;
  type.native = true;
  return type;
}

}  // namespace

extern constinit const QuantType strided_bf16 = make_strided_type<ScaleFormat::bf16>(
    {.name = "strided_bf16", .summary = "bfloat16, stored transposed", .twin = "bf16"});
extern constinit const QuantType strided_f16 = make_strided_type<ScaleFormat::f16>(
    {.name = "strided_f16", .summary = "half precision, stored transposed", .twin = "f16"});
extern constinit const QuantType strided_f32 = make_strided_type<ScaleFormat::f32>(
    {.name = "strided_f32", .summary = "single precision, stored transposed", .twin = "f32"});

}  // namespace moxie::MOXIE_TARGET
