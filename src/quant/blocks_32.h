// Blocks of 32 small integers as bytes of vectors: unpacked, multiplied, summed and transposed. For multiply_32.h,
// which says what a type gives, and its like; internal to the including *.simd.cpp file. Pure functions; exact.
#pragma once

#include "core/simd.h"
#include "quant/byte_products.h"
#include "quant/rows.h"

namespace moxie::MOXIE_TARGET {
namespace {

// ---- 64 bytes, the integers of two blocks ----

typedef uint8_t ByteVec __attribute__((vector_size(4 * kLanes), may_alias));
constexpr int kParts = 16 / kLanes;
struct Bytes64 {
  ByteVec part[kParts];
};

// 32 bytes from each address.
MOXIE_INLINE Bytes64 load_32_32(const void* a, const void* b) {
#if defined(__AVX512F__)
  const __m512i low = _mm512_castsi256_si512(_mm256_loadu_si256(static_cast<const __m256i*>(a)));
  return {(ByteVec)_mm512_inserti64x4(low, _mm256_loadu_si256(static_cast<const __m256i*>(b)), 1)};
#else
  Bytes64 bytes;
  std::memcpy(&bytes.part[0], a, 32);
  std::memcpy(&bytes.part[kParts / 2], b, 32);
  return bytes;
#endif
}

// The low nibbles of 16 bytes at a, their high nibbles, then the same of b.
MOXIE_INLINE Bytes64 load_nibbles(const void* a, const void* b) {
#if defined(__AVX512F__)
  const __m512i twice_a = _mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i*>(a)));
  const __m512i raw = _mm512_mask_broadcast_i32x4(twice_a, 0xff00, _mm_loadu_si128(static_cast<const __m128i*>(b)));
  return {(ByteVec)_mm512_srlv_epi64(raw, _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4)) & 15};
#elif defined(__AVX2__)
  const __m256i shifts = _mm256_setr_epi64x(0, 0, 4, 4);
  const __m256i raw_a = _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(a)));
  const __m256i raw_b = _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(b)));
  return {(ByteVec)_mm256_srlv_epi64(raw_a, shifts) & 15, (ByteVec)_mm256_srlv_epi64(raw_b, shifts) & 15};
#else
  ByteVec raw_a, raw_b;
  std::memcpy(&raw_a, a, 16);
  std::memcpy(&raw_b, b, 16);
  return {raw_a & 15, raw_a >> 4, raw_b & 15, raw_b >> 4};
#endif
}

// Byte i is `value` where bit i is set (bits 0-31 of a, then of b), else zero.
MOXIE_INLINE Bytes64 spread_bits(uint32_t a, uint32_t b, uint8_t value) {
#if defined(__AVX512F__)
  return {(ByteVec)_mm512_maskz_set1_epi8(a | static_cast<uint64_t>(b) << 32, static_cast<char>(value))};
#elif defined(__AVX2__)
  const __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit_of = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
  auto spread = [&](uint32_t bits) {
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(bits)), byte_of);
    const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit_of), bit_of);
    return (ByteVec)_mm256_and_si256(set, _mm256_set1_epi8(static_cast<char>(value)));
  };
  return {spread(a), spread(b)};
#elif defined(__SSSE3__)
  const __m128i bit_of = _mm_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
  const __m128i all = _mm_set1_epi8(static_cast<char>(value));
  auto spread = [&](uint32_t bits, int first_byte) {
    const __m128i byte_of = _mm_set_epi64x(0x0101010101010101 * (first_byte + 1), 0x0101010101010101 * first_byte);
    const __m128i bytes = _mm_shuffle_epi8(_mm_cvtsi32_si128(static_cast<int>(bits)), byte_of);
    return (ByteVec)_mm_and_si128(_mm_cmpeq_epi8(_mm_and_si128(bytes, bit_of), bit_of), all);
  };
  return {spread(a, 0), spread(a, 2), spread(b, 0), spread(b, 2)};
#else
  Bytes64 bytes;
  for (int i = 0; i < 64; ++i) {
    bytes.part[i / 16][i % 16] = (((i < 32 ? a : b) >> (i % 32)) & 1) != 0 ? value : 0;
  }
  return bytes;
#endif
}

// Dword i of the values of many rows: 16 where bit 4i + k of the row's lane is set, for byte k, else zero.
MOXIE_INLINE Bytes fifth_bits(IntVec bits, int i) {
  const auto four = (__attribute__((vector_size(kLanes * 4))) uint32_t) bits >> (4 * i) & 15;
  return (Bytes)((four << 4 | four << 11 | four << 18 | four << 25) & 0x10101010);
}

MOXIE_INLINE Bytes64 operator|(Bytes64 a, Bytes64 b) {
  for (int i = 0; i < kParts; ++i) a.part[i] |= b.part[i];
  return a;
}

// ---- exact products ----

// With VNNI, signed bytes become unsigned ones that are 128 too large; without, signs go over to the activations.
constexpr bool kHaveVnni = MOXIE_VNNI;

template <typename Type>
constexpr int kProductOffset = Type::kSigned&& kHaveVnni ? 128 : Type::kOffset;

template <typename Type>
MOXIE_INLINE Bytes64 unpack_for_product(const typename Type::Block& a, const typename Type::Block& b) {
  Bytes64 w = Type::unpack(a, b);
  if constexpr (Type::kSigned && kHaveVnni) {
    for (ByteVec& part : w.part) part ^= 0x80;
  }
  return w;
}

#if defined(__SSSE3__) && !MOXIE_VNNI
typedef int16_t ShortVec __attribute__((vector_size(4 * kLanes), may_alias));

// Lane i: w[2i] * x[2i] + w[2i + 1] * x[2i + 1]; w is signed or not, x is signed. REQUIRES: unsigned bytes of w are at
// most 127.
template <bool kSigned>
MOXIE_INLINE ShortVec multiply_pairs(ByteVec w, ByteVec x) {
#if defined(__AVX2__)
  if constexpr (kSigned) {
    x = (ByteVec)_mm256_sign_epi8((__m256i)x, (__m256i)w);
    w = (ByteVec)_mm256_abs_epi8((__m256i)w);
  }
  return (ShortVec)_mm256_maddubs_epi16((__m256i)w, (__m256i)x);
#else
  if constexpr (kSigned) {
    x = (ByteVec)_mm_sign_epi8((__m128i)x, (__m128i)w);
    w = (ByteVec)_mm_abs_epi8((__m128i)w);
  }
  return (ShortVec)_mm_maddubs_epi16((__m128i)w, (__m128i)x);
#endif
}

// Lane i: pairs[2i] + pairs[2i + 1].
MOXIE_INLINE IntVec add_neighbours(ShortVec pairs) {
#if defined(__AVX2__)
  return (IntVec)_mm256_madd_epi16((__m256i)pairs, _mm256_set1_epi16(1));
#else
  return (IntVec)_mm_madd_epi16((__m128i)pairs, _mm_set1_epi16(1));
#endif
}
#endif

// Lane i: sum over j < 4 of w[4i + j] * x[4i + j]; w is signed or not, x is signed.
template <bool kSigned>
MOXIE_INLINE IntVec multiply_bytes(ByteVec w, ByteVec x) {
#if MOXIE_VNNI
  return add_byte_products(IntVec{}, (IntVec)w, (IntVec)x);
#elif defined(__SSSE3__)
  return add_neighbours(multiply_pairs<kSigned>(w, x));
#else
  IntVec sums = {};
  for (int i = 0; i < 4 * kLanes; ++i) {
    const int weight = kSigned ? static_cast<int8_t>(w[i]) : w[i];
    sums[i / 4] += weight * static_cast<int8_t>(x[i]);
  }
  return sums;
#endif
}

struct IntPair {
  IntVec a;  // lane r: row r's sum over the first block
  IntVec b;  // over the second
};
struct IntParts {
  IntVec part[kParts];
};

// Sums the lanes of each block of each row.
MOXIE_INLINE IntPair sum_rows(const IntParts (&rows)[kLanes]) {
#if defined(__AVX512F__)
  __m512i four[4];  // four rows each: quarters 0 and 1 hold the first block's sums, 2 and 3 the second's
  for (int i = 0; i < 4; ++i) {
    const __m512i r0 = (__m512i)rows[4 * i].part[0], r1 = (__m512i)rows[4 * i + 1].part[0];
    const __m512i r2 = (__m512i)rows[4 * i + 2].part[0], r3 = (__m512i)rows[4 * i + 3].part[0];
    const __m512i r01 = _mm512_add_epi32(_mm512_unpacklo_epi32(r0, r1), _mm512_unpackhi_epi32(r0, r1));
    const __m512i r23 = _mm512_add_epi32(_mm512_unpacklo_epi32(r2, r3), _mm512_unpackhi_epi32(r2, r3));
    four[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(r01, r23), _mm512_unpackhi_epi64(r01, r23));
  }
  auto halve = [](__m512i u, __m512i v) {  // rows of u then of v: first block, second block, first, second
    return _mm512_add_epi32(_mm512_shuffle_i32x4(u, v, 0x88), _mm512_shuffle_i32x4(u, v, 0xdd));
  };
  const __m512i low = halve(four[0], four[1]), high = halve(four[2], four[3]);
  return {(IntVec)_mm512_shuffle_i32x4(low, high, 0x88), (IntVec)_mm512_shuffle_i32x4(low, high, 0xdd)};
#elif defined(__AVX2__)
  auto sum = [&](int part) {
    __m256i four[2];  // rows 4i to 4i + 3, two partial sums each
    for (int i = 0; i < 2; ++i) {
      const __m256i r0 = (__m256i)rows[4 * i].part[part], r1 = (__m256i)rows[4 * i + 1].part[part];
      const __m256i r2 = (__m256i)rows[4 * i + 2].part[part], r3 = (__m256i)rows[4 * i + 3].part[part];
      const __m256i r01 = _mm256_add_epi32(_mm256_unpacklo_epi32(r0, r1), _mm256_unpackhi_epi32(r0, r1));
      const __m256i r23 = _mm256_add_epi32(_mm256_unpacklo_epi32(r2, r3), _mm256_unpackhi_epi32(r2, r3));
      four[i] = _mm256_add_epi32(_mm256_unpacklo_epi64(r01, r23), _mm256_unpackhi_epi64(r01, r23));
    }
    return (IntVec)_mm256_add_epi32(_mm256_permute2x128_si256(four[0], four[1], 0x20),
                                    _mm256_permute2x128_si256(four[0], four[1], 0x31));
  };
  return {sum(0), sum(1)};
#else
  IntVec a[4], b[4];
  for (int r = 0; r < 4; ++r) {
    a[r] = rows[r].part[0] + rows[r].part[1];
    b[r] = rows[r].part[2] + rows[r].part[3];
  }
  auto sum = [](const IntVec(&v)[4]) {
    const IntVec v01 =
        __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5) + __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
    const IntVec v23 =
        __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5) + __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
    return __builtin_shufflevector(v01, v23, 0, 1, 4, 5) + __builtin_shufflevector(v01, v23, 2, 3, 6, 7);
  };
  return {sum(a), sum(b)};
#endif
}

// ---- kLanes rows of weights at a time ----

template <typename Type>
MOXIE_INLINE const typename Type::Block& block_of(const RowGroup& rows, int r, int64_t index) {
  return reinterpret_cast<const typename Type::Block*>(rows.row(r))[index];
}
// Half-precision numbers at byte `at` of each row's block.
template <typename Type>
MOXIE_INLINE FloatVec load_halves(const RowGroup& rows, int64_t index, size_t at) {
  uint16_t lanes[kLanes];
  for (int r = 0; r < kLanes; ++r) {
    lanes[r] = load_u16(reinterpret_cast<const std::byte*>(&block_of<Type>(rows, r, index)) + at);
  }
  return load_f16(lanes);
}
template <typename Type>
MOXIE_INLINE FloatVec load_scales(const RowGroup& rows, int64_t index) {
  if constexpr (requires { Type::kScaleAt; }) {
    return load_halves<Type>(rows, index, Type::kScaleAt);
  } else {
    float lanes[kLanes];
    for (int r = 0; r < kLanes; ++r) lanes[r] = Type::scale(block_of<Type>(rows, r, index));
    return load(lanes);
  }
}

template <typename Type>
MOXIE_INLINE FloatVec load_halves(const InterleavedRows<Type>& rows, int64_t index, size_t at) {
  return rows.halves(index, at);
}
template <typename Type>
MOXIE_INLINE FloatVec load_scales(const InterleavedRows<Type>& rows, int64_t index) {
  return rows.halves(index, Type::kScaleAt);
}

// to[i] lane r = bytes 4i to 4i + 3 of row r.
MOXIE_INLINE void transpose(const Bytes64 (&rows)[kLanes], IntVec* to) {
  for (int part = 0; part < kParts; ++part) {
    IntVec parts[kLanes];
    for (int r = 0; r < kLanes; ++r) parts[r] = (IntVec)rows[r].part[part];
    transpose(parts, to + part * kLanes);
  }
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET
