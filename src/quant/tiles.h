// Matrix tiles of CPUs with AMX: eight registers of up to 16 rows of 64 bytes. For *.simd.cpp files only; internal to
// the including file. What a thread loads into its tiles is its own.
#pragma once

#include "core/simd.h"
#include "quant/parts.h"

#if defined(__AMX_INT8__)
namespace moxie::MOXIE_TARGET {
namespace {

constexpr int kTileRows = 16;
constexpr int kTileBytes = 1024;

// The shapes of a thread's tiles, until it goes out of scope. Tiles [0, left) take sums, [left, right) left operands of
// `depth` bytes, [right, 8) right operands of depth / 4 rows. Sums and left operands have `rows` rows, sums and right
// operands `right_bytes` bytes in each.
class Tiles {
 public:
  Tiles(int left, int right, int depth) { configure(left, right, depth, kTileRows, 64); }
  ~Tiles() { release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  MOXIE_INLINE static void configure(int left, int right, int depth, int rows, int right_bytes) {
    struct {
      uint8_t palette = 1;
      uint8_t start = 0;
      uint8_t reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } shapes;
    static_assert(sizeof shapes == 64);
    for (int i = 0; i < 8; ++i) {
      shapes.rows[i] = static_cast<uint8_t>(i < right ? rows : depth / 4);
      shapes.row_bytes[i] = static_cast<uint16_t>(i >= left && i < right ? depth : right_bytes);
    }
    memory_is_read();
    _tile_loadconfig(&shapes);
  }
  MOXIE_INLINE static void release() { _tile_release(); }

  // What was written before is in memory: the compiler does not know that loading a tile reads it.
  MOXIE_INLINE static void memory_is_read() { __asm__ volatile("" ::: "memory"); }
};

// What the intrinsics do; gcc 12 wants their tiles as literals.
template <int kTo>
MOXIE_INLINE void zero_tile() {
  __asm__ volatile("tilezero %%tmm%c0" : : "i"(kTo));
}
template <int kTo>
MOXIE_INLINE void load_tile(const void* from, int64_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTo));
}
template <int kFrom>
MOXIE_INLINE void store_tile(void* to, int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kFrom) : "memory");
}
// Adds the products of kLeft's rows with kRight's columns, whose bytes are signed or not.
template <int kTo, int kLeft, int kRight, bool kLeftSigned, bool kRightSigned>
MOXIE_INLINE void add_tile_products() {
  if constexpr (kLeftSigned && kRightSigned) {
    __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kTo), "i"(kLeft), "i"(kRight));
  } else if constexpr (kLeftSigned) {
    __asm__ volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kTo), "i"(kLeft), "i"(kRight));
  } else if constexpr (kRightSigned) {
    __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kTo), "i"(kLeft), "i"(kRight));
  } else {
    __asm__ volatile("tdpbuud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kTo), "i"(kLeft), "i"(kRight));
  }
}

// The same of bfloat16.
template <int kTo, int kLeft, int kRight>
MOXIE_INLINE void add_tile_products() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kTo), "i"(kLeft), "i"(kRight));
}

}  // namespace
}  // namespace moxie::MOXIE_TARGET
#endif
