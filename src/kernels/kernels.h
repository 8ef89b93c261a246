// The small numeric loops beside the weight products, one table per CPU target. All pure functions on caller's memory;
// thread-safe. Fixed order of sums everywhere: a row's result depends on that row alone, never on how many rows or
// threads there are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace moxie {

enum class KvType : uint8_t { f32, f16, q8_0 };

// The cache of a sequence lies in blocks of this many positions; block b holds positions [16 b, 16 b + 16).
constexpr int kKvBlockTokens = 16;
// Rows (tokens times queries times kv heads) that one call of `attention` takes at most.
constexpr int kMaxAttentionRows = 64;

// Consecutive tokens of one sequence against the cached keys and values of some kv heads (grouped-query attention:
// `queries` heads share each). The token at position p sees positions up to p, of these the last `window` (0: all).
// In a block, from `offset` on, head follows head, each with its keys, then its values: what one thread reads for one
// token is one stretch. Keys lie as (head_dim, 16) of KvType: the positions of one dimension side by side, so that
// scores need no sums across lanes. q8_0: for every 32 dimensions first 16 scales, one for each position, then (32, 16)
// bytes. Values lie as (16, value_dim). Scores are gathered two blocks at a time from position 0 (online softmax), so
// that a row's result depends on its own positions alone.
struct AttentionArgs {
  const float* q;  // token t, query j of kv head h: q + t * q_stride + (h * queries + j) * head_dim
  int64_t q_stride;
  int64_t tokens;
  int queries, kv_heads;  // REQUIRES: tokens * queries * kv_heads <= kMaxAttentionRows
  int head_dim, value_dim;
  const std::byte* const* blocks;
  size_t offset;      // of the first of these heads
  size_t key_bytes;   // from a head's keys to its values
  size_t head_bytes;  // from one head to the next
  KvType kv_type;
  int64_t first_position;  // of token 0
  int64_t window;          // 0: none
  float scale;             // usually 1 / sqrt(head_dim)
  float softcap;           // 0: none; else scores = softcap * tanh(score / softcap)
  const float* sinks;      // (kv_heads, queries) extra logits that take weight but give no value, or null
  float* out;              // token t, query j of kv head h: out + t * out_stride + (h * queries + j) * value_dim
  int64_t out_stride;
};

constexpr int kReadWays = 4;
constexpr size_t kReadBytes = 512;

struct Kernels {
  std::string_view target;  // "baseline", "avx2", "avxvnni", "avx512", "amx"

  // out = x / rms(x) * weight, over n values. out may be x. weight may be null (ones).
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* out);
  // Rotates `heads` heads of head_dim values in place; the first 2 * half values of each rotate, the rest pass.
  // cos, sin: (half). neox: pairs (i, i + half); otherwise pairs (2i, 2i + 1).
  void (*rope)(float* x, int heads, int head_dim, int half, const float* cos, const float* sin, bool neox);
  // out = silu(gate) * up; out may be gate or up.
  void (*swiglu)(const float* gate, const float* up, int64_t n, float* out);
  // out = (clamp(up, -limit, limit) + 1) * g * sigmoid(alpha * g), g = min(gate, limit); out may be gate or up.
  void (*clamped_swiglu)(const float* gate, const float* up, float alpha, float limit, int64_t n, float* out);
  void (*softmax)(float* x, int64_t n);                                  // in place
  void (*add)(float* x, const float* y, int64_t n);                      // x += y
  void (*add_scaled)(float* x, float scale, const float* y, int64_t n);  // x += scale * y
  void (*quantize_q8_32)(const float* x, int64_t n, std::byte* out);     // to ActBlock32; REQUIRES n % 32 == 0
  void (*quantize_q8_256)(const float* x, int64_t n, std::byte* out);    // to ActBlock256; REQUIRES n % 256 == 0
  // To bfloat16, the nearest or of two the even one; zeros up to a multiple of 32.
  void (*round_bf16)(const float* x, int64_t n, std::byte* out);
  // n floats to one cached value row (f16: rounded to nearest even; q8_0: blocks of 32, REQUIRES n % 32 == 0).
  void (*store_kv)(const float* x, int64_t n, KvType type, std::byte* out);
  // The same numbers to where a block's keys have those of its position `position` (AttentionArgs).
  void (*store_key)(const float* x, int64_t n, KvType type, int position, std::byte* keys);
  void (*attention)(const AttentionArgs&);
  // The sum of all 8-byte words, read as fast as one thread can, in one of kReadWays ways: which of them is the fastest
  // differs between processors. REQUIRES: 0 <= way < kReadWays, bytes is a multiple of kReadBytes.
  uint64_t (*sum_of_lines)(const std::byte* from, size_t bytes, int way);
  // Multiply-adds as fast as this target has them, `rounds` times some; returns how many. result: a * b for each,
  // the least 16 bits of a lane's sum where a target adds in so many.
  int64_t (*int8_peak)(int64_t rounds, int a, int b, int64_t* result);
  int64_t (*float_peak)(int64_t rounds, float a, float b, double* result);
  // Of bfloat16 weights with float activations. REQUIRES: a and b are bfloat16 numbers.
  int64_t (*bf16_peak)(int64_t rounds, float a, float b, double* result);
  // The same with activations rounded (QuantType::fast). REQUIRES: cpu_has_avx512_bf16() on targets with AVX-512.
  int64_t (*rounded_bf16_peak)(int64_t rounds, float a, float b, double* result);
};

constexpr size_t kv_row_bytes(KvType type, int64_t n) {
  switch (type) {
    case KvType::f32:
      return static_cast<size_t>(n) * 4;
    case KvType::f16:
      return static_cast<size_t>(n) * 2;
    case KvType::q8_0:
      return static_cast<size_t>(n / 32) * 34;
  }
  return 0;
}

}  // namespace moxie
