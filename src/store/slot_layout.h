// How experts lie in memory: where the projections of one expert go inside its slot, and how a budget is divided into
// slots. Plain functions; they decide, nothing is allocated.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "moxie/error.h"

namespace moxie {

struct FileRange {
  int file = 0;
  uint64_t offset = 0, bytes = 0;
};

// Where the bytes of an expert lie: the ranges of its gate, of its up, of its down projection. A projection has one, or
// several where its parts lie apart; up has none where it lies in those of gate.
struct ExpertRanges {
  static constexpr size_t kMax = 15;
  std::array<FileRange, kMax> all{};
  std::array<uint8_t, 3> ends = {1, 2, 3};  // of gate, up, down: one past their last range

  size_t size() const { return ends[2]; }
  size_t first_of(size_t projection) const { return projection == 0 ? 0 : ends[projection - 1]; }
  uint64_t bytes() const {
    uint64_t sum = 0;
    for (const FileRange& range : *this) sum += range.bytes;
    return sum;
  }
  FileRange* begin() { return all.data(); }
  FileRange* end() { return all.data() + size(); }
  const FileRange* begin() const { return all.data(); }
  const FileRange* end() const { return all.data() + size(); }
  FileRange& operator[](size_t i) { return all[i]; }
  const FileRange& operator[](size_t i) const { return all[i]; }
};

// Where an expert's projections (gate, up, down) go in a slot that begins at an aligned address. Files are read past
// the page cache in whole blocks, straight to their place: each range keeps its offset within a block, so nothing
// is copied or shifted afterwards.
struct SlotShape {
  std::array<uint64_t, ExpertRanges::kMax> at{};  // offsets of the ranges' first bytes
  uint64_t bytes = 0;                             // of the slot: a multiple of the alignment
};
// Ranges that touch in the file touch in the slot as well and share their boundary block. REQUIRES: alignment is a
// power of two.
SlotShape shape_slot(const ExpertRanges& ranges, uint64_t alignment);

// One layer's wants.
struct LayerNeed {
  int experts = 0;          // E; 0: no mixture
  uint64_t slot_bytes = 0;  // of its largest expert
};

// A fixed pool of slots. Every layer keeps up to `kept` experts; beside these each class has `transit` slots, through
// which go the experts that are not kept: those of a long prompt, guesses, and every expert of a layer that keeps none.
struct PoolLayout {
  struct Class {
    uint64_t slot_bytes = 0;
    int slots = 0;  // kept ones of its layers, and the transit ones
  };
  std::vector<Class> classes;
  std::vector<int> class_of;  // by layer; -1: no mixture
  std::vector<int> kept;      // by layer: 0 .. E
  int transit = 0;
  uint64_t bytes = 0;

  bool complete = false;          // every expert is kept
  int streaming_layers = 0;       // mixtures that keep none
  double kept_per_layer() const;  // mean over mixtures
};

// The smallest pool that works: `used` slots of the largest size, in all.
uint64_t minimum_pool_bytes(std::span<const LayerNeed> layers, int used);

// Divides `bytes`. Every mixture gets the same number of kept slots, give or take one, but never fewer than `used`:
// where that many do not fit everywhere, as many layers as possible get `used`, these share what is left (less than
// another `used`), and the others get none. Layers of different
// slot sizes share a class only when that gives more slots. Errors: out_of_memory below the minimum (names both
// numbers).
Result<PoolLayout> divide_pool(std::span<const LayerNeed> layers, int used, uint64_t bytes);
// `kept` experts in every mixture (at most E), whatever that takes. Errors: invalid_argument below `used` (0 is
// allowed: all stream).
Result<PoolLayout> fixed_pool(std::span<const LayerNeed> layers, int used, int kept);

}  // namespace moxie
