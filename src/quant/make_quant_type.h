// Makes a QuantType entry from a block's layout and a few functions; for the *.simd.cpp files under types/ only. All
// parts are internal to the including file (see core/simd.h). Pure functions; thread-safe.
//
// A type gives, as template arguments in this order:
//   Block     the bytes of a block as they stand in files; a packed struct, since weights may lie at any address
//   kValues   numbers in a block
//   encode    void(const float* from, const float* importance, Block* to), one block; importance may be null; or
//   nullptr decode    void(const Block& from, float* to), one block; nullptr for types that are only recognised
//   multiply  how its products are computed, one of
//               nothing                                                decoded block by block, float activations
//               float(const Block*, const ActBlock32*, int64_t blocks)   the dot product of one row and one token
//               float(const Block*, const ActBlock256*, int64_t blocks)  likewise
//               void(const MultiplyArgs&)                              everything; say facts.activations
// Order of sums: one (row, token) is summed the same way in every call. For integer products: exact integers within a
// block, then one chain of fma() over blocks from the first to the last.
#pragma once

#include "core/simd.h"
#include "quant/activations.h"
#include "quant/multiply_float.h"
#include "quant/quant_type.h"

namespace moxie::MOXIE_TARGET {
namespace {

struct QuantTypeFacts {
  std::string_view name;
  std::string_view summary;
  int gguf_id = -1;
  float max_relative_error = 0;
  ActFormat activations = ActFormat::f32;  // used only with a multiply of the third kind
  int halves_at = -1;                      // where its multiply takes interleaved rows
  int halves = 0;
  int word_bytes = 4;
  const QuantType* fast = nullptr;
};

template <typename A, typename B>
inline constexpr bool kSame = false;
template <typename A>
inline constexpr bool kSame<A, A> = true;

template <typename Block, auto kEncode, int kValues>
void encode_blocks(const float* from, std::byte* to, int64_t blocks, const float* importance) {
  for (int64_t i = 0; i < blocks; ++i) {
    kEncode(from + i * kValues, importance == nullptr ? nullptr : importance + i * kValues,
            reinterpret_cast<Block*>(to) + i);
  }
}

template <typename Block, auto kDecode, int kValues>
void decode_blocks(const std::byte* from, float* to, int64_t blocks) {
  for (int64_t i = 0; i < blocks; ++i) kDecode(reinterpret_cast<const Block*>(from)[i], to + i * kValues);
}

template <typename Block, typename Act, auto kDot, int kValues>
void multiply_by_dot(const MultiplyArgs& args) {
  const int64_t blocks = args.columns / kValues;
  for (int64_t row = 0; row < args.rows; ++row) {
    const Block* weights = reinterpret_cast<const Block*>(args.weights + row * args.row_bytes);
    for (int64_t token = 0; token < args.tokens; ++token) {
      const Act* x = reinterpret_cast<const Act*>(args.activations + token * args.activation_row_bytes);
      args.out[token * args.out_stride + row] = kDot(weights, x, blocks);
    }
  }
}

template <typename Block, int kValues, auto kEncode, auto kDecode, auto kMultiply = nullptr>
constexpr QuantType make_quant_type(const QuantTypeFacts& facts) {
  static_assert(alignof(Block) == 1, "declare the block [[gnu::packed]]: weights may lie at any address");
  using None = decltype(nullptr);
  using Dot32 = float (*)(const Block*, const ActBlock32*, int64_t);
  using Dot256 = float (*)(const Block*, const ActBlock256*, int64_t);
  using Multiply = decltype(kMultiply);
  QuantType type;
  type.name = facts.name;
  type.summary = facts.summary;
  type.gguf_id = facts.gguf_id;
  type.block_values = kValues;
  type.block_bytes = sizeof(Block);
  type.max_relative_error = facts.max_relative_error;
  type.activations = facts.activations;
  type.halves_at = facts.halves_at;
  type.halves = facts.halves;
  type.word_bytes = facts.word_bytes;
  type.fast = facts.fast;
  if constexpr (!kSame<decltype(kEncode), None>) type.encode = encode_blocks<Block, kEncode, kValues>;
  if constexpr (!kSame<decltype(kDecode), None>) {
    type.decode = decode_blocks<Block, kDecode, kValues>;
    type.native = !kSame<Multiply, None>;
    if constexpr (kSame<Multiply, None>) {
      type.multiply = multiply_float<DecodedSource<Block, kDecode, kValues>>;
    } else if constexpr (kSame<Multiply, Dot32>) {
      type.activations = ActFormat::q8_32;
      type.multiply = multiply_by_dot<Block, ActBlock32, kMultiply, kValues>;
    } else if constexpr (kSame<Multiply, Dot256>) {
      type.activations = ActFormat::q8_256;
      type.multiply = multiply_by_dot<Block, ActBlock256, kMultiply, kValues>;
    } else {
      type.multiply = kMultiply;
    }
  }
  return type;
}

// A type that moxie recognises and sizes but cannot compute.
constexpr QuantType recognised_only(std::string_view name, std::string_view summary, int gguf_id, int block_values,
                                    int block_bytes) {
  QuantType type;
  type.name = name;
  type.summary = summary;
  type.gguf_id = gguf_id;
  type.block_values = block_values;
  type.block_bytes = block_bytes;
  return type;
}

// Rounded to nearest even and clamped; NaN gives low. For encoders: the same on every target.
MOXIE_INLINE int round_clamped(float x, int low, int high) {
  if (!(x > static_cast<float>(low))) return low;
  if (x >= static_cast<float>(high)) return high;
  return static_cast<int>((x + 0x1.8p23f) - 0x1.8p23f);
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET
