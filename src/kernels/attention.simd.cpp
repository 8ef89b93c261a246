// Attention of one token over one kv head: online softmax over chunks of positions that start at absolute multiples, so
// the order of sums depends on the positions alone.
#include "kernels/declare.h"

namespace moxie::MOXIE_TARGET {
namespace {

constexpr int kChunk = 32;   // positions a softmax step takes
constexpr int kQueries = 4;  // queries that share a read of keys and values

// Loads of kLanes values at i of a cached row; `load_part` the first n.
struct CacheF32 {
  static FloatVec load(const std::byte* row, int i) {
    return ::moxie::MOXIE_TARGET::load(reinterpret_cast<const float*>(row) + i);
  }
  static FloatVec load_part(const std::byte* row, int i, int n) {
    return ::moxie::MOXIE_TARGET::load_part(reinterpret_cast<const float*>(row) + i, n);
  }
};
struct CacheF16 {
  static FloatVec load(const std::byte* row, int i) { return load_f16(row + 2 * i); }
  static FloatVec load_part(const std::byte* row, int i, int n) { return load_f16_part(row + 2 * i, n); }
};
struct CacheQ8 {
  static FloatVec load(const std::byte* row, int i) {
    const std::byte* block = row + i / 32 * 34;
    return half_to_float(load_u16(block)) * load_int8(reinterpret_cast<const int8_t*>(block + 2) + i % 32);
  }
  static FloatVec load_part(const std::byte*, int, int) { return FloatVec{}; }  // rows are multiples of 32
};

// What one query has gathered so far: weights relative to exp(top).
struct Softmax {
  float top;
  float sum;
};

// scores[q][p] = q . k for `count` positions.
template <typename Cache, int kCount>
void score_chunk(const AttentionArgs& args, const float* q, const std::byte* keys, int count, float (*scores)[kChunk]) {
  const size_t row_bytes = kv_row_bytes(args.kv_type, args.head_dim);
  for (int p = 0; p < count; ++p) {
    const std::byte* row = keys + p * row_bytes;
    FloatVec sums[kCount] = {};
    int i = 0;
    for (; i + kLanes <= args.head_dim; i += kLanes) {
      const FloatVec k = Cache::load(row, i);
      for (int j = 0; j < kCount; ++j) sums[j] = fma(load(q + j * args.head_dim + i), k, sums[j]);
    }
    if (const int left = args.head_dim - i; left > 0) {
      const FloatVec k = Cache::load_part(row, i, left);
      for (int j = 0; j < kCount; ++j) sums[j] = fma(load_part(q + j * args.head_dim + i, left), k, sums[j]);
    }
    for (int j = 0; j < kCount; ++j) scores[j][p] = sum_lanes(sums[j]);
  }
}

// Scales, caps and exponentiates the scores of one query; returns the factor for what was gathered before.
MOXIE_INLINE float weigh_chunk(const AttentionArgs& args, int count, float* scores, Softmax& state) {
  for (int p = count; p < kChunk; ++p) scores[p] = -__builtin_inff();
  FloatVec largest = splat(state.top);
  for (int p = 0; p < kChunk; p += kLanes) {
    FloatVec s = load(scores + p) * args.scale;
    if (args.softcap > 0) s = p < count ? args.softcap * tanh(s / args.softcap) : s;
    store(scores + p, s);
  }
  for (int p = count; p < kChunk; ++p) scores[p] = -__builtin_inff();
  for (int p = 0; p < kChunk; p += kLanes) largest = at_least(load(scores + p), largest);
  const float top = max_lanes(largest);
  FloatVec sums = {};
  for (int p = 0; p < kChunk; p += kLanes) {
    const FloatVec w = exp(load(scores + p) - top);
    store(scores + p, w);
    sums += w;
  }
  const float factor = exp(splat(state.top - top))[0];
  state.sum = fma(state.sum, factor, sum_lanes(sums));
  state.top = top;
  return factor;
}

// out[q] = out[q] * factor[q] + weights[q] . values.
template <typename Cache, int kCount>
void gather_chunk(const AttentionArgs& args, const std::byte* values, int count, const float (*weights)[kChunk],
                  const float* factors, float* out) {
  const size_t row_bytes = kv_row_bytes(args.kv_type, args.value_dim);
  int i = 0;
  for (; i + kLanes <= args.value_dim; i += kLanes) {
    FloatVec sums[kCount];
    for (int j = 0; j < kCount; ++j) sums[j] = load(out + j * args.value_dim + i) * factors[j];
    for (int p = 0; p < count; ++p) {
      const FloatVec v = Cache::load(values + p * row_bytes, i);
      for (int j = 0; j < kCount; ++j) sums[j] = fma(splat(weights[j][p]), v, sums[j]);
    }
    for (int j = 0; j < kCount; ++j) store(out + j * args.value_dim + i, sums[j]);
  }
  if (const int left = args.value_dim - i; left > 0) {
    FloatVec sums[kCount];
    for (int j = 0; j < kCount; ++j) sums[j] = load_part(out + j * args.value_dim + i, left) * factors[j];
    for (int p = 0; p < count; ++p) {
      const FloatVec v = Cache::load_part(values + p * row_bytes, i, left);
      for (int j = 0; j < kCount; ++j) sums[j] = fma(splat(weights[j][p]), v, sums[j]);
    }
    for (int j = 0; j < kCount; ++j) store_part(out + j * args.value_dim + i, sums[j], left);
  }
}

template <typename Cache, int kCount>
void attend_queries(const AttentionArgs& args, int first_query) {
  const float* q = args.q + static_cast<int64_t>(first_query) * args.head_dim;
  float* out = args.out + static_cast<int64_t>(first_query) * args.value_dim;
  const size_t key_bytes = kv_row_bytes(args.kv_type, args.head_dim);
  const size_t value_bytes = kv_row_bytes(args.kv_type, args.value_dim);
  Softmax states[kCount];
  for (int j = 0; j < kCount; ++j) {
    states[j] = args.sinks == nullptr ? Softmax{-__builtin_inff(), 0} : Softmax{args.sinks[first_query + j], 1};
  }
  std::memset(out, 0, sizeof(float) * static_cast<size_t>(kCount) * args.value_dim);

  for (int64_t position = args.first; position < args.last;) {
    const int64_t block = position / args.block_tokens;
    const int offset = static_cast<int>(position % args.block_tokens);
    const int chunk_end = (offset / kChunk + 1) * kChunk;
    int64_t end = block * args.block_tokens + (chunk_end < args.block_tokens ? chunk_end : args.block_tokens);
    if (end > args.last) end = args.last;
    const int count = static_cast<int>(end - position);

    float scores[kCount][kChunk];
    float factors[kCount];
    score_chunk<Cache, kCount>(args, q, args.k_blocks[block] + offset * key_bytes, count, scores);
    for (int j = 0; j < kCount; ++j) factors[j] = weigh_chunk(args, count, scores[j], states[j]);
    gather_chunk<Cache, kCount>(args, args.v_blocks[block] + offset * value_bytes, count, scores, factors, out);
    position = end;
  }
  for (int j = 0; j < kCount; ++j) {
    const float scale = states[j].sum > 0 ? 1 / states[j].sum : 0;
    for (int i = 0; i < args.value_dim; ++i) out[j * args.value_dim + i] *= scale;
  }
}

template <typename Cache>
void attend(const AttentionArgs& args) {
  int query = 0;
  for (; query + kQueries <= args.queries; query += kQueries) attend_queries<Cache, kQueries>(args, query);
  for (; query < args.queries; ++query) attend_queries<Cache, 1>(args, query);
}

}  // namespace

void attention(const AttentionArgs& args) {
  switch (args.kv_type) {
    case KvType::f32:
      return attend<CacheF32>(args);
    case KvType::f16:
      return attend<CacheF16>(args);
    case KvType::q8_0:
      return attend<CacheQ8>(args);
  }
}

}  // namespace moxie::MOXIE_TARGET
