// What a 4-bit code stands for in the types with unequal steps. Usable in *.simd.cpp: internal to the including file.
#pragma once

#include <cstdint>

namespace moxie {
namespace {

// iq4_nl, iq4_xs: steps grow away from zero, as weights are scarcer there.
[[maybe_unused]] alignas(16) constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                                1,    13,   25,  38,  53,  69,  89,  113};
// mxfp4, nvfp4: twice the value of a 4-bit float with 2 bits of exponent and 1 of mantissa.
[[maybe_unused]] alignas(16) constexpr int8_t kTwiceE2m1[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                                                0, -1, -2, -3, -4, -6, -8, -12};

}  // namespace
}  // namespace moxie
