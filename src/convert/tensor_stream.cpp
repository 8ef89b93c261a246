#include "convert/tensor_stream.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "core/check.h"
#include "core/fail.h"

namespace moxie {
namespace {

constexpr int64_t kChunkValues = 1 << 22;  // 16 MiB as floats
constexpr int64_t kTaskValues = 1 << 16;   // what a thread takes at a time

bool is_beyond_half(float value) {
  return std::fabs(value) >= 65520.0f && std::isfinite(value);  // what rounds to infinity
}

// Where the row that is to stand at `row` comes from.
int64_t source_row(const OutputTensor& tensor, int64_t row) {
  if (tensor.head_rows == HeadRows::as_they_are) return row;
  const int64_t size = tensor.head_size, half = size / 2, head = row / size, at = row % size;
  if (tensor.head_rows == HeadRows::halves_to_pairs) return head * size + at % 2 * half + at / 2;
  return head * size + (at < half ? 2 * at : 2 * (at - half) + 1);
}

}  // namespace

Result<TensorStream> TensorStream::open(const WeightFiles& files, ThreadPool& threads) {
  MOXIE_TRY(WeightBytes bytes, WeightBytes::open(files));
  return TensorStream(files, std::move(bytes), threads);
}

Result<void> TensorStream::write(const OutputTensor& tensor, std::span<const float> importance, const Sink& sink) {
  if (!tensor.values.empty()) return write_values(tensor, sink);
  const auto columns = static_cast<size_t>(tensor.columns());
  for (size_t i = 0; i < tensor.pieces.size(); ++i) {
    const float* weights = nullptr;
    if (importance.size() == columns * tensor.pieces.size()) weights = importance.data() + i * columns;
    if (importance.size() == columns) weights = importance.data();
    MOXIE_CHECK(importance.empty() || weights != nullptr);
    MOXIE_TRY_VOID(write_piece(tensor, tensor.pieces[i], weights, sink));
  }
  return {};
}

Result<void> TensorStream::write_piece(const OutputTensor& tensor, const ProjectionRecord& piece,
                                       const float* importance, const Sink& sink) {
  const bool parted = piece.tensor->parted != nullptr;
  if (parted) MOXIE_TRY_VOID(read_parts(piece));
  // A one-dimensional tensor is one row, but rows that change places are single numbers.
  const int64_t unit = tensor.head_rows == HeadRows::as_they_are ? 1 : tensor.head_size;
  const int64_t rows = piece.rows;
  const int64_t step = std::max<int64_t>(1, kChunkValues / std::max<int64_t>(1, piece.columns) / unit) * unit;
  for (int64_t first = 0; first < rows; first += step) {
    const Chunk chunk{first, std::min(step, rows - first)};
    if (!parted) MOXIE_TRY_VOID(read_rows(piece, chunk));
    if (!parted && piece.tensor->type == tensor.type) {
      MOXIE_TRY_VOID(copy_rows(tensor, piece, chunk, sink));
    } else {
      MOXIE_TRY_VOID(encode_rows(tensor, piece, chunk, importance, sink));
    }
  }
  return {};
}

Result<void> TensorStream::read_rows(const ProjectionRecord& piece, Chunk chunk) {
  const auto row_bytes = static_cast<uint64_t>(piece.tensor->type->row_bytes(piece.columns));
  const FileRange whole = piece.range(0);
  source_.resize(static_cast<size_t>(chunk.rows) * row_bytes);
  size_t at = 0;
  return bytes_.read({.file = whole.file,
                      .offset = whole.offset + static_cast<uint64_t>(chunk.first_row) * row_bytes,
                      .bytes = source_.size()},
                     [&](std::span<const std::byte> part) -> Result<void> {
                       std::memcpy(source_.data() + at, part.data(), part.size());
                       at += part.size();
                       return {};
                     });
}

Result<void> TensorStream::read_parts(const ProjectionRecord& piece) {
  parted_ = {.layout = piece.tensor->parted->layout};
  parted_.layout.rows = piece.rows;
  parts_.resize(piece.parts());
  for (size_t i = 0; i < piece.parts(); ++i) {
    const FileRange range = piece.range(i);
    parts_[i].clear();
    parts_[i].reserve(range.bytes);
    MOXIE_TRY_VOID(bytes_.read({.file = range.file, .offset = range.offset, .bytes = range.bytes},
                               [&](std::span<const std::byte> part) -> Result<void> {
                                 parts_[i].insert(parts_[i].end(), part.begin(), part.end());
                                 return {};
                               }));
    parted_.part[i] = range.bytes > 0 ? parts_[i].data() : nullptr;
  }
  return {};
}

Result<void> TensorStream::copy_rows(const OutputTensor& tensor, const ProjectionRecord& piece, Chunk chunk,
                                     const Sink& sink) {
  if (tensor.head_rows == HeadRows::as_they_are) return sink(source_);
  const auto row_bytes = static_cast<size_t>(tensor.type->row_bytes(piece.columns));
  encoded_.resize(source_.size());
  for (int64_t row = 0; row < chunk.rows; ++row) {
    std::memcpy(encoded_.data() + static_cast<size_t>(row) * row_bytes,
                source_.data() + static_cast<size_t>(source_row(tensor, row)) * row_bytes, row_bytes);
  }
  return sink(encoded_);
}

Result<void> TensorStream::encode_rows(const OutputTensor& tensor, const ProjectionRecord& piece, Chunk chunk,
                                       const float* importance, const Sink& sink) {
  const QuantType& from = *piece.tensor->type;
  const QuantType& to = *tensor.type;
  const int64_t columns = piece.columns, blocks = columns / to.block_values;
  const auto row_bytes = static_cast<size_t>(to.row_bytes(columns));
  const auto from_row_bytes = from.parted() ? size_t{0} : static_cast<size_t>(from.row_bytes(columns));
  encoded_.resize(static_cast<size_t>(chunk.rows) * row_bytes);
  const int64_t task_rows = std::max<int64_t>(1, kTaskValues / columns);
  const bool half = to.name == "f16";
  std::atomic<int64_t> beyond{0};
  threads_->run((chunk.rows + task_rows - 1) / task_rows, [&](int64_t task) {
    std::vector<float> row_values(static_cast<size_t>(columns));
    const int64_t end = std::min(chunk.rows, (task + 1) * task_rows);
    for (int64_t row = task * task_rows; row < end; ++row) {
      const int64_t wanted = source_row(tensor, row);
      if (from.parted()) {
        from.decode_columns(parted_, chunk.first_row + wanted, 0, columns, row_values.data());
      } else {
        from.decode(source_.data() + static_cast<size_t>(wanted) * from_row_bytes, row_values.data(),
                    columns / from.block_values);
      }
      if (half) beyond += std::count_if(row_values.begin(), row_values.end(), is_beyond_half);
      to.encode(row_values.data(), encoded_.data() + static_cast<size_t>(row) * row_bytes, blocks, importance);
    }
  });
  beyond_half_ += beyond;
  return sink(encoded_);
}

Result<void> TensorStream::write_values(const OutputTensor& tensor, const Sink& sink) {
  encoded_.resize(tensor.bytes());
  tensor.type->encode(tensor.values.data(), encoded_.data(),
                      static_cast<int64_t>(tensor.values.size()) / tensor.type->block_values, nullptr);
  return sink(encoded_);
}

}  // namespace moxie
