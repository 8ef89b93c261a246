// Arithmetic and nothing else: what a core can do at most with the instructions that the weight products use.
#include "kernels/declare.h"
#include "quant/tiles.h"

namespace moxie::MOXIE_TARGET {
namespace {

constexpr int kChains = 12;  // more than hide the latency, fewer than there are registers

// The compiler must not know that a value stays what it is: it would take the work out of the loop.
template <typename T>
MOXIE_INLINE void forget(T& value) {
  __asm__ volatile("" : "+m"(value));
}

constexpr int kByteLanes = 4 * kLanes;
typedef uint8_t Bytes __attribute__((vector_size(kByteLanes), may_alias));
typedef int8_t SignedBytes __attribute__((vector_size(kByteLanes), may_alias));

// sum[i] += the products of four bytes, as the weight products of this target have them.
MOXIE_INLINE IntVec add_products(IntVec sum, Bytes a, SignedBytes b) {
#if defined(__AVX512VNNI__)
  return (IntVec)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  const __m256i pairs = _mm256_maddubs_epi16((__m256i)a, (__m256i)b);
  return sum + (IntVec)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#elif defined(__SSSE3__)
  const __m128i pairs = _mm_maddubs_epi16((__m128i)a, (__m128i)b);
  return sum + (IntVec)_mm_madd_epi16(pairs, _mm_set1_epi16(1));
#else
  for (int i = 0; i < kByteLanes; ++i) sum[i / 4] += a[i] * b[i];
  return sum;
#endif
}

}  // namespace

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
  IntVec sums[kChains] = {};
  for (int64_t round = 0; round < rounds; ++round) {
    forget(weights);
    forget(activations);
    for (int c = 0; c < kChains; ++c) sums[c] = add_products(sums[c], weights, activations);
  }
  int64_t sum = 0;
  for (int c = 0; c < kChains; ++c) {
    for (int i = 0; i < kLanes; ++i) sum += sums[c][i];
  }
  *result = sum;
  return rounds * kChains * kByteLanes;
}
#endif

int64_t float_peak(int64_t rounds, float a, float b, double* result) {
  FloatVec weights = splat(a), activations = splat(b);
  FloatVec sums[kChains] = {};
  for (int64_t round = 0; round < rounds; ++round) {
    forget(weights);
    forget(activations);
    for (int c = 0; c < kChains; ++c) sums[c] = fma(weights, activations, sums[c]);
  }
  double sum = 0;
  for (int c = 0; c < kChains; ++c) {
    for (int i = 0; i < kLanes; ++i) sum += static_cast<double>(sums[c][i]);
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

}  // namespace moxie::MOXIE_TARGET
