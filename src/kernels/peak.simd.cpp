// Arithmetic and nothing else, and reading and nothing else: what a core can do at most with the instructions that the
// weight products use.
#include "kernels/declare.h"
#include "quant/tiles.h"

namespace moxie::MOXIE_TARGET {
namespace {

constexpr int kChains = 12;  // more than hide the latency, fewer than there are registers

// The compiler must not know that a value stays what it is: it would take the work out of the loop. Nor may it be in
// memory, with everything near it, or stores are measured instead.
template <typename T>
MOXIE_INLINE void forget(T& value) {
#if defined(__AVX512F__)
  __asm__ volatile("" : "+v"(value));
#elif defined(__x86_64__)
  __asm__ volatile("" : "+x"(value));
#elif defined(__aarch64__)
  __asm__ volatile("" : "+w"(value));
#else
  __asm__ volatile("" : "+m"(value));
#endif
}

constexpr int kByteLanes = 4 * kLanes;
typedef uint8_t Bytes __attribute__((vector_size(kByteLanes), may_alias));
typedef int8_t SignedBytes __attribute__((vector_size(kByteLanes), may_alias));

// sums + the products of bytes, with the instructions of this target's weight products: where they are added in 16
// bits, seldom enough widened not to count.
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
typedef IntVec Sums;
MOXIE_INLINE Sums add_products(Sums sums, Bytes a, SignedBytes b) {
#if defined(__AVX512VNNI__)
  return (Sums)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)a, (__m512i)b);
#else
  return (Sums)_mm256_dpbusd_avx_epi32((__m256i)sums, (__m256i)a, (__m256i)b);
#endif
}
#elif defined(__SSSE3__)
typedef int16_t Sums __attribute__((vector_size(kByteLanes), may_alias));
MOXIE_INLINE Sums add_products(Sums sums, Bytes a, SignedBytes b) {
#if defined(__AVX2__)
  return sums + (Sums)_mm256_maddubs_epi16((__m256i)a, (__m256i)b);
#else
  return sums + (Sums)_mm_maddubs_epi16((__m128i)a, (__m128i)b);
#endif
}
#else
typedef IntVec Sums;
MOXIE_INLINE Sums add_products(Sums sums, Bytes a, SignedBytes b) {
  for (int i = 0; i < kByteLanes; ++i) sums[i / 4] += a[i] * b[i];
  return sums;
}
#endif

// Streams of equal length, in turn. Lines are asked for in a loop of its own (see prefetch_streams in
// quant/interleaved_rows.h), kNear and kFar bytes ahead where these are not 0.
template <int kStreams, int kNear, int kFar>
uint64_t sum_of_streams(const std::byte* from, size_t bytes) {
  typedef uint64_t Words __attribute__((vector_size(4 * kLanes), may_alias));
  constexpr size_t kStep = 256;
  static_assert(kReadBytes % (kStreams * kStep) == 0);
  const size_t stream = bytes / kStreams;
  Words sums[4] = {};
  for (size_t at = 0; at < stream; at += kStep) {
    if constexpr (kFar > 0) {
#pragma GCC unroll 1
      for (size_t line = at; line < at + kStep; line += 64) {
        for (int s = 0; s < kStreams; ++s) {
          const std::byte* const here = from + static_cast<size_t>(s) * stream + line;
          if (kNear > 0) __builtin_prefetch(here + kNear, 0, 3);
          __builtin_prefetch(here + kFar, 0, 2);
        }
      }
    }
    for (int s = 0; s < kStreams; ++s) {
#pragma GCC unroll 16
      for (size_t i = 0; i < kStep / sizeof(Words); ++i) {
        Words words;
        std::memcpy(&words, from + static_cast<size_t>(s) * stream + at + i * sizeof words, sizeof words);
        sums[i % 4] += words;
      }
    }
  }
  const Words sum = sums[0] + sums[1] + sums[2] + sums[3];
  uint64_t total = 0;
  for (size_t i = 0; i < sizeof sum / sizeof sum[0]; ++i) total += sum[i];
  return total;
}

}  // namespace

uint64_t sum_of_lines(const std::byte* from, size_t bytes, int way) {
  static_assert(kReadWays == 4);
  switch (way) {
    case 0:
      return sum_of_streams<1, 0, 0>(from, bytes);
    case 1:
      return sum_of_streams<2, 0, 0>(from, bytes);
    case 2:
      return sum_of_streams<1, 0, 4096>(from, bytes);
    default:
      return sum_of_streams<2, 2048, 4096>(from, bytes);
  }
}

#if defined(__AMX_INT8__)
int64_t int8_peak(int64_t rounds, int a, int b, int64_t* result) {
  constexpr int kSums = 6;  // the other two of the eight tiles hold what is multiplied
  uint8_t left[kTileBytes];
  int8_t right[kTileBytes];
  std::memset(left, a, sizeof left);
  std::memset(right, b, sizeof right);
  int32_t sums[kSums][kTileBytes / 4];
  {
    const Tiles tiles(kSums, kSums + 1, 64);
    zero_tile<0>();
    zero_tile<1>();
    zero_tile<2>();
    zero_tile<3>();
    zero_tile<4>();
    zero_tile<5>();
    load_tile<6>(left, 64);
    load_tile<7>(right, 64);
    for (int64_t round = 0; round < rounds; ++round) {
      add_tile_products<0, 6, 7, false, true>();
      add_tile_products<1, 6, 7, false, true>();
      add_tile_products<2, 6, 7, false, true>();
      add_tile_products<3, 6, 7, false, true>();
      add_tile_products<4, 6, 7, false, true>();
      add_tile_products<5, 6, 7, false, true>();
    }
    store_tile<0>(sums[0], 64);
    store_tile<1>(sums[1], 64);
    store_tile<2>(sums[2], 64);
    store_tile<3>(sums[3], 64);
    store_tile<4>(sums[4], 64);
    store_tile<5>(sums[5], 64);
  }
  int64_t sum = 0;
  for (int c = 0; c < kSums; ++c) {
    for (int i = 0; i < kTileBytes / 4; ++i) sum += sums[c][i];
  }
  *result = sum;
  return rounds * kSums * kTileRows * kTileBytes;
}
#else
int64_t int8_peak(int64_t rounds, int a, int b, int64_t* result) {
  Bytes weights = Bytes{} + static_cast<uint8_t>(a);
  SignedBytes activations = SignedBytes{} + static_cast<int8_t>(b);
  Sums sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = Sums{} + static_cast<int16_t>(c);  // different ones, or they become one
  for (int64_t round = 0; round < rounds; ++round) {
    forget(weights);
    for (int c = 0; c < kChains; ++c) {
      forget(activations);  // a product for each chain
      sums[c] = add_products(sums[c], weights, activations);
    }
  }
  int64_t sum = 0;
  for (int c = 0; c < kChains; ++c) {
    for (size_t i = 0; i < sizeof(Sums) / sizeof sums[c][0]; ++i) sum += sums[c][i] - c;
  }
  *result = sum;
  return rounds * kChains * kByteLanes;
}
#endif

int64_t float_peak(int64_t rounds, float a, float b, double* result) {
  FloatVec weights = splat(a), activations = splat(b);
  FloatVec sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = splat(static_cast<float>(c));
  for (int64_t round = 0; round < rounds; ++round) {
    forget(weights);
    for (int c = 0; c < kChains; ++c) {
      forget(activations);
      sums[c] = fma(weights, activations, sums[c]);
    }
  }
  double sum = 0;
  for (int c = 0; c < kChains; ++c) {
    for (int i = 0; i < kLanes; ++i) sum += static_cast<double>(sums[c][i]) - c;
  }
  *result = sum;
  return rounds * kChains * kLanes;
}

#if defined(__AMX_BF16__)
int64_t bf16_peak(int64_t rounds, float a, float b, double* result) {
  constexpr int kSums = 4;
  uint16_t left[kTileBytes / 2], large[kTileBytes / 2], small[kTileBytes / 2] = {};
  for (uint16_t& value : left) value = bf16_from_float(a);
  for (uint16_t& value : large) value = bf16_from_float(b);
  float sums[kSums][kTileBytes / 4];
  {
    const Tiles tiles(kSums, kSums + 1, 64);
    zero_tile<0>();
    zero_tile<1>();
    zero_tile<2>();
    zero_tile<3>();
    load_tile<4>(left, 64);
    load_tile<5>(large, 64);
    load_tile<6>(small, 64);
    for (int64_t round = 0; round < rounds; ++round) {  // a float is the sum of two bfloat16 (quant/tiled_bf16.h)
      add_tile_products<0, 4, 5>();
      add_tile_products<1, 4, 5>();
      add_tile_products<2, 4, 5>();
      add_tile_products<3, 4, 5>();
      add_tile_products<0, 4, 6>();
      add_tile_products<1, 4, 6>();
      add_tile_products<2, 4, 6>();
      add_tile_products<3, 4, 6>();
    }
    store_tile<0>(sums[0], 64);
    store_tile<1>(sums[1], 64);
    store_tile<2>(sums[2], 64);
    store_tile<3>(sums[3], 64);
  }
  double sum = 0;
  for (int c = 0; c < kSums; ++c) {
    for (int i = 0; i < kTileBytes / 4; ++i) sum += static_cast<double>(sums[c][i]);
  }
  *result = sum;
  return rounds * kSums * kTileRows * kTileBytes / 2;
}
#else
int64_t bf16_peak(int64_t rounds, float a, float b, double* result) {
  return float_peak(rounds, a, b, result);
}
#endif

#if defined(MOXIE_WITH_BF16)
MOXIE_WITH_BF16 int64_t rounded_bf16_peak(int64_t rounds, float a, float b, double* result) {
  typedef uint16_t Halves __attribute__((vector_size(4 * kLanes)));
  constexpr int kPairChains = 2 * kChains;  // two of these products are done at once, and each takes longer
  FloatVec sums[kPairChains];
#pragma GCC unroll 32
  for (int c = 0; c < kPairChains; ++c) sums[c] = splat(static_cast<float>(c));
  IntVec x = (IntVec)(Halves{} + bf16_from_float(a)), y = (IntVec)(Halves{} + bf16_from_float(b));
  for (int64_t round = 0; round < rounds; ++round) {
    forget(x);
#pragma GCC unroll 32
    for (int c = 0; c < kPairChains; ++c) {
      sums[c] = (FloatVec)_mm512_dpbf16_ps((__m512)sums[c], (__m512bh)x, (__m512bh)y);
    }
  }
  double sum = 0;
  for (int c = 0; c < kPairChains; ++c) {
    for (int i = 0; i < kLanes; ++i) sum += static_cast<double>(sums[c][i]) - c;
  }
  *result = sum;
  return rounds * kPairChains * 2 * kLanes;
}
#else
int64_t rounded_bf16_peak(int64_t rounds, float a, float b, double* result) {
  return bf16_peak(rounds, a, b, result);
}
#endif

}  // namespace moxie::MOXIE_TARGET
