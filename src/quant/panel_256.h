// Products of the types with blocks of 256 values with two or more tokens: the weights of kLanes rows are unpacked once
// into a panel that gives each row a lane, and used for many tokens. For multiply_256.h, whose order of sums it keeps:
// the same exact integers per block, then the same chain over the blocks.
#pragma once

#include "quant/byte_products.h"
#include "quant/multiply_32.h"

namespace moxie::MOXIE_TARGET {
namespace {

// Two groups of rows share what is loaded of the activations where there are registers enough.
constexpr int kRowGroups = kLanes == 16 ? 2 : 1;
constexpr int kPanel256Blocks = 4 / kRowGroups;  // about half of the first-level cache
constexpr int kPanel256Tokens = 128;             // tokens that share an unpacked panel

// Signed quants are unpacked 128 too large where bytes are multiplied by VNNI.
template <class Parts>
constexpr bool kShifted = Parts::kSigned&& kHaveVnni;

struct Panel256 {
  IntVec values[kPanel256Blocks][64];     // [i]: lane r holds bytes 4i to 4i + 3 of row r
  IntVec scales[kPanel256Blocks][16];     // [k]: lane r holds the scale of row r's sub-block k, as add_scaled takes it
  IntVec sum_scales[kPanel256Blocks][8];  // [k]: lane r holds those of the sums 2k and 2k + 1, 16 bits each
  FloatVec scale[kPanel256Blocks];
  FloatVec minimum[kPanel256Blocks];
};

// ---- sums over some dwords of each row, and their product with the sub-block's scale ----

// What `largest`, times 127, may be added up before the scale is applied: dwords, a power of two, at most a sub-block.
template <class Parts>
constexpr int run_dwords() {
  constexpr int kSubDwords = Parts::kSubValues / 4;
#if defined(__AVX512VNNI__)
  if (4 * Parts::kLargest * 127 * 2 > 32767) return kSubDwords;  // too wide for 16 bits: multiplied in 32
  constexpr int kTerms = 4;
#else
  constexpr int kTerms = 2;
#endif
  int run = 1;
  while (2 * run <= kSubDwords && kTerms * Parts::kLargest * 127 * 2 * run <= 32767) run *= 2;
  return run;
}
template <class Parts>
constexpr bool kWideRuns = kHaveVnni && 4 * Parts::kLargest * 127 * run_dwords<Parts>() > 32767;

// Sums within a run: lanes of 32 bits with VNNI, of 16 otherwise.
template <class Parts>
MOXIE_INLINE IntVec add_dword(IntVec run, IntVec w, IntVec four) {
#if defined(__AVX512VNNI__)
  return (IntVec)_mm512_dpbusd_epi32((__m512i)run, (__m512i)w, (__m512i)four);
#elif defined(__AVX2__)
  if constexpr (Parts::kSigned) {
    const __m256i signed_x = _mm256_sign_epi8((__m256i)four, (__m256i)w);
    return (IntVec)((Shorts)run + (Shorts)_mm256_maddubs_epi16(_mm256_abs_epi8((__m256i)w), signed_x));
  } else {
    return (IntVec)((Shorts)run + (Shorts)_mm256_maddubs_epi16((__m256i)w, (__m256i)four));
  }
#elif defined(__SSSE3__)
  if constexpr (Parts::kSigned) {
    const __m128i signed_x = _mm_sign_epi8((__m128i)four, (__m128i)w);
    return (IntVec)((Shorts)run + (Shorts)_mm_maddubs_epi16(_mm_abs_epi8((__m128i)w), signed_x));
  } else {
    return (IntVec)((Shorts)run + (Shorts)_mm_maddubs_epi16((__m128i)w, (__m128i)four));
  }
#else
  for (int i = 0; i < kByteLanes; ++i) {
    const int weight = Parts::kSigned ? static_cast<int8_t>(((Bytes)w)[i]) : ((Bytes)w)[i];
    run[i / 4] += weight * ((SignedBytes)four)[i];
  }
  return run;
#endif
}

// total + pairs of 16-bit products, lane by lane of 32 bits.
MOXIE_INLINE IntVec add_pairs(IntVec total, IntVec a, IntVec b) {
#if defined(__AVX512VNNI__)
  return (IntVec)_mm512_dpwssd_epi32((__m512i)total, (__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return total + (IntVec)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSSE3__)
  return total + (IntVec)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
  for (int i = 0; i < 2 * kLanes; ++i) total[i / 2] += ((Shorts)a)[i] * ((Shorts)b)[i];
  return total;
#endif
}

template <class Parts>
MOXIE_INLINE IntVec add_scaled(IntVec total, IntVec run, IntVec scale) {
#if defined(__SSSE3__)
  if constexpr (!kWideRuns<Parts>) return add_pairs(total, run, scale);
#endif
  return total + run * scale;
}

// The two scales of each lane's pair of 16-bit numbers, in the form add_scaled takes: with VNNI a run is one number of
// 16 bits, sign-extended, and meets (scale, 0); otherwise two, and meets (scale, scale).
template <class Parts>
MOXIE_INLINE void split_scales(IntVec pairs, IntVec& first, IntVec& second) {
  typedef uint32_t UintVec __attribute__((vector_size(kLanes * 4), may_alias));
  const IntVec low = (IntVec)((UintVec)pairs << 16), high = pairs & splat_int(static_cast<int32_t>(0xffff0000u));
#if defined(__AVX512VNNI__)
  if constexpr (!kWideRuns<Parts>) {
    first = (IntVec)((UintVec)low >> 16);
    second = (IntVec)((UintVec)high >> 16);
    return;
  }
#elif defined(__SSSE3__)
  first = low | (IntVec)((UintVec)low >> 16);
  second = high | (IntVec)((UintVec)high >> 16);
  return;
#endif
  first = low >> 16;
  second = high >> 16;
}

// ---- the panel ----

// Fetches the block `distance` bytes further on, which may be beyond the matrix.
template <typename Block>
MOXIE_INLINE void prefetch_block(const Block* block, size_t distance) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(block) + distance;
  for (size_t line = 0; line < sizeof(Block); line += 64)
    __builtin_prefetch(reinterpret_cast<const void*>(address + line));
}

// Everything is transposed as it stands in files, which is less, and unpacked then.
template <class Parts>
void fill_panel_256(const RowGroup& rows, int64_t first, int blocks, size_t prefetch_distance, Panel256& panel) {
  constexpr int kRawChunks = Parts::kRawBytes / 64;
  constexpr bool kRawTail = Parts::kRawBytes % 64 != 0;  // 32 bytes, transposed along with the scales
  constexpr int kChunks = kRawChunks + (kRawTail ? 2 : 1);
  for (int b = 0; b < blocks; ++b) {
    Bytes64 chunks[kChunks][kLanes];
    for (int r = 0; r < kLanes; ++r) {
      const typename Parts::Block& block = block_of<Parts>(rows, r, first + b);
      prefetch_block(&block, prefetch_distance);
      const std::byte* raw = reinterpret_cast<const std::byte*>(&block) + Parts::kRawAt;
      for (int i = 0; i < kRawChunks; ++i) std::memcpy(&chunks[i][r], raw + 64 * i, 64);
      const Parts parts(block);
      const Shorts16 sub_scales = parts.sub_scales();
      Shorts16 sum_scales = {};
      if constexpr (Parts::kSumScales) sum_scales = parts.sum_scales();
      if constexpr (kShifted<Parts>) sum_scales = times(sub_scales, -128);
      if constexpr (kRawTail) {
        chunks[kRawChunks][r] = load_32_32(raw + 64 * kRawChunks, &sub_scales);
        chunks[kRawChunks + 1][r] = load_32_32(&sum_scales, &sum_scales);
      } else {
        chunks[kRawChunks][r] = load_32_32(&sub_scales, &sum_scales);
      }
    }
    IntVec dwords[kChunks][16];
    for (int i = 0; i < kChunks; ++i) transpose(chunks[i], dwords[i]);
#pragma GCC unroll 64
    for (int i = 0; i < 64; ++i) {
      const Bytes bytes = (Bytes)Parts::quants(dwords[0], i);
      panel.values[b][i] = (IntVec)(kShifted<Parts> ? bytes ^ 0x80 : bytes);
    }
    const IntVec* sub_scales = dwords[0] + Parts::kRawBytes / 4;
    for (int i = 0; i < 8; ++i) {
      split_scales<Parts>(sub_scales[i], panel.scales[b][2 * i], panel.scales[b][2 * i + 1]);
      panel.sum_scales[b][i] = sub_scales[8 + i];
    }
    panel.scale[b] = load_halves<Parts>(rows, first + b, Parts::kScaleAt);
    if constexpr (Parts::kMinimum) panel.minimum[b] = load_halves<Parts>(rows, first + b, Parts::kScaleAt + 2);
  }
}

// kTokens tokens times the panels of kRowGroups groups: adds to sums[0 .. kTokens - 1] of each.
template <class Parts, int kTokens>
void multiply_panel_256(const Panel256 (&panels)[kRowGroups], int blocks, const std::byte* activations,
                        size_t activation_row_bytes, FloatVec (*sums)[kRowGroups]) {
  constexpr int kRun = run_dwords<Parts>(), kSubDwords = Parts::kSubValues / 4;
  const ActBlock256* x[kTokens];
  for (int t = 0; t < kTokens; ++t) {
    x[t] = reinterpret_cast<const ActBlock256*>(activations + t * activation_row_bytes);
  }
  for (int b = 0; b < blocks; ++b) {
    IntVec totals[kTokens][kRowGroups] = {}, minima[kTokens][kRowGroups];
    if constexpr (Parts::kSumScales || kShifted<Parts>) {
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        for (int t = 0; t < kTokens; ++t) {
          const IntVec two_sums = splat_int(static_cast<int32_t>(load_u32(x[t][b].sums + 2 * i)));
          for (int g = 0; g < kRowGroups; ++g) {
            totals[t][g] = add_pairs(totals[t][g], panels[g].sum_scales[b][i], two_sums);
          }
        }
      }
    }
    if constexpr (Parts::kMinimum) {
      for (int t = 0; t < kTokens; ++t) {
        for (int g = 0; g < kRowGroups; ++g) {
          minima[t][g] = totals[t][g];
          totals[t][g] = IntVec{};
        }
      }
    }
    for (int start = 0; start < 64; start += kRun) {
      const int sub = start / kSubDwords * (kSubDwords / 4);
      IntVec runs[kTokens][kRowGroups] = {};
#pragma GCC unroll 8
      for (int i = start; i < start + kRun; ++i) {
        for (int t = 0; t < kTokens; ++t) {
          const IntVec four = splat_int(static_cast<int32_t>(load_u32(x[t][b].values + 4 * i)));
          for (int g = 0; g < kRowGroups; ++g) {
            runs[t][g] = add_dword<Parts>(runs[t][g], panels[g].values[b][i], four);
          }
        }
      }
      for (int t = 0; t < kTokens; ++t) {
        for (int g = 0; g < kRowGroups; ++g) {
          totals[t][g] = add_scaled<Parts>(totals[t][g], runs[t][g], panels[g].scales[b][sub]);
        }
      }
    }
    for (int t = 0; t < kTokens; ++t) {
      for (int g = 0; g < kRowGroups; ++g) {
        sums[t][g] = fma(to_float(totals[t][g]), panels[g].scale[b] * x[t][b].scale, sums[t][g]);
        if constexpr (Parts::kMinimum) {
          sums[t][g] = fma(-to_float(minima[t][g]), panels[g].minimum[b] * x[t][b].scale, sums[t][g]);
        }
      }
    }
  }
}

// Tokens [first_token, first_token + tokens), at most kPanel256Tokens, with every row.
template <class Parts>
void multiply_256_tokens(const MultiplyArgs& args, int64_t first_token, int tokens) {
  const int64_t blocks = args.columns / 256;
  const std::byte* activations = args.activations + first_token * args.activation_row_bytes;
  const size_t step = args.activation_row_bytes;
  Panel256 panels[kRowGroups];
  FloatVec sums[kPanel256Tokens][kRowGroups];
  for (int64_t row = 0; row < args.rows; row += kRowGroups * kLanes) {
    std::memset(sums, 0, sizeof sums);
    for (int64_t block = 0; block < blocks; block += kPanel256Blocks) {
      const int count = static_cast<int>(blocks - block < kPanel256Blocks ? blocks - block : kPanel256Blocks);
      // The next blocks of these rows, or the first ones of the next rows, while these are worked on.
      const int64_t ahead = block + count < blocks ? count : -block;
      const size_t distance = static_cast<size_t>(ahead) * sizeof(typename Parts::Block) +
                              (ahead > 0 ? 0 : kRowGroups * kLanes * args.row_bytes);
      for (int g = 0; g < kRowGroups; ++g) {
        fill_panel_256<Parts>(RowGroup(args, row + g * kLanes), block, count, distance, panels[g]);
      }
      const std::byte* x = activations + block * sizeof(ActBlock256);
      int t = 0;
      for (; t + 4 <= tokens; t += 4) multiply_panel_256<Parts, 4>(panels, count, x + t * step, step, sums + t);
      for (; t + 2 <= tokens; t += 2) multiply_panel_256<Parts, 2>(panels, count, x + t * step, step, sums + t);
      if (t < tokens) multiply_panel_256<Parts, 1>(panels, count, x + t * step, step, sums + t);
    }
    for (int t = 0; t < tokens; ++t) {
      for (int g = 0; g < kRowGroups && row + g * kLanes < args.rows; ++g) {
        const int64_t left = args.rows - row - g * kLanes;
        float* out = args.out + (first_token + t) * args.out_stride + row + g * kLanes;
        if (left >= kLanes) {
          store(out, sums[t][g]);
        } else {
          store_part(out, sums[t][g], left);
        }
      }
    }
  }
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET
