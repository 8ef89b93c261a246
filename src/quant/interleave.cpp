#include "quant/interleave.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace moxie {
namespace {

constexpr size_t kRows = kInterleavedRows;

// Copies bytes [at, at + count) of the same block of each row, `Word` by `Word`; returns where it ended.
using Line = std::array<std::byte, 64>;

template <typename Word>
std::byte* spread(const std::byte* blocks, size_t row_bytes, size_t at, size_t count, std::byte* to) {
  for (size_t word = 0; word < count; word += sizeof(Word)) {
    for (size_t row = 0; row < kRows; ++row)
      std::memcpy(to + row * sizeof(Word), blocks + row * row_bytes + at + word, sizeof(Word));
    to += kRows * sizeof(Word);
  }
  return to;
}

}  // namespace

void interleave_rows(const QuantType& type, std::byte* weights, int64_t rows, int64_t columns,
                     std::vector<std::byte>& scratch) {
  const size_t row_bytes = static_cast<size_t>(type.row_bytes(columns)),
               block_bytes = static_cast<size_t>(std::max(type.block_bytes, type.word_bytes));
  const size_t halves_at = static_cast<size_t>(type.halves_at),
               halves_end = halves_at + 2 * static_cast<size_t>(type.halves);
  scratch.resize(kRows * row_bytes);
  for (int64_t row = 0; row + kInterleavedRows <= rows; row += kInterleavedRows) {
    std::byte* const group = weights + static_cast<size_t>(row) * row_bytes;
    std::byte* to = scratch.data();
    for (size_t block = 0; block < row_bytes; block += block_bytes) {
      if (type.word_bytes == sizeof(Line)) {
        to = spread<Line>(group + block, row_bytes, 0, block_bytes, to);
        continue;
      }
      to = spread<uint16_t>(group + block, row_bytes, halves_at, halves_end - halves_at, to);
      to = spread<uint32_t>(group + block, row_bytes, 0, halves_at, to);
      to = spread<uint32_t>(group + block, row_bytes, halves_end, block_bytes - halves_end, to);
    }
    std::memcpy(group, scratch.data(), scratch.size());
  }
}

}  // namespace moxie
