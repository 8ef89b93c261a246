// bitsandbytes. 4 bits: part 0 codes, all rows one after another, the first in the high half of a byte; part 1 the
// largest magnitude of every block of `group` values, as float, or as one byte that part 4 gives a value, times part 3
// for every `group_rows` blocks, plus `constant`; part 2 what the 16 codes stand for. 8 bits: part 0 signed bytes, part
// 1 the largest magnitude of every row.
#include "quant/parted_float.h"
#include "quant/parted_rows.h"

namespace moxie::MOXIE_TARGET {
namespace {

MOXIE_INLINE float block_maximum(const PartedWeights& from, int64_t block) {
  if (from.layout.scales == ScaleFormat::f32) return read_number(ScaleFormat::f32, from.part[1], block);
  const float code = read_number(ScaleFormat::f32, from.part[4], static_cast<uint8_t>(from.part[1][block]));
  return code * read_number(ScaleFormat::f32, from.part[3], block / from.layout.group_rows) + from.layout.constant;
}

void decode_codes(const PartedWeights& from, int64_t row, int64_t column, int64_t count, float* to) {
  const PartedLayout& layout = from.layout;
  float values[16];
  std::memcpy(values, from.part[2], sizeof values);
  int64_t block = -1;
  float maximum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = row * layout.columns + column + i;
    if (at / layout.group != block) {
      block = at / layout.group;
      maximum = block_maximum(from, block);
    }
    const auto two = static_cast<uint8_t>(from.part[0][at / 2]);
    to[i] = values[at % 2 == 0 ? two >> 4 : two & 15] * maximum;
  }
}

constexpr float kStep = 1.0f / 127.0f;

void decode_bytes(const PartedWeights& from, int64_t row, int64_t column, int64_t count, float* to) {
  const float maximum = read_number(ScaleFormat::f32, from.part[1], row);
  const std::byte* numbers = from.part[0] + row * from.layout.columns + column;
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(static_cast<int8_t>(numbers[i])) * maximum * kStep;
}

struct [[gnu::packed]] SignedBytes32 {
  int8_t bytes[32];
};
struct EightBits {
  using Block = SignedBytes32;
  struct Groups {
    FloatVec maxima;
    void begin(const PartedWeights& from, const int64_t (&rows)[kLanes]) {
      float lanes[kLanes];
      for (int r = 0; r < kLanes; ++r) lanes[r] = read_number(ScaleFormat::f32, from.part[1], rows[r]);
      maxima = MOXIE_TARGET::load(lanes);
    }
    MOXIE_INLINE void load(int64_t, FloatVec& scale, FloatVec&) const { scale = maxima * kStep; }
  };
  static constexpr bool kSigned = true, kMinimum = false;
  static constexpr int kLargest = 128, kOffset = 0;
  MOXIE_INLINE static Bytes64 unpack(const Block& a, const Block& b) { return load_32_32(a.bytes, b.bytes); }
};

}  // namespace

extern constinit const QuantType bnb4 =
    make_decoded_type<decode_codes>({.name = "bnb4", .summary = "bitsandbytes nf4 and fp4"});
extern constinit const QuantType bnb8 = make_parted_type<decode_bytes, multiply_parted_rows<EightBits>>(
    {.name = "bnb8", .summary = "bitsandbytes int8, a scale for every row"});

}  // namespace moxie::MOXIE_TARGET
