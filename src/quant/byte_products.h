// Vectors of small integers for the products of block types: unpacking bit planes to bytes, products of bytes with
// sub-block scales, sums over lanes. For *.simd.cpp files only; internal to the including file (see core/simd.h). Pure
// functions. All of it is exact: callers keep within the ranges stated.
#pragma once

#include <concepts>

#include "core/simd.h"
#include "quant/interleaved_rows.h"

namespace moxie::MOXIE_TARGET {
namespace {

constexpr int kByteLanes = 4 * kLanes;  // 64, 32 or 16: a "piece" of a block
typedef uint8_t Bytes __attribute__((vector_size(kByteLanes), may_alias));
typedef int8_t SignedBytes __attribute__((vector_size(kByteLanes), may_alias));
typedef uint16_t Words __attribute__((vector_size(kByteLanes), may_alias));
typedef int16_t Shorts __attribute__((vector_size(kByteLanes), may_alias));
typedef uint8_t Bytes16 __attribute__((vector_size(16), may_alias));
typedef int32_t Int4 __attribute__((vector_size(16), may_alias));

MOXIE_INLINE uint32_t load_u32(const void* from) {
  uint32_t x;
  std::memcpy(&x, from, sizeof x);
  return x;
}
MOXIE_INLINE uint64_t load_u64(const void* from) {
  uint64_t x;
  std::memcpy(&x, from, sizeof x);
  return x;
}
MOXIE_INLINE Bytes load_bytes(const void* from) {
  Bytes v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define MOXIE_VNNI 1
// Lane i: sums[i] + the products of bytes 4i to 4i + 3, unsigned ones of w and signed ones of x.
MOXIE_INLINE IntVec add_byte_products(IntVec sums, IntVec w, IntVec x) {
#if defined(__AVX512VNNI__)
  return (IntVec)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)w, (__m512i)x);
#else
  return (IntVec)_mm256_dpbusd_avx_epi32((__m256i)sums, (__m256i)w, (__m256i)x);
#endif
}
// Lane i: sums[i] + the products of its two signed words.
MOXIE_INLINE IntVec add_word_products(IntVec sums, IntVec a, IntVec b) {
#if defined(__AVX512VNNI__)
  return (IntVec)_mm512_dpwssd_epi32((__m512i)sums, (__m512i)a, (__m512i)b);
#else
  return (IntVec)_mm256_dpwssd_avx_epi32((__m256i)sums, (__m256i)a, (__m256i)b);
#endif
}
#else
#define MOXIE_VNNI 0
#endif

// total + pairs of 16-bit products, lane by lane of 32 bits.
MOXIE_INLINE IntVec add_pairs(IntVec total, IntVec a, IntVec b) {
#if MOXIE_VNNI
  return add_word_products(total, a, b);
#elif defined(__SSSE3__)
#if defined(__AVX2__)
  total += (IntVec)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
  total += (IntVec)_mm_madd_epi16((__m128i)a, (__m128i)b);
#endif
  keep_here(total);
  return total;
#else
  for (int i = 0; i < 2 * kLanes; ++i) total[i / 2] += ((Shorts)a)[i] * ((Shorts)b)[i];
  return total;
#endif
}

// The bytes of piece `piece` (values kByteLanes * piece and on) out of groups of kGroup bytes, each byte holding 8 /
// kBits values that lie kGroup apart. A value's bits land at bit kTo, the other bits are zero. REQUIRES: kTo == 0 where
// kGroup is 16.
template <int kGroup, int kBits, int kTo = 0>
MOXIE_INLINE Bytes planes(const uint8_t* from, int piece) {
  constexpr int kGroupValues = kGroup * 8 / kBits;
  constexpr uint8_t kMask = ((1 << kBits) - 1) << kTo;
  const int first = kByteLanes * piece;
  from += first / kGroupValues * kGroup;
  const int plane = first % kGroupValues / kGroup;
  if constexpr (kGroup >= kByteLanes) {
    const Words raw = (Words)load_bytes(from + first % kGroup);
    const int right = kBits * plane - kTo;
    return (Bytes)(right >= 0 ? raw >> right : raw << -right) & kMask;
  } else {
#if defined(__AVX512F__)
    // Rotation serves shifts in both directions: what comes in from the neighbour is masked away.
    const int a = (kBits * plane - kTo) & 63, b = (kBits * (plane + 1) - kTo) & 63;
    __m512i raw, right;
    if constexpr (kGroup == 32) {
      raw = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
      right = _mm512_setr_epi64(a, a, a, a, b, b, b, b);
    } else {
      static_assert(kGroup == 16 && kBits == 4 && kTo == 0);
      raw = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
      raw = _mm512_shuffle_i64x2(raw, raw, 0x50);
      right = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
    }
    return (Bytes)_mm512_rorv_epi64(raw, right) & kMask;
#elif defined(__AVX2__)
    static_assert(kGroup == 16 && kBits == 4 && kTo == 0);
    const __m256i raw = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    return (Bytes)_mm256_srlv_epi64(raw, _mm256_setr_epi64x(0, 0, 4, 4)) & kMask;
#endif
  }
}

#if defined(__GFNI__) && defined(__AVX512F__)
// Bits [to, to + bits) of bytes from bits [from, from + bits) of others, as a matrix for multiply_bits: byte 7 - i
// chooses what bit i is the parity of.
constexpr uint64_t move_bits(int from, int to, int bits) {
  constexpr uint64_t kIdentity = 0x0102040810204080;
  const uint64_t moved = from >= to ? kIdentity << 8 * (from - to) : kIdentity >> 8 * (to - from);
  return moved & ~uint64_t{0} >> (64 - 8 * bits) << 8 * (8 - to - bits);
}
MOXIE_INLINE Bytes multiply_bits(Bytes bytes, uint64_t matrix) {
  return (Bytes)_mm512_gf2p8affine_epi64_epi8((__m512i)bytes, _mm512_set1_epi64(static_cast<int64_t>(matrix)), 0);
}
#endif

// The same where lane r of raw[j] holds dword j of row r's bytes: dword i of the values of each row.
template <class Words>
concept RowWords = !std::same_as<Words, const uint8_t*>;
template <int kGroup, int kBits, int kTo = 0>
MOXIE_INLINE Bytes planes(RowWords auto raw, int i) {
  constexpr int kGroupDwords = kGroup / 4, kGroupValues = kGroupDwords * 8 / kBits;
  constexpr uint8_t kMask = ((1 << kBits) - 1) << kTo;
  const Words dword = (Words)raw[i / kGroupValues * kGroupDwords + i % kGroupDwords];
  const int from = kBits * (i % kGroupValues / kGroupDwords), right = from - kTo;
#if defined(__GFNI__) && defined(__AVX512F__)
  if (right != 0) return multiply_bits((Bytes)dword, move_bits(from, kTo, kBits));
#endif
  return (Bytes)(right >= 0 ? dword >> right : dword << -right) & kMask;
}
// What lies kBytes further on, for either kind of source.
template <int kBytes>
MOXIE_INLINE const uint8_t* after(const uint8_t* raw) {
  return raw + kBytes;
}
template <int kBytes>
MOXIE_INLINE auto after(RowWords auto raw) {
  return raw + kBytes / 4;
}

// Quants of which planes of four bits in `low` hold the low bits and planes in `high` those above.
template <int kLowGroup, int kHighGroup, int kHighBits, class Raw>
MOXIE_INLINE Bytes joined_planes(Raw low, Raw high, int i) {
#if defined(__GFNI__) && defined(__AVX512F__)
  if constexpr (RowWords<Raw>) {
    // Both go into one byte, each where it is if the other is not there; then one product puts them in order.
    constexpr int kLow = kLowGroup / 4, kHigh = kHighGroup / 4, kHighValues = kHigh * 8 / kHighBits;
    const int low_from = 4 * (i % (2 * kLow) / kLow);
    int high_from = kHighBits * (i % kHighValues / kHigh);
    const __m512i low_bits = (__m512i)low[i / (2 * kLow) * kLow + i % kLow];
    __m512i high_bits = (__m512i)high[i / kHighValues * kHigh + i % kHigh];
    if (high_from / 4 == low_from / 4) {
      high_bits = (__m512i)multiply_bits((Bytes)high_bits, move_bits(0, 4, 4) | move_bits(4, 0, 4));
      high_from ^= 4;
    }
    constexpr int kChoose = 0xca;  // mask ? low : high, bit by bit
    const Bytes both = (Bytes)_mm512_ternarylogic_epi32(_mm512_set1_epi8(static_cast<char>(0x0f << low_from)), low_bits,
                                                        high_bits, kChoose);
    if (low_from == 0 && high_from == 4) return both & static_cast<uint8_t>((1 << (4 + kHighBits)) - 1);
    return multiply_bits(both, move_bits(low_from, 0, 4) | move_bits(high_from, 4, kHighBits));
  }
#endif
  return planes<kLowGroup, 4>(low, i) | planes<kHighGroup, kHighBits, 4>(high, i);
}

// table[b] for every byte b < 16 of `indices`.
MOXIE_INLINE SignedBytes look_up(const int8_t table[16], Bytes indices) {
#if defined(__AVX512F__)
  const __m128i t = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return (SignedBytes)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), (__m512i)indices);
#elif defined(__AVX2__)
  const __m128i t = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return (SignedBytes)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), (__m256i)indices);
#elif defined(__SSSE3__)
  const __m128i t = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return (SignedBytes)_mm_shuffle_epi8(t, (__m128i)indices);
#else
  SignedBytes v;
  for (int i = 0; i < kByteLanes; ++i) v[i] = table[indices[i]];
  return v;
#endif
}

// sum[i] + scales[2i] * (q[4i] x[4i] + q[4i+1] x[4i+1]) + scales[2i+1] * (q[4i+2] x[4i+2] + q[4i+3] x[4i+3]).
// REQUIRES: |q[2j] x[2j] + q[2j+1] x[2j+1]| < 2^15.
MOXIE_INLINE IntVec add_products(IntVec sum, Bytes q, SignedBytes x, Shorts scales) {
#if defined(__AVX512VNNI__)
  return add_word_products(sum, (IntVec)_mm512_maddubs_epi16((__m512i)q, (__m512i)x), (IntVec)scales);
#elif defined(__AVX2__)
  const __m256i pairs = _mm256_maddubs_epi16((__m256i)q, (__m256i)x);
#if MOXIE_VNNI
  return add_word_products(sum, (IntVec)pairs, (IntVec)scales);
#else
  return sum + (IntVec)_mm256_madd_epi16(pairs, (__m256i)scales);
#endif
#elif defined(__SSSE3__)
  const __m128i pairs = _mm_maddubs_epi16((__m128i)q, (__m128i)x);
  return sum + (IntVec)_mm_madd_epi16(pairs, (__m128i)scales);
#else
  for (int i = 0; i < kByteLanes; ++i) sum[i / 4] += scales[i / 2] * q[i] * x[i];
  return sum;
#endif
}

// The same for signed weights. REQUIRES: no w and no x is -128.
MOXIE_INLINE IntVec add_products(IntVec sum, SignedBytes w, SignedBytes x, Shorts scales) {
#if defined(__AVX512VNNI__)
  const __mmask64 negative = _mm512_movepi8_mask((__m512i)w);
  const __m512i signed_x = _mm512_mask_sub_epi8((__m512i)x, negative, _mm512_setzero_si512(), (__m512i)x);
  return add_products(sum, (Bytes)_mm512_abs_epi8((__m512i)w), (SignedBytes)signed_x, scales);
#elif defined(__AVX2__)
  const __m256i signed_x = _mm256_sign_epi8((__m256i)x, (__m256i)w);
  return add_products(sum, (Bytes)_mm256_abs_epi8((__m256i)w), (SignedBytes)signed_x, scales);
#elif defined(__SSSE3__)
  const __m128i signed_x = _mm_sign_epi8((__m128i)x, (__m128i)w);
  return add_products(sum, (Bytes)_mm_abs_epi8((__m128i)w), (SignedBytes)signed_x, scales);
#else
  for (int i = 0; i < kByteLanes; ++i) sum[i / 4] += scales[i / 2] * w[i] * x[i];
  return sum;
#endif
}

// 16 numbers of 16 bits: one per sub-block of 16 values.
struct Shorts16 {
#if defined(__AVX2__)
  __m256i v;
#else
  int16_t v[16];
#endif
};

MOXIE_INLINE Shorts16 shorts_from_bytes(const int8_t from[16]) {
#if defined(__AVX2__)
  return {_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)))};
#else
  Shorts16 to;
  for (int i = 0; i < 16; ++i) to.v[i] = from[i];
  return to;
#endif
}
MOXIE_INLINE Shorts16 shorts_from_bytes(Bytes16 from) {
#if defined(__AVX2__)
  return {_mm256_cvtepu8_epi16((__m128i)from)};
#else
  Shorts16 to;
  for (int i = 0; i < 16; ++i) to.v[i] = from[i];
  return to;
#endif
}
// Bytes of `low` are numbers 0 to 7, of `high` 8 to 15; less `offset` each.
MOXIE_INLINE Shorts16 shorts_from_bytes(uint64_t low, uint64_t high, int offset = 0) {
#if defined(__AVX2__)
  const __m128i bytes = _mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(low));
  return {_mm256_sub_epi16(_mm256_cvtepu8_epi16(bytes), _mm256_set1_epi16(static_cast<int16_t>(offset)))};
#else
  Shorts16 to;
  for (int i = 0; i < 16; ++i) to.v[i] = static_cast<int16_t>((((i < 8 ? low : high) >> (8 * (i % 8))) & 255) - offset);
  return to;
#endif
}
// Each of the eight bytes twice: for types with sub-blocks of 32.
MOXIE_INLINE Shorts16 twice_each(uint64_t bytes) {
#if defined(__AVX2__)
  const __m256i index =
      _mm256_setr_epi64x(static_cast<int64_t>(0x8001800180008000), static_cast<int64_t>(0x8003800380028002),
                         static_cast<int64_t>(0x8005800580048004), static_cast<int64_t>(0x8007800780068006));
  return {_mm256_shuffle_epi8(_mm256_set1_epi64x(static_cast<int64_t>(bytes)), index)};
#else
  Shorts16 to;
  for (int i = 0; i < 16; ++i) to.v[i] = static_cast<int16_t>((bytes >> (8 * (i / 2))) & 255);
  return to;
#endif
}
MOXIE_INLINE Shorts16 plus(Shorts16 a, int term) {
#if defined(__AVX2__)
  return {_mm256_add_epi16(a.v, _mm256_set1_epi16(static_cast<int16_t>(term)))};
#else
  for (int16_t& x : a.v) x = static_cast<int16_t>(x + term);
  return a;
#endif
}
MOXIE_INLINE Shorts16 times(Shorts16 a, int factor) {
#if defined(__AVX2__)
  return {_mm256_mullo_epi16(a.v, _mm256_set1_epi16(static_cast<int16_t>(factor)))};
#else
  for (int16_t& x : a.v) x = static_cast<int16_t>(x * factor);
  return a;
#endif
}

// The activations' factors, a number for each 16 values.
struct Factors {
  Shorts16 of_16;
  MOXIE_INLINE explicit Factors(const int16_t from[16]) { std::memcpy(&of_16, from, sizeof of_16); }
};
MOXIE_INLINE Shorts16 times(Shorts16 a, Factors factors) {
#if defined(__AVX2__)
  return {_mm256_mullo_epi16(a.v, factors.of_16.v)};
#else
  for (int i = 0; i < 16; ++i) a.v[i] = static_cast<int16_t>(a.v[i] * factors.of_16.v[i]);
  return a;
#endif
}
// Of sixteen bytes. REQUIRES: all products are below 256.
MOXIE_INLINE Bytes16 times(Bytes16 a, Factors factors) {
#if defined(__AVX2__)
  // Both bytes of a word have the same factor.
  const __m256i of_16 = factors.of_16.v;
  const __m128i of_32 =
      _mm256_castsi256_si128(_mm256_permute4x64_epi64(_mm256_packus_epi32(_mm256_srli_epi32(of_16, 16), of_16), 0x08));
  return (Bytes16)_mm_mullo_epi16((__m128i)a, of_32);
#else
  for (int i = 0; i < 16; ++i) a[i] = static_cast<uint8_t>(a[i] * factors.of_16.v[i]);
  return a;
#endif
}

// What hands each sub-block's scale to the lanes of its values: piece(p) for the values of piece p.

// From sixteen unsigned bytes: sub-blocks of 16 values.
class ByteScales {
 public:
  ByteScales() = default;
#if defined(__AVX512F__)
  MOXIE_INLINE explicit ByteScales(Bytes16 bytes) : v_(_mm512_broadcast_i32x4((__m128i)bytes)) {}
  // A word of the result is a byte and a zero.
  MOXIE_INLINE Shorts piece(int piece) const {
    auto words = [&](int quarter) { return _mm_set1_epi16(static_cast<int16_t>(0x8000 | (4 * piece + quarter))); };
    const __m256i low = _mm256_set_m128i(words(1), words(0)), high = _mm256_set_m128i(words(3), words(2));
    return (Shorts)_mm512_shuffle_epi8(v_, _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
  }

 private:
  __m512i v_;
#elif defined(__AVX2__)
  MOXIE_INLINE explicit ByteScales(Bytes16 bytes) : v_(_mm256_broadcastsi128_si256((__m128i)bytes)) {}
  MOXIE_INLINE Shorts piece(int piece) const {
    auto words = [&](int half) { return _mm_set1_epi16(static_cast<int16_t>(0x8000 | (2 * piece + half))); };
    return (Shorts)_mm256_shuffle_epi8(v_, _mm256_set_m128i(words(1), words(0)));
  }

 private:
  __m256i v_;
#else
  MOXIE_INLINE explicit ByteScales(Bytes16 bytes) : bytes_(bytes) {}
  MOXIE_INLINE Shorts piece(int piece) const {
    return Shorts{} + bytes_[piece];
  }

 private:
  Bytes16 bytes_;
#endif
};

// Sixteen numbers: sub-blocks of 16 values.
class SixteenScales {
 public:
  SixteenScales() = default;
#if defined(__AVX512F__)
  MOXIE_INLINE explicit SixteenScales(Shorts16 scales) : v_(_mm512_castsi256_si512(scales.v)) {}
  MOXIE_INLINE Shorts piece(int piece) const {
    const __m512i first =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set_m128i(_mm_set1_epi16(1), _mm_setzero_si128())),
                           _mm256_set_m128i(_mm_set1_epi16(3), _mm_set1_epi16(2)), 1);
    return (Shorts)_mm512_permutexvar_epi16(_mm512_add_epi16(first, _mm512_set1_epi16(static_cast<int16_t>(4 * piece))),
                                            v_);
  }

 private:
  __m512i v_;
#elif defined(__AVX2__)
  // Even numbers in the lower half, odd ones in the upper: a piece of 32 values takes an even and the next odd one.
  MOXIE_INLINE explicit SixteenScales(Shorts16 scales) {
    const __m256i even_odd =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    v_ = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(scales.v, even_odd), 0xd8);
  }
  MOXIE_INLINE Shorts piece(int piece) const {
    return (Shorts)_mm256_shuffle_epi8(v_, _mm256_set1_epi16(static_cast<int16_t>(2 * piece + ((2 * piece + 1) << 8))));
  }

 private:
  __m256i v_;
#else
  MOXIE_INLINE explicit SixteenScales(Shorts16 scales) : v_(scales) {}
  MOXIE_INLINE Shorts piece(int piece) const {
    return Shorts{} + v_.v[piece];
  }

 private:
  Shorts16 v_;
#endif
};

// The exact sum over i of a.v[i] * b[i], still spread over the lanes of a vector.
#if defined(__AVX2__)
typedef int32_t PartialSums __attribute__((vector_size(32), may_alias));
#else
typedef int32_t PartialSums __attribute__((vector_size(16), may_alias));
#endif
MOXIE_INLINE PartialSums sum_products(Shorts16 a, const int16_t b[16]) {
#if defined(__AVX2__)
  return (PartialSums)_mm256_madd_epi16(a.v, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b)));
#else
  PartialSums sums = {};
  for (int i = 0; i < 16; ++i) sums[i % 4] += a.v[i] * b[i];
  return sums;
#endif
}
MOXIE_INLINE IntVec widen(PartialSums sums) {
#if defined(__AVX512F__)
  return (IntVec)_mm512_zextsi256_si512((__m256i)sums);
#else
  return (IntVec)sums;
#endif
}

// The sum over lanes of each of four vectors.
MOXIE_INLINE Int4 sum_each(Int4 a, Int4 b, Int4 c, Int4 d) {
#if defined(__SSSE3__)
  return (Int4)_mm_hadd_epi32(_mm_hadd_epi32((__m128i)a, (__m128i)b), _mm_hadd_epi32((__m128i)c, (__m128i)d));
#else
  return Int4{a[0] + a[1] + a[2] + a[3], b[0] + b[1] + b[2] + b[3], c[0] + c[1] + c[2] + c[3],
              d[0] + d[1] + d[2] + d[3]};
#endif
}
#if defined(__AVX2__)
MOXIE_INLINE Int4 sum_each(PartialSums a, PartialSums b, PartialSums c, PartialSums d) {
  const __m256i ab = _mm256_hadd_epi32((__m256i)a, (__m256i)b), cd = _mm256_hadd_epi32((__m256i)c, (__m256i)d);
  const __m256i abcd = _mm256_hadd_epi32(ab, cd);
  return (Int4)_mm256_castsi256_si128(abcd) + (Int4)_mm256_extracti128_si256(abcd, 1);
}
#endif
#if defined(__AVX512F__)
MOXIE_INLINE Int4 sum_each(IntVec a, IntVec b, IntVec c, IntVec d) {
  const IntVec ab = (IntVec)_mm512_shuffle_i64x2((__m512i)a, (__m512i)b, 0x44) +
                    (IntVec)_mm512_shuffle_i64x2((__m512i)a, (__m512i)b, 0xee);
  const IntVec cd = (IntVec)_mm512_shuffle_i64x2((__m512i)c, (__m512i)d, 0x44) +
                    (IntVec)_mm512_shuffle_i64x2((__m512i)c, (__m512i)d, 0xee);
  IntVec v = (IntVec)_mm512_shuffle_i64x2((__m512i)ab, (__m512i)cd, 0x88) +
             (IntVec)_mm512_shuffle_i64x2((__m512i)ab, (__m512i)cd, 0xdd);  // one vector's sums in each quarter
  v += (IntVec)_mm512_shuffle_epi32((__m512i)v, _MM_PERM_BADC);
  v += (IntVec)_mm512_shuffle_epi32((__m512i)v, _MM_PERM_CDAB);
  const __m512i first_of_each = _mm512_castsi128_si512(_mm_setr_epi32(0, 4, 8, 12));
  return (Int4)_mm512_castsi512_si128(_mm512_permutexvar_epi32(first_of_each, (__m512i)v));
}
#endif

#if defined(__AVX2__)
MOXIE_INLINE Float4 fma(Float4 a, Float4 b, Float4 c) {
  return (Float4)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
}
#endif

// The half-precision numbers at four addresses; those that follow each of them.
struct HalfPairs {
  Float4 first;
  Float4 second;
};
MOXIE_INLINE HalfPairs load_half_pairs(const void* a, const void* b, const void* c, const void* d) {
#if defined(__AVX2__)
  const __m128i halves = _mm_setr_epi32(static_cast<int>(load_u32(a)), static_cast<int>(load_u32(b)),
                                        static_cast<int>(load_u32(c)), static_cast<int>(load_u32(d)));
  const __m256 floats = _mm256_cvtph_ps(halves);
  const __m128 low = _mm256_castps256_ps128(floats), high = _mm256_extractf128_ps(floats, 1);
  return {(Float4)_mm_shuffle_ps(low, high, 0x88), (Float4)_mm_shuffle_ps(low, high, 0xdd)};
#else
  auto half = [](const void* at, int index) {
    return half_to_float(load_u16(static_cast<const std::byte*>(at) + 2 * index));
  };
  return {Float4{half(a, 0), half(b, 0), half(c, 0), half(d, 0)},
          Float4{half(a, 1), half(b, 1), half(c, 1), half(d, 1)}};
#endif
}
MOXIE_INLINE Float4 load_halves(const void* a, const void* b, const void* c, const void* d) {
#if defined(__AVX2__)
  const uint64_t low = load_u16(a) | static_cast<uint32_t>(load_u16(b)) << 16;
  const uint64_t high = load_u16(c) | static_cast<uint32_t>(load_u16(d)) << 16;
  return (Float4)_mm_cvtph_ps(_mm_cvtsi64_si128(static_cast<int64_t>(low | high << 32)));
#else
  return Float4{half_to_float(load_u16(a)), half_to_float(load_u16(b)), half_to_float(load_u16(c)),
                half_to_float(load_u16(d))};
#endif
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET
