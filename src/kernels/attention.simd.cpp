// Attention of some tokens over one kv head: online softmax, two blocks at a time from the first position. A row's sums
// run over dimensions, then over positions, one after another, so that they depend on its own positions alone.
#include "kernels/declare.h"

namespace moxie::MOXIE_TARGET {
namespace {

constexpr int kBlock = kKvBlockTokens;
constexpr int kPair = 2 * kBlock;            // positions taken at once: what the widest vectors want for scores
constexpr int kPart = 32;                    // dimensions that share a scale in q8_0
constexpr int kTile = kLanes == 16 ? 8 : 4;  // rows that share a read of keys and values: their sums fill the registers
constexpr int kWide = 2;                     // vectors each of them has
// Vectors of values that fewer rows take at once.
constexpr int columns_of(int rows) {
  return kTile * kWide / rows < 8 ? kTile * kWide / rows : 8;
}

// The keys of kPart dimensions from `begin` on, kLanes positions from `position` on.
struct KeysF32 {
  const float* from;
  KeysF32(const std::byte* keys, int begin, int position)
      : from(reinterpret_cast<const float*>(keys) + begin * kBlock + position) {}
  FloatVec operator[](int dimension) const { return load(from + dimension * kBlock); }
};
struct KeysF16 {
  const std::byte* from;
  KeysF16(const std::byte* keys, int begin, int position) : from(keys + (begin * kBlock + position) * 2) {}
  FloatVec operator[](int dimension) const { return load_f16(from + dimension * kBlock * 2); }
};
struct KeysQ8 {
  const int8_t* from;
  FloatVec scales;
  KeysQ8(const std::byte* keys, int begin, int position) {
    const std::byte* part = keys + begin / kPart * (kBlock * 34);
    scales = load_f16(part + 2 * position);
    from = reinterpret_cast<const int8_t*>(part + 2 * kBlock) + position;
  }
  FloatVec operator[](int dimension) const { return scales * load_int8(from + dimension * kBlock); }
};

// kLanes values at i of one position; `load_part` the first n.
struct ValuesF32 {
  static FloatVec load(const std::byte* row, int i) {
    return ::moxie::MOXIE_TARGET::load(reinterpret_cast<const float*>(row) + i);
  }
  static FloatVec load_part(const std::byte* row, int i, int n) {
    return ::moxie::MOXIE_TARGET::load_part(reinterpret_cast<const float*>(row) + i, n);
  }
};
struct ValuesF16 {
  static FloatVec load(const std::byte* row, int i) { return load_f16(row + 2 * i); }
  static FloatVec load_part(const std::byte* row, int i, int n) { return load_f16_part(row + 2 * i, n); }
};
struct ValuesQ8 {
  static FloatVec load(const std::byte* row, int i) {
    const std::byte* block = row + i / 32 * 34;
    return half_to_float(load_u16(block)) * load_int8(reinterpret_cast<const int8_t*>(block + 2) + i % 32);
  }
  static FloatVec load_part(const std::byte*, int, int) { return FloatVec{}; }  // rows are multiples of 32
};

// One query and what it has gathered so far: weights relative to exp(top).
struct Row {
  const float* q;
  float* out;
  float top, sum;
};

// Two blocks of positions, of which rows see [first, last).
struct Pair {
  const std::byte *keys[2], *values[2];
  const std::byte *next_keys[2], *next_values[2];  // fetched ahead
  int first, last;
};

// scores[r][p] = q of row r . key p, for all positions of the pair, seen or not.
template <typename Keys, int kRows>
MOXIE_INLINE void score(const AttentionArgs& args, const Pair& pair, const Row* rows, float (*scores)[kPair]) {
  const size_t line = kv_row_bytes(args.kv_type, args.head_dim) * kBlock / static_cast<size_t>(args.head_dim);
  static_assert(kBlock % kLanes == 0 && kPair % (kWide * kLanes) == 0);
  for (int position = 0; position < kPair; position += kWide * kLanes) {
    const int beyond = position + kLanes;
    FloatVec sums[kRows][kWide] = {};
    for (int begin = 0; begin < args.head_dim; begin += kPart) {
      const Keys near(pair.keys[position / kBlock], begin, position % kBlock);
      const Keys far(pair.keys[beyond / kBlock], begin, beyond % kBlock);
      const int count = args.head_dim - begin < kPart ? args.head_dim - begin : kPart;
      for (int i = 0; i < count; ++i) {
        // Two dimensions of one block, then of the other: they share a line of the cache in f16.
        if (position == 0) __builtin_prefetch(pair.next_keys[i % 2] + static_cast<size_t>(begin + i - i % 2) * line);
        const FloatVec a = near[i], b = far[i];
        for (int r = 0; r < kRows; ++r) {
          const FloatVec q = splat(rows[r].q[begin + i]);
          sums[r][0] = fma(q, a, sums[r][0]);
          sums[r][1] = fma(q, b, sums[r][1]);
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
      store(scores[r] + position, sums[r][0]);
      store(scores[r] + position + kLanes, sums[r][1]);
    }
  }
}

// Scales, caps and exponentiates the scores of one row; returns the factor for what was gathered before.
MOXIE_INLINE float weigh(const AttentionArgs& args, const Pair& pair, float* scores, Row& row) {
  constexpr int kVectors = kPair / kLanes;
  FloatVec s[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    s[v] = load(scores + v * kLanes) * args.scale;
    if (args.softcap > 0) s[v] = args.softcap * tanh(s[v] / args.softcap);
  }
  if (pair.first > 0 || pair.last < kPair) {
    for (int v = 0; v < kVectors; ++v) store(scores + v * kLanes, s[v]);
    for (int p = 0; p < pair.first; ++p) scores[p] = -__builtin_inff();
    for (int p = pair.last; p < kPair; ++p) scores[p] = -__builtin_inff();
    for (int v = 0; v < kVectors; ++v) s[v] = load(scores + v * kLanes);
  }
  FloatVec largest = splat(row.top);
  for (int v = 0; v < kVectors; ++v) largest = at_least(s[v], largest);
  const float top = max_lanes(largest);
  FloatVec sums = {};
  for (int v = 0; v < kVectors; ++v) {
    const FloatVec w = exp(s[v] - top);
    store(scores + v * kLanes, w);
    sums += w;
  }
  const float factor = row.top == top ? 1.0f : exp(splat(row.top - top))[0];
  row.sum = fma(row.sum, factor, sum_lanes(sums));
  row.top = top;
  return factor;
}

// out of row r = out * factor[r] + weights[r] . values, for kVectors vectors from i on (the first `left` lanes of one
// if left > 0). The first columns ask for the next pair's values: each position for those of its successor, line by
// line as it goes, since a burst of a pair's lines waits for room among the requests under way.
template <typename Values, int kRows, int kVectors>
MOXIE_INLINE void gather_columns(const Pair& pair, size_t row_bytes, int i, int left, const float (*weights)[kPair],
                                 const float* factors, const Row* rows) {
  FloatVec sums[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      const float* out = rows[r].out + i + v * kLanes;
      sums[r][v] = (left > 0 ? load_part(out, left) : load(out)) * factors[r];
    }
  }
  for (int half = 0; half < 2; ++half) {
    const int begin = half * kBlock, end = begin + kBlock < pair.last ? begin + kBlock : pair.last;
    int p = begin > pair.first ? begin : pair.first;
    const size_t offset = static_cast<size_t>(p - begin) * row_bytes;
    const std::byte *values = pair.values[half] + offset, *next = pair.next_values[half] + offset;
    for (; p < end; ++p, values += row_bytes, next += row_bytes) {
      if (i == 0) {
        for (size_t at = 0; at < row_bytes; at += 64) __builtin_prefetch(next + at);
      }
      FloatVec value[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        value[v] = left > 0 ? Values::load_part(values, i, left) : Values::load(values, i + v * kLanes);
      }
      for (int r = 0; r < kRows; ++r) {
        const FloatVec weight = splat(weights[r][p]);
        for (int v = 0; v < kVectors; ++v) sums[r][v] = fma(weight, value[v], sums[r][v]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      float* out = rows[r].out + i + v * kLanes;
      if (left > 0) {
        store_part(out, sums[r][v], left);
      } else {
        store(out, sums[r][v]);
      }
    }
  }
}

template <typename Values, int kRows>
MOXIE_INLINE void gather(const AttentionArgs& args, const Pair& pair, const float (*weights)[kPair],
                         const float* factors, const Row* rows) {
  const size_t row_bytes = kv_row_bytes(args.kv_type, args.value_dim);
  int i = 0;
  constexpr int kColumns = columns_of(kRows);
  if constexpr (kColumns > kWide) {
    for (; i + kColumns * kLanes <= args.value_dim; i += kColumns * kLanes) {
      gather_columns<Values, kRows, kColumns>(pair, row_bytes, i, 0, weights, factors, rows);
    }
  }
  for (; i + kWide * kLanes <= args.value_dim; i += kWide * kLanes) {
    gather_columns<Values, kRows, kWide>(pair, row_bytes, i, 0, weights, factors, rows);
  }
  for (; i + kLanes <= args.value_dim; i += kLanes) {
    gather_columns<Values, kRows, 1>(pair, row_bytes, i, 0, weights, factors, rows);
  }
  if (i < args.value_dim) {
    gather_columns<Values, kRows, 1>(pair, row_bytes, i, args.value_dim - i, weights, factors, rows);
  }
}

template <typename Keys, typename Values, int kRows>
void attend_tile(const AttentionArgs& args, const Pair& pair, Row* rows) {
  alignas(64) float scores[kRows][kPair];
  float factors[kRows];
  score<Keys, kRows>(args, pair, rows, scores);
  for (int r = 0; r < kRows; ++r) factors[r] = weigh(args, pair, scores[r], rows[r]);
  gather<Values, kRows>(args, pair, scores, factors, rows);
}

template <typename Keys, typename Values>
void attend_pair(const AttentionArgs& args, const Pair& pair, Row* rows, int count) {
  int r = 0;
  for (; r + kTile <= count; r += kTile) attend_tile<Keys, Values, kTile>(args, pair, rows + r);
  if constexpr (kTile > 4) {
    for (; r + 4 <= count; r += 4) attend_tile<Keys, Values, 4>(args, pair, rows + r);
  }
  for (; r + 2 <= count; r += 2) attend_tile<Keys, Values, 2>(args, pair, rows + r);
  for (; r < count; ++r) attend_tile<Keys, Values, 1>(args, pair, rows + r);
}

// The first position that the token at `position` sees.
MOXIE_INLINE int64_t first_seen(const AttentionArgs& args, int64_t position) {
  return args.window > 0 && position >= args.window ? position + 1 - args.window : 0;
}

template <typename Keys, typename Values>
void attend(const AttentionArgs& args) {
  if (args.tokens <= 0) return;
  Row rows[kMaxAttentionRows];
  const int count = static_cast<int>(args.tokens) * args.queries;
  for (int r = 0; r < count; ++r) {
    const int token = r / args.queries, query = r % args.queries;
    rows[r] = {args.q + token * args.q_stride + query * args.head_dim,
               args.out + token * args.out_stride + query * args.value_dim,
               args.sinks == nullptr ? -__builtin_inff() : args.sinks[query], args.sinks == nullptr ? 0.0f : 1.0f};
    std::memset(rows[r].out, 0, sizeof(float) * static_cast<size_t>(args.value_dim));
  }
  const int64_t end = args.first_position + args.tokens;
  const int64_t last_block = (end - 1) / kBlock;
  const auto block_at = [&](int64_t b) { return args.blocks[b < last_block ? b : last_block]; };
  for (int64_t b = first_seen(args, args.first_position) / kPair * 2; b <= last_block; b += 2) {
    Pair pair;
    for (int half = 0; half < 2; ++half) {
      pair.keys[half] = block_at(b + half) + args.k_offset;
      pair.values[half] = block_at(b + half) + args.v_offset;
      pair.next_keys[half] = block_at(b + 2 + half) + args.k_offset;
      pair.next_values[half] = block_at(b + 2 + half) + args.v_offset;
    }
    pair.first = 0;
    pair.last = kPair;
    const int64_t begin = b * kBlock;
    if (begin + kPair <= args.first_position + 1 && begin >= first_seen(args, end - 1)) {
      attend_pair<Keys, Values>(args, pair, rows, count);
      continue;
    }
    for (int token = 0; token < args.tokens; ++token) {  // each sees another part of the pair
      const int64_t position = args.first_position + token, first = first_seen(args, position);
      pair.first = first > begin ? static_cast<int>(first - begin < kPair ? first - begin : kPair) : 0;
      pair.last = position + 1 - begin < kPair ? static_cast<int>(position + 1 - begin) : kPair;
      if (pair.first >= pair.last) continue;
      attend_pair<Keys, Values>(args, pair, rows + token * args.queries, args.queries);
    }
  }
  for (int r = 0; r < count; ++r) {
    const float scale = rows[r].sum > 0 ? 1 / rows[r].sum : 0;
    for (int i = 0; i < args.value_dim; ++i) rows[r].out[i] *= scale;
  }
}

}  // namespace

void attention(const AttentionArgs& args) {
  switch (args.kv_type) {
    case KvType::f32:
      return attend<KeysF32, ValuesF32>(args);
    case KvType::f16:
      return attend<KeysF16, ValuesF16>(args);
    case KvType::q8_0:
      return attend<KeysQ8, ValuesQ8>(args);
  }
}

}  // namespace moxie::MOXIE_TARGET
