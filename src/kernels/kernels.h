// The small numeric loops beside the weight products, one table per CPU target. All pure functions on caller's memory;
// thread-safe. Fixed order of sums everywhere: a row's result depends on that row alone, never on how many rows or
// threads there are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace moxie {

enum class KvType : uint8_t { f32, f16, q8_0 };

// One query token against the cached keys and values of one kv head (grouped-query attention: `queries` heads share
// it). Keys and values lie in blocks of `block_tokens` positions; block b of a sequence holds positions [b *
// block_tokens, ...). A block's keys for this kv head: (block_tokens, head_dim) of KvType, contiguous; its values
// likewise with value_dim. Scores are summed block by block from position 0 (online softmax), so the result does not
// depend on the batch.
struct AttentionArgs {
  const float* q;  // (queries, head_dim)
  int queries;
  int head_dim;
  int value_dim;
  const std::byte* const* k_blocks;  // k_blocks[b]: keys of block b for this kv head
  const std::byte* const* v_blocks;
  KvType kv_type;
  int block_tokens;
  int64_t first;  // positions [first, last) are visible
  int64_t last;
  float scale;         // usually 1 / sqrt(head_dim)
  float softcap;       // 0: none; else scores = softcap * tanh(score / softcap)
  const float* sinks;  // (queries) extra logits that take weight but give no value, or null
  float* out;          // (queries, value_dim)
};

struct Kernels {
  std::string_view target;  // "baseline", "avx2", "avx512", "amx"

  // out = x / rms(x) * weight, over n values. out may be x. weight may be null (ones).
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* out);
  // Rotates `heads` heads of head_dim values in place; the first 2 * half values of each rotate, the rest pass.
  // cos, sin: (half). neox: pairs (i, i + half); otherwise pairs (2i, 2i + 1).
  void (*rope)(float* x, int heads, int head_dim, int half, const float* cos, const float* sin, bool neox);
  // out = silu(gate) * up; out may be gate or up.
  void (*swiglu)(const float* gate, const float* up, int64_t n, float* out);
  void (*softmax)(float* x, int64_t n);                                  // in place
  void (*add)(float* x, const float* y, int64_t n);                      // x += y
  void (*add_scaled)(float* x, float scale, const float* y, int64_t n);  // x += scale * y
  void (*quantize_q8_32)(const float* x, int64_t n, std::byte* out);     // to ActBlock32; REQUIRES n % 32 == 0
  void (*quantize_q8_256)(const float* x, int64_t n, std::byte* out);    // to ActBlock256; REQUIRES n % 256 == 0
  // n floats to one cached row (f16: rounded to nearest even; q8_0: blocks of 32, REQUIRES n % 32 == 0).
  void (*store_kv)(const float* x, int64_t n, KvType type, std::byte* out);
  void (*attention)(const AttentionArgs&);
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
