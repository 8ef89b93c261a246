// The numbers of tensors on their way from one file to another: read, put in order, decoded and encoded in pieces of a
// few megabytes, so that memory does not grow with the model (a matrix whose parts lie apart is held as it is stored).
// Encoding runs on the baseline target: the same bytes on every machine, with any number of threads. Belongs to one
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "convert/output_tensor.h"
#include "convert/weight_bytes.h"
#include "core/thread_pool.h"
#include "format/weight_file.h"
#include "moxie/error.h"

namespace moxie {

class TensorStream {
 public:
  using Sink = std::function<Result<void>(std::span<const std::byte>)>;

  // Errors: those of WeightBytes::open().
  static Result<TensorStream> open(const WeightFiles& files, ThreadPool& threads);

  // Hands out the bytes of `tensor` in its type, front to back. importance: one weight for each column, for each piece
  // in turn or one set for all; empty: none. An error of `sink` ends it.
  Result<void> write(const OutputTensor& tensor, std::span<const float> importance, const Sink& sink);
  // Values so far that F16 was to hold and cannot.
  int64_t beyond_half() const { return beyond_half_; }
  // Errors: corrupt when a file was replaced or written to meanwhile.
  Result<void> check_unchanged() const { return bytes_.check_unchanged(); }

 private:
  TensorStream(const WeightFiles& files, WeightBytes bytes, ThreadPool& threads)
      : files_(&files), bytes_(std::move(bytes)), threads_(&threads) {}
  struct Chunk {
    int64_t first_row = 0, rows = 0;  // of the piece
  };
  Result<void> write_piece(const OutputTensor& tensor, const ProjectionRecord& piece, const float* importance,
                           const Sink& sink);
  Result<void> write_values(const OutputTensor& tensor, const Sink& sink);
  Result<void> copy_rows(const OutputTensor& tensor, const ProjectionRecord& piece, Chunk chunk, const Sink& sink);
  Result<void> read_parts(const ProjectionRecord& piece);
  Result<void> encode_rows(const OutputTensor& tensor, const ProjectionRecord& piece, Chunk chunk,
                           const float* importance, const Sink& sink);
  Result<void> read_rows(const ProjectionRecord& piece, Chunk chunk);

  const WeightFiles* files_;
  WeightBytes bytes_;
  ThreadPool* threads_;
  std::vector<std::byte> source_, encoded_;
  std::vector<std::vector<std::byte>> parts_;
  PartedWeights parted_;
  int64_t beyond_half_ = 0;
};

}  // namespace moxie
