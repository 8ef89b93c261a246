// Rows of weights rearranged so that a processor reads them one after another: groups of 16 rows lie in the bytes they
// had before, block by block, and in each block
//   the 16-bit numbers (scales, minima) of the 16 rows, one number after another, then
//   the rest as words: word 0 of the 16 rows, word 1 of the 16 rows, ...
// A word is 4 bytes; of bfloat16, which tiles take, 64, and these stand for a block.
// Rows beyond the last whole group stay as they are. Products have the same bits as with plain rows, on every CPU
// target: they are sums of the same integers, and one chain of the same floats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "quant/quant_type.h"

namespace moxie {

constexpr int64_t kInterleavedRows = 16;

// Rearranges rows in place. `scratch` grows to a group of rows and can be used again. Thread-safe.
// REQUIRES: type.can_interleave(columns).
void interleave_rows(const QuantType& type, std::byte* weights, int64_t rows, int64_t columns,
                     std::vector<std::byte>& scratch);

}  // namespace moxie
