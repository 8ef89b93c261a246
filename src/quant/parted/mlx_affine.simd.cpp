// MLX affine: part 0 the integers, each row one stream of bits; part 1 a scale, part 2 a bias for every group of
// columns. value = scale * integer + bias; scales may be negative. 4 and 8 bits have products of their own.
#include "quant/parted_float.h"
#include "quant/parted_rows.h"

namespace moxie::MOXIE_TARGET {
namespace {

// `count` values from a row that begins at `from`, in packs of kPack values that fill whole bytes.
template <int kBits>
void unpack_bits(const std::byte* from, int64_t first, int64_t count, float scale, float bias, float* to) {
  constexpr int kPack = kBits == 6 ? 4 : kBits == 3 || kBits == 5 ? 8 : 8 / kBits;
  constexpr int kBytes = kPack * kBits / 8;
  from += first * kBits / 8;
  for (int64_t i = 0; i < count; i += kPack, from += kBytes) {
    uint64_t bits = 0;
    std::memcpy(&bits, from, kBytes);
    for (int j = 0; j < kPack; ++j) {
      to[i + j] = scale * static_cast<float>((bits >> (j * kBits)) & ((1u << kBits) - 1)) + bias;
    }
  }
}

// REQUIRES: groups are whole packs (multiples of 8), and so are column and count.
void decode(const PartedWeights& from, int64_t row, int64_t column, int64_t count, float* to) {
  const PartedLayout& layout = from.layout;
  const int64_t groups = layout.columns / layout.group;
  const std::byte* bits = from.part[0] + row * (layout.columns * layout.bits / 8);
  const int64_t end = column + count;
  for (int64_t at = column; at < end;) {
    const int64_t group = at / layout.group, group_end = (group + 1) * layout.group;
    const int64_t n = (group_end < end ? group_end : end) - at;
    const float scale = read_number(layout.scales, from.part[1], row * groups + group);
    const float bias = read_number(layout.scales, from.part[2], row * groups + group);
    switch (layout.bits) {
      case 2:
        unpack_bits<2>(bits, at, n, scale, bias, to);
        break;
      case 3:
        unpack_bits<3>(bits, at, n, scale, bias, to);
        break;
      case 4:
        unpack_bits<4>(bits, at, n, scale, bias, to);
        break;
      case 5:
        unpack_bits<5>(bits, at, n, scale, bias, to);
        break;
      case 6:
        unpack_bits<6>(bits, at, n, scale, bias, to);
        break;
      default:
        unpack_bits<8>(bits, at, n, scale, bias, to);
        break;
    }
    at += n;
    to += n;
  }
}

// Integers that stand kShift too low have it given back by the minimum.
template <ScaleFormat kFormat, int kShift>
struct AffineGroups {
  LaneNumbers<kFormat, 1> scales;
  LaneNumbers<kFormat, 2> biases;
  void begin(const PartedWeights& weights, const int64_t (&rows)[kLanes]) {
    scales.begin(weights, rows);
    biases.begin(weights, rows);
  }
  MOXIE_INLINE void load(int64_t group, FloatVec& scale, FloatVec& minimum) const {
    scale = scales.at(group);
    minimum = biases.at(group);
    if constexpr (kShift != 0) minimum = minimum + scale * static_cast<float>(kShift);
  }
};

template <ScaleFormat kFormat>
struct FourBits {
  using Block = SequentialNibbles;
  using Groups = AffineGroups<kFormat, 0>;
  static constexpr bool kSigned = false, kMinimum = true;
  static constexpr int kLargest = 15, kOffset = 0;
  MOXIE_INLINE static Bytes64 unpack(const Block& a, const Block& b) { return load_sequential_nibbles(a, b); }
};

struct [[gnu::packed]] WholeBytes {
  uint8_t bytes[32];
};
// As signed numbers, so that targets without products of unsigned bytes can take them.
template <ScaleFormat kFormat>
struct EightBits {
  using Block = WholeBytes;
  using Groups = AffineGroups<kFormat, 128>;
  static constexpr bool kSigned = true, kMinimum = true;
  static constexpr int kLargest = 128, kOffset = 0;
  MOXIE_INLINE static Bytes64 unpack(const Block& a, const Block& b) {
    Bytes64 bytes = load_32_32(a.bytes, b.bytes);
    for (ByteVec& part : bytes.part) part ^= 0x80;
    return bytes;
  }
};

template <template <ScaleFormat> typename Type>
void multiply(const MultiplyArgs& args) {
  switch (args.parted->layout.scales) {
    case ScaleFormat::f16:
      return multiply_parted_rows<Type<ScaleFormat::f16>>(args);
    case ScaleFormat::bf16:
      return multiply_parted_rows<Type<ScaleFormat::bf16>>(args);
    default:
      return multiply_parted_rows<Type<ScaleFormat::f32>>(args);
  }
}

}  // namespace

extern constinit const QuantType mlx4 =
    make_parted_type<decode, multiply<FourBits>>({.name = "mlx4", .summary = "MLX 4 bits in groups of whole 32s"});
extern constinit const QuantType mlx8 =
    make_parted_type<decode, multiply<EightBits>>({.name = "mlx8", .summary = "MLX 8 bits in groups of whole 32s"});
extern constinit const QuantType mlx_affine =
    make_decoded_type<decode>({.name = "mlx_affine", .summary = "MLX of any other width or group"});

}  // namespace moxie::MOXIE_TARGET
