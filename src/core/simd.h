// Vectors of the CPU target a *.simd.cpp file is compiled for. Everything here is internal to the including file, so
// that no function compiled for one target can be linked into another. Written over the compiler's vector extension;
// intrinsics only where that cannot say it (fused multiply-add, half precision, byte products). Pure functions;
// thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#pragma GCC diagnostic push  // gcc 12 takes the headers' deliberately undefined registers for mistakes
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#include "core/float16.h"

#ifndef MOXIE_TARGET
#error "core/simd.h is for *.simd.cpp files only: they are compiled once per CPU target"
#endif
#define MOXIE_STRING_(x) #x
#define MOXIE_STRING(x) MOXIE_STRING_(x)
#define MOXIE_INLINE inline __attribute__((always_inline))

// Functions that need AVX512-BF16 beyond what their target promises: who calls them asks cpu_has_avx512_bf16(). Lambdas
// in them do not take it over.
#if defined(__AVX512VNNI__)
#define MOXIE_WITH_BF16 __attribute__((target("avx512bf16")))
#endif

namespace moxie::MOXIE_TARGET {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float FloatVec __attribute__((vector_size(kLanes * 4), may_alias));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4), may_alias));

MOXIE_INLINE FloatVec splat(float x) {
  return x - FloatVec{};  // that is x; + would make -0 a 0, which compilers then add up
}
MOXIE_INLINE IntVec splat_int(int32_t x) {
  return IntVec{} + x;
}

// Computed now, in a register: compilers else put off or regroup sums until registers run out.
template <typename Vec>
MOXIE_INLINE void keep_here(Vec& v) {
#if defined(__AVX512F__)
  __asm__("" : "+v"(v));
#elif defined(__x86_64__)
  __asm__("" : "+x"(v));
#else
  (void)v;
#endif
}

MOXIE_INLINE FloatVec load(const float* from) {
  FloatVec v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
MOXIE_INLINE void store(float* to, FloatVec v) {
  std::memcpy(to, &v, sizeof v);
}

// The first n < kLanes values; the other lanes are zero.
MOXIE_INLINE FloatVec load_part(const float* from, int64_t n) {
#if defined(__AVX512F__)
  return (FloatVec)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), from);
#else
  float lanes[kLanes] = {};
  std::memcpy(lanes, from, static_cast<size_t>(n) * sizeof(float));
  return load(lanes);
#endif
}
MOXIE_INLINE void store_part(float* to, FloatVec v, int64_t n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << n) - 1), (__m512)v);
#else
  std::memcpy(to, &v, static_cast<size_t>(n) * sizeof(float));
#endif
}

// a * b + c; fused where the target has it, so results differ between targets in the last bit.
MOXIE_INLINE FloatVec fma(FloatVec a, FloatVec b, FloatVec c) {
#if defined(__AVX512F__)
  return (FloatVec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (FloatVec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}
// The same for one number, rounded as a lane of the above is.
MOXIE_INLINE float fma(float a, float b, float c) {
#if defined(__FMA__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

// A NaN in x passes; one in `limit` does not.
MOXIE_INLINE FloatVec at_least(FloatVec x, FloatVec limit) {
  return x < limit ? limit : x;
}
MOXIE_INLINE FloatVec at_most(FloatVec x, FloatVec limit) {
  return x > limit ? limit : x;
}
MOXIE_INLINE FloatVec abs(FloatVec x) {
  return (FloatVec)((IntVec)x & 0x7fffffff);
}

MOXIE_INLINE FloatVec to_float(IntVec x) {
  return __builtin_convertvector(x, FloatVec);
}
// To nearest even. REQUIRES: |x| < 2^22.
MOXIE_INLINE IntVec round_to_int(FloatVec x) {
  const FloatVec magic = splat(0x1.8p23f);
  return (IntVec)(x + magic) - (IntVec)magic;
}
MOXIE_INLINE FloatVec round(FloatVec x) {
  const FloatVec magic = splat(0x1.8p23f);
  return (x + magic) - magic;
}

typedef float Float4 __attribute__((vector_size(16), may_alias));
typedef float Float8 __attribute__((vector_size(32), may_alias));

// Sum and maximum over lanes, by halves: one order per target.
MOXIE_INLINE float sum_lanes(Float4 v) {
  v += __builtin_shufflevector(v, v, 2, 3, 0, 1);
  return v[0] + v[1];
}
MOXIE_INLINE float max_lanes(Float4 v) {
  const Float4 u = __builtin_shufflevector(v, v, 2, 3, 0, 1);
  v = v > u ? v : u;
  return v[0] > v[1] ? v[0] : v[1];
}
#if defined(__AVX2__)
MOXIE_INLINE float sum_lanes(Float8 v) {
  return sum_lanes((Float4)_mm256_castps256_ps128((__m256)v) + (Float4)_mm256_extractf128_ps((__m256)v, 1));
}
MOXIE_INLINE float max_lanes(Float8 v) {
  const Float4 a = (Float4)_mm256_castps256_ps128((__m256)v), b = (Float4)_mm256_extractf128_ps((__m256)v, 1);
  return max_lanes(a > b ? a : b);
}
#endif
#if defined(__AVX512F__)
MOXIE_INLINE float sum_lanes(FloatVec v) {
  return sum_lanes((Float8)_mm512_castps512_ps256((__m512)v) + (Float8)_mm512_extractf32x8_ps((__m512)v, 1));
}
MOXIE_INLINE float max_lanes(FloatVec v) {
  const Float8 a = (Float8)_mm512_castps512_ps256((__m512)v), b = (Float8)_mm512_extractf32x8_ps((__m512)v, 1);
  return max_lanes(a > b ? a : b);
}
#endif

MOXIE_INLINE uint16_t load_u16(const void* from) {
  uint16_t x;
  std::memcpy(&x, from, sizeof x);
  return x;
}

// One half-precision number; hardware where present, the same value everywhere.
MOXIE_INLINE float half_to_float(uint16_t half) {
#if defined(__F16C__)
  return _cvtsh_ss(half);
#else
  return float_from_f16(half);
#endif
}
// kLanes half-precision numbers.
MOXIE_INLINE FloatVec load_f16(const void* from) {
#if defined(__AVX512F__)
  return (FloatVec)_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(from)));
#elif defined(__F16C__)
  return (FloatVec)_mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(from)));
#else
  typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));
  Halves raw;
  std::memcpy(&raw, from, sizeof raw);
  const IntVec half = __builtin_convertvector(raw, IntVec);
  const IntVec magnitude = (half & 0x7fff) << 13;
  const IntVec sign = (half & 0x8000) << 16;
  // The product is exact and turns half's exponent bias into float's, subnormals included.
  const IntVec finite = (IntVec)((FloatVec)magnitude * 0x1p112f);
  const IntVec value = magnitude >= 0x0f800000 ? (magnitude | 0x7f800000) : finite;
  return (FloatVec)(value | sign);
#endif
}
MOXIE_INLINE FloatVec load_f16_part(const void* from, int64_t n) {
  uint16_t lanes[kLanes] = {};
  std::memcpy(lanes, from, static_cast<size_t>(n) * sizeof(uint16_t));
  return load_f16(lanes);
}
// To nearest even.
MOXIE_INLINE void store_f16(void* to, FloatVec v) {
#if defined(__AVX512F__)
  _mm256_storeu_si256(static_cast<__m256i*>(to), _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
  _mm_storeu_si128(static_cast<__m128i*>(to), _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
#else
  uint16_t lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = f16_from_float(v[i]);
  std::memcpy(to, lanes, sizeof lanes);
#endif
}
MOXIE_INLINE void store_f16_part(void* to, FloatVec v, int64_t n) {
  uint16_t lanes[kLanes];
  store_f16(lanes, v);
  std::memcpy(to, lanes, static_cast<size_t>(n) * sizeof(uint16_t));
}

// kLanes bfloat16 numbers.
MOXIE_INLINE FloatVec load_bf16(const void* from) {
#if defined(__AVX512F__)
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(from)));
  return (FloatVec)_mm512_slli_epi32(wide, 16);
#elif defined(__AVX2__)
  return (FloatVec)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(from))), 16);
#else
  typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));
  Halves raw;
  std::memcpy(&raw, from, sizeof raw);
  return (FloatVec)(__builtin_convertvector(raw, IntVec) << 16);
#endif
}
MOXIE_INLINE FloatVec load_bf16_part(const void* from, int64_t n) {
  uint16_t lanes[kLanes] = {};
  std::memcpy(lanes, from, static_cast<size_t>(n) * sizeof(uint16_t));
  return load_bf16(lanes);
}

// kLanes signed bytes as floats.
MOXIE_INLINE FloatVec load_int8(const int8_t* from) {
#if defined(__AVX512F__)
  return (FloatVec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#elif defined(__AVX2__)
  return (FloatVec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
#else
  IntVec v;
  for (int i = 0; i < kLanes; ++i) v[i] = from[i];
  return to_float(v);
#endif
}

// e^x; relative error below 2e-7, infinity above 88.72, exact zero below -103.98, NaN stays NaN.
MOXIE_INLINE FloatVec exp(FloatVec x) {
  x = at_most(at_least(x, splat(-110.0f)), splat(90.0f));
  const FloatVec n = round(x * 1.44269504f);
  FloatVec r = fma(n, splat(-0.693359375f), x);  // ln 2 in two parts: the first product is exact
  r = fma(n, splat(2.12194440e-4f), r);
  FloatVec p = splat(1.0f / 5040);
  p = fma(p, r, splat(1.0f / 720));
  p = fma(p, r, splat(1.0f / 120));
  p = fma(p, r, splat(1.0f / 24));
  p = fma(p, r, splat(1.0f / 6));
  p = fma(p, r, splat(0.5f));
  p = fma(p * r, r, r) + 1.0f;
  // 2^n in two factors, so that neither over- nor underflows before the result does.
  const IntVec whole = round_to_int(n);
  const IntVec half = whole >> 1;
  return p * (FloatVec)((half + 127) << 23) * (FloatVec)((whole - half + 127) << 23);
}

// tanh; absolute error below 2e-7, odd and exact at zero.
MOXIE_INLINE FloatVec tanh(FloatVec x) {
  const FloatVec a = at_most(abs(x), splat(10.0f));
  const FloatVec large = 1.0f - 2.0f / (exp(a + a) + 1.0f);
  const FloatVec s = a * a;
  FloatVec p = fma(splat(-17.0f / 315), s, splat(2.0f / 15));
  p = fma(p, s, splat(-1.0f / 3));
  const FloatVec small = fma(a * s, p, a);
  const FloatVec result = a < 0.125f ? small : large;
  return (FloatVec)((IntVec)result | ((IntVec)x & splat_int(INT32_MIN)));
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET
