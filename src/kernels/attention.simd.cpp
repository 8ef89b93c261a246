// Attention of some tokens over some kv heads: online softmax, two blocks at a time from the first position. A row's
// sums run over dimensions, then over positions, one after another, so that they depend on its own positions alone.
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

// kVectors vectors of one position's values from i on; `load_part` the first n at i. REQUIRES of q8_0: they fill whole
// parts of kPart values, or lie within one.
struct ValuesF32 {
  template <int kVectors>
  MOXIE_INLINE static void load(const std::byte* row, int i, FloatVec* to) {
    for (int v = 0; v < kVectors; ++v) {
      to[v] = ::moxie::MOXIE_TARGET::load(reinterpret_cast<const float*>(row) + i + v * kLanes);
    }
  }
  static FloatVec load_part(const std::byte* row, int i, int n) {
    return ::moxie::MOXIE_TARGET::load_part(reinterpret_cast<const float*>(row) + i, n);
  }
};
struct ValuesF16 {
  template <int kVectors>
  MOXIE_INLINE static void load(const std::byte* row, int i, FloatVec* to) {
    for (int v = 0; v < kVectors; ++v) to[v] = load_f16(row + 2 * (i + v * kLanes));
  }
  static FloatVec load_part(const std::byte* row, int i, int n) { return load_f16_part(row + 2 * i, n); }
};
struct ValuesQ8 {
  template <int kVectors>
  MOXIE_INLINE static void load(const std::byte* row, int i, FloatVec* to) {
    constexpr int kStep = kPart / kLanes < kVectors ? kPart / kLanes : kVectors;  // that share a scale
    static_assert(kVectors % kStep == 0);
    for (int first = 0; first < kVectors; first += kStep) {
      const int at = i + first * kLanes;
      const std::byte* block = row + at / kPart * (kPart + 2);
      const FloatVec scale = splat(half_to_float(load_u16(block)));
      for (int v = 0; v < kStep; ++v) {
        to[first + v] = scale * load_int8(reinterpret_cast<const int8_t*>(block + 2) + at % kPart + v * kLanes);
      }
    }
  }
  static FloatVec load_part(const std::byte*, int, int) { return FloatVec{}; }  // rows are multiples of 32
};

// One query and what it has gathered so far: weights relative to exp(top).
struct Row {
  const float* q;
  float* out;
  float top, sum;
};

// Two blocks of positions of one kv head, of which rows see [first, last).
struct Pair {
  const std::byte *keys[2], *values[2];
  int first, last;
};

// One loop for all that ask, for the reason that ask_once() in quant/rows.h gives.
[[gnu::noinline]] void ask_for_lines(const std::byte* from, size_t lines) {
#pragma GCC unroll 1
  for (size_t i = 0; i < lines; ++i) {
    asm volatile("");  // else a call has no effect that a compiler knows of
    __builtin_prefetch(from + 64 * i);
  }
}

// What all kv heads of a call have in the next two blocks, asked for in the order in which it lies: processors learn
// long streams by themselves, and one head's part of a block is a short one.
class BlocksAhead {
 public:
  void add(const std::byte* from, size_t bytes) {
    blocks_[count_++] = {reinterpret_cast<uintptr_t>(from), (bytes + 63) / 64};
  }
  MOXIE_INLINE void ask(size_t lines) {
    if (at_ == count_) return;
    Block& block = blocks_[at_];
    if (lines > block.lines) lines = block.lines;
    ask_for_lines(reinterpret_cast<const std::byte*>(block.next), lines);
    block.next += 64 * lines;
    block.lines -= lines;
    if (block.lines == 0) ++at_;
  }

 private:
  struct Block {
    uintptr_t next = 0;
    size_t lines = 0;
  };
  Block blocks_[2];
  int count_ = 0, at_ = 0;
};
// A burst of all lines would wait for room among the requests under way.
constexpr int kAskedDimensions = 8, kAskedPositions = 4;

// scores[r][p] = q of row r . key p, for all positions of the pair, seen or not.
template <typename Keys, int kRows>
MOXIE_INLINE void score(const AttentionArgs& args, const Pair& pair, BlocksAhead& ahead, const Row* rows,
                        float (*scores)[kPair]) {
  static_assert(kBlock % kLanes == 0 && kPair % (kWide * kLanes) == 0);
  for (int position = 0; position < kPair; position += kWide * kLanes) {
    const int beyond = position + kLanes;
    FloatVec sums[kRows][kWide] = {};
    for (int begin = 0; begin < args.head_dim; begin += kPart) {
      const Keys near(pair.keys[position / kBlock], begin, position % kBlock);
      const Keys far(pair.keys[beyond / kBlock], begin, beyond % kBlock);
      const int count = args.head_dim - begin < kPart ? args.head_dim - begin : kPart;
      for (int i = 0; i < count; ++i) {
        if (position == 0 && i % kAskedDimensions == 0) ahead.ask(kAskedDimensions);
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
// if left > 0). For each position `lines` lines ahead are asked for.
template <typename Values, int kRows, int kVectors>
MOXIE_INLINE void gather_columns(const Pair& pair, BlocksAhead& ahead, size_t lines, size_t row_bytes, int i, int left,
                                 const float (*weights)[kPair], const float* factors, const Row* rows) {
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
    const std::byte* values = pair.values[half] + static_cast<size_t>(p - begin) * row_bytes;
    for (; p < end; ++p, values += row_bytes) {
      if (lines > 0 && p % kAskedPositions == 0) ahead.ask(kAskedPositions * lines);
      FloatVec value[kVectors];
      if (left > 0) {
        value[0] = Values::load_part(values, i, left);
      } else {
        Values::template load<kVectors>(values, i, value);
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
MOXIE_INLINE void gather(const AttentionArgs& args, const Pair& pair, BlocksAhead& ahead, const float (*weights)[kPair],
                         const float* factors, const Row* rows) {
  const size_t row_bytes = kv_row_bytes(args.kv_type, args.value_dim);
  // The first columns ask for what scores leave of two blocks, having asked for a line at each dimension.
  const size_t all = 2 * args.head_bytes / 64, asked = static_cast<size_t>(args.head_dim);
  const size_t lines = all > asked ? (all - asked + kPair - 1) / kPair : 0;
  int i = 0;
  constexpr int kColumns = columns_of(kRows);
  if constexpr (kColumns > kWide) {
    for (; i + kColumns * kLanes <= args.value_dim; i += kColumns * kLanes) {
      gather_columns<Values, kRows, kColumns>(pair, ahead, i == 0 ? lines : 0, row_bytes, i, 0, weights, factors, rows);
    }
  }
  for (; i + kWide * kLanes <= args.value_dim; i += kWide * kLanes) {
    gather_columns<Values, kRows, kWide>(pair, ahead, i == 0 ? lines : 0, row_bytes, i, 0, weights, factors, rows);
  }
  for (; i + kLanes <= args.value_dim; i += kLanes) {
    gather_columns<Values, kRows, 1>(pair, ahead, i == 0 ? lines : 0, row_bytes, i, 0, weights, factors, rows);
  }
  if (i < args.value_dim) {
    gather_columns<Values, kRows, 1>(pair, ahead, i == 0 ? lines : 0, row_bytes, i, args.value_dim - i, weights,
                                     factors, rows);
  }
}

template <typename Keys, typename Values, int kRows>
void attend_tile(const AttentionArgs& args, const Pair& pair, BlocksAhead& ahead, Row* rows) {
  alignas(64) float scores[kRows][kPair];
  float factors[kRows];
  score<Keys, kRows>(args, pair, ahead, rows, scores);
  for (int r = 0; r < kRows; ++r) factors[r] = weigh(args, pair, scores[r], rows[r]);
  gather<Values, kRows>(args, pair, ahead, scores, factors, rows);
}

template <typename Keys, typename Values>
void attend_pair(const AttentionArgs& args, const Pair& pair, BlocksAhead& ahead, Row* rows, int count) {
  int r = 0;
  for (; r + kTile <= count; r += kTile) attend_tile<Keys, Values, kTile>(args, pair, ahead, rows + r);
  if constexpr (kTile > 4) {
    for (; r + 4 <= count; r += 4) attend_tile<Keys, Values, 4>(args, pair, ahead, rows + r);
  }
  for (; r + 2 <= count; r += 2) attend_tile<Keys, Values, 2>(args, pair, ahead, rows + r);
  for (; r < count; ++r) attend_tile<Keys, Values, 1>(args, pair, ahead, rows + r);
}

// The first position that the token at `position` sees.
MOXIE_INLINE int64_t first_seen(const AttentionArgs& args, int64_t position) {
  return args.window > 0 && position >= args.window ? position + 1 - args.window : 0;
}

template <typename Keys, typename Values>
void attend(const AttentionArgs& args) {
  if (args.tokens <= 0) return;
  Row rows[kMaxAttentionRows];
  const int of_head = static_cast<int>(args.tokens) * args.queries, count = args.kv_heads * of_head;
  for (int r = 0; r < count; ++r) {
    const int head = r / of_head, token = r % of_head / args.queries, query = head * args.queries + r % args.queries;
    rows[r] = {args.q + token * args.q_stride + query * args.head_dim,
               args.out + token * args.out_stride + query * args.value_dim,
               args.sinks == nullptr ? -__builtin_inff() : args.sinks[query], args.sinks == nullptr ? 0.0f : 1.0f};
    std::memset(rows[r].out, 0, sizeof(float) * static_cast<size_t>(args.value_dim));
  }
  const int64_t end = args.first_position + args.tokens;
  const int64_t last_block = (end - 1) / kBlock;
  const auto block_at = [&](int64_t b) { return args.blocks[b < last_block ? b : last_block] + args.offset; };
  for (int64_t b = first_seen(args, args.first_position) / kPair * 2; b <= last_block; b += 2) {
    BlocksAhead ahead;
    for (int64_t next = b + 2; next < b + 4 && next <= last_block; ++next) {
      ahead.add(block_at(next), static_cast<size_t>(args.kv_heads) * args.head_bytes);
    }
    const int64_t begin = b * kBlock;
    const bool all_see_all = begin + kPair <= args.first_position + 1 && begin >= first_seen(args, end - 1);
    for (int head = 0; head < args.kv_heads; ++head) {
      Row* const rows_of_head = rows + head * of_head;
      Pair pair;
      for (int half = 0; half < 2; ++half) {
        pair.keys[half] = block_at(b + half) + static_cast<size_t>(head) * args.head_bytes;
        pair.values[half] = pair.keys[half] + args.key_bytes;
      }
      pair.first = 0;
      pair.last = kPair;
      if (all_see_all) {
        attend_pair<Keys, Values>(args, pair, ahead, rows_of_head, of_head);
        continue;
      }
      for (int token = 0; token < args.tokens; ++token) {  // each sees another part of the pair
        const int64_t position = args.first_position + token, first = first_seen(args, position);
        pair.first = first > begin ? static_cast<int>(first - begin < kPair ? first - begin : kPair) : 0;
        pair.last = position + 1 - begin < kPair ? static_cast<int>(position + 1 - begin) : kPair;
        if (pair.first >= pair.last) continue;
        attend_pair<Keys, Values>(args, pair, ahead, rows_of_head + token * args.queries, args.queries);
      }
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
