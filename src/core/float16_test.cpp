#include "core/float16.h"

#include <gtest/gtest.h>

#include <cmath>

namespace moxie {
namespace {

TEST(Float16, EveryHalfSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = float_from_f16(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(f16_from_float(value), bits) << value;
  }
}

TEST(Float16, AgreesWithTheCompilersHalf) {
#ifndef __FLT16_MAX__
  GTEST_SKIP() << "this compiler has no half type on this architecture to compare with";
#else
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    _Float16 native;
    std::memcpy(&native, &half, sizeof native);
    const float expected = static_cast<float>(native);
    const float found = float_from_f16(half);
    ASSERT_TRUE(found == expected || (std::isnan(found) && std::isnan(expected))) << bits;
  }
  // Halfway cases and neighbours, over the whole range.
  for (uint64_t bits = 0; bits < (1ull << 31); bits += 0x1fffull / 3) {
    const float value = float_from_bits(static_cast<uint32_t>(bits));
    if (std::isnan(value)) continue;
    const _Float16 native = static_cast<_Float16>(value);
    uint16_t expected;
    std::memcpy(&expected, &native, sizeof expected);
    ASSERT_EQ(f16_from_float(value), expected) << value;
  }
#endif
}

TEST(Float16, Bf16RoundsToNearestEven) {
  EXPECT_EQ(bf16_from_float(1.0f), 0x3f80);
  EXPECT_EQ(bf16_from_float(float_from_bits(0x3f808000)), 0x3f80);  // a tie goes to the even neighbour
  EXPECT_EQ(bf16_from_float(float_from_bits(0x3f818000)), 0x3f82);
  EXPECT_EQ(bf16_from_float(float_from_bits(0x3f808001)), 0x3f81);
  EXPECT_TRUE(std::isnan(float_from_bf16(bf16_from_float(NAN))));
}

}  // namespace
}  // namespace moxie
