// Products of matrices whose parts lie apart and that have no kernel of their own: decoded panel by panel, float
// activations. For the *.simd.cpp files under parted/ only. Sums have the order that multiply_float.h tells.
#pragma once

#include "quant/multiply_float.h"

namespace moxie::MOXIE_TARGET {
namespace {

template <auto kDecode>
class DecodedParts : public FloatPanel {
 public:
  void take(const MultiplyArgs& args, int64_t row, int rows, int64_t column, int64_t count) {
    for (int r = 0; r < rows; ++r) {
      float* to = reinterpret_cast<float*>(panel_[r]);
      kDecode(*args.parted, args.first_row + row + r, column, count, to);
      for (int64_t i = count; i % kLanes != 0; ++i) to[i] = 0;  // else they are of an earlier, longer part
    }
  }
  static void add_ahead(const MultiplyArgs&, int64_t, int, int64_t, int64_t, RowsAhead&) {}
};

struct PartedFacts {
  std::string_view name;
  std::string_view summary;
  std::string_view twin = {};
};

// A type that is decoded as it is used.
template <auto kDecode>
constexpr QuantType make_decoded_type(const PartedFacts& facts) {
  QuantType type;
  type.name = facts.name;
  type.summary = facts.summary;
  type.twin = facts.twin;
  type.block_values = 1;
  type.activations = ActFormat::f32;
  type.decode_columns = kDecode;
  type.multiply = multiply_float_parts<DecodedParts<kDecode>>;
  return type;
}

// A type with a product of its own on 8-bit activations. REQUIRES of its layouts: groups of whole 32s.
template <auto kDecode, auto kMultiply>
constexpr QuantType make_parted_type(const PartedFacts& facts) {
  QuantType type = make_decoded_type<kDecode>(facts);
  type.activations = ActFormat::q8_32;
  type.multiply = kMultiply;
  type.native = true;
  return type;
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET
