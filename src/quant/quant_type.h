// A weight type: how a block of numbers is stored, encoded, decoded and multiplied. Entries are compile-time constants,
// one file each under types/, compiled once per CPU target; types.inc lists them. All functions are thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "quant/parted.h"

namespace moxie {

// How activations are stored for a type's products. Every format holds a row of `columns` values, row after row.
enum class ActFormat : uint8_t {
  f32,     // float
  q8_32,   // ActBlock32 (activations.h): 32 int8 with one scale; columns % 32 == 0
  q8_256,  // ActBlock256 (activations.h): 256 int8 with one scale and sums of 16; columns % 256 == 0
  bf16,    // the nearest bfloat16, zeros from the last column to a multiple of 32
};
constexpr int kActFormats = 4;

// out[t * out_stride + r] = dot(weight row r, activation row t) for every r < rows, t < tokens.
// The value for one (r, t) never depends on the other rows and tokens of the call: same products, same order of sums.
struct MultiplyArgs {
  const std::byte* weights;  // rows of row_bytes each, any alignment
  size_t row_bytes;
  int64_t rows;
  int64_t columns;               // a multiple of block_values
  const std::byte* activations;  // `tokens` rows in the type's ActFormat
  size_t activation_row_bytes;
  int64_t tokens;
  float* out;
  int64_t out_stride;  // in floats
  // Types whose parts lie apart: their matrix, of which the rows from first_row on are meant; weights and row_bytes
  // mean nothing then.
  const PartedWeights* parted = nullptr;
  int64_t first_row = 0;
  // Whole groups of kInterleavedRows rows are interleaved (interleave.h); `weights` is where one begins.
  bool interleaved = false;
};

struct QuantType {
  std::string_view name;  // "q4_k", as users type it
  std::string_view summary;
  int gguf_id = -1;  // the type id in GGUF files
  // Of a type whose parts lie apart: the type of types.inc that holds the same numbers without loss. Empty: none does.
  std::string_view twin = {};
  int block_values = 0;  // numbers in a block
  int block_bytes = 0;
  float max_relative_error = 0;  // rms(encode then decode - x) / rms(x) on normal data; 0 where there is no encode
  ActFormat activations = ActFormat::f32;
  // Null where a type is recognised and sized but cannot be computed (codebook types): refused by name.
  void (*decode)(const std::byte* from, float* to, int64_t blocks) = nullptr;
  // Null where moxie does not write the type. importance: one weight per value (null: none), as an importance matrix
  // gives.
  void (*encode)(const float* from, std::byte* to, int64_t blocks, const float* importance) = nullptr;
  // Never null where decode is not. Types without a kernel of their own decode a block into a small buffer and use it
  // for all tokens; such a type has native == false.
  void (*multiply)(const MultiplyArgs&) = nullptr;
  bool native = false;
  // The same weights with products that are faster and less exact, for those who ask for them (--fast). Null: none are.
  const QuantType* fast = nullptr;
  // For types whose rows can be interleaved: where in a block its neighbouring 16-bit numbers stand, and how many; and
  // the bytes of a row that stay together, of the rest of a block or, where they are more, of some blocks.
  int halves_at = -1;
  int halves = 0;
  int word_bytes = 4;
  // In place of decode for types whose parts lie apart (parted.inc; block_values is 1, block_bytes 0): columns
  // [column, column + count) of a row. REQUIRES: column is a multiple of 32.
  void (*decode_columns)(const PartedWeights& from, int64_t row, int64_t column, int64_t count, float* to) = nullptr;

  bool parted() const { return decode_columns != nullptr; }
  // Words that are parts of blocks need no whole number of them.
  bool can_interleave(int64_t columns) const {
    return halves_at >= 0 && (word_bytes <= block_bytes || row_bytes(columns) % word_bytes == 0);
  }
  bool computable() const { return decode != nullptr || parted(); }
  // Bytes of a row of `columns` values. REQUIRES: columns % block_values == 0.
  constexpr int64_t row_bytes(int64_t columns) const { return columns / block_values * block_bytes; }
};

struct CpuTarget;  // kernels/select.h

// Every type of types.inc, in its order, as compiled for a target ("baseline", "avx2", ...; empty span if there is no
// such target). The baseline table serves as the list of facts (name, id, sizes), the same in every target.
std::span<const QuantType* const> quant_types(std::string_view target = "baseline");
// Types whose parts lie apart, in the order of parted.inc.
std::span<const QuantType* const> parted_types(std::string_view target = "baseline");
// Of either kind.
const QuantType* find_quant_type(std::string_view name, std::string_view target = "baseline");
// Are its numbers floats as they were trained, in whatever order they lie?
bool is_unquantized(const QuantType& type);
// `type`, or its faster products where it has some and this CPU can compute them.
const QuantType* fast_quant_type(const QuantType& type);
const QuantType* find_quant_type_by_gguf_id(int id, std::string_view target = "baseline");
// For ids that are in no file moxie can read: what they are ("removed in 2024, use Q4_0", "private to ik_llama.cpp:
// IQ4_K"). Empty when the id is unknown.
std::string_view describe_gguf_type_id(int64_t id);

}  // namespace moxie
