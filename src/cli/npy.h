// Writes a float32 array row by row as a NumPy file (version 1.0, '<f4', C order). Not thread-safe.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "moxie/error.h"

namespace moxie::cli {

class NpyWriter {
 public:
  static Result<NpyWriter> create(const std::string& path, int64_t rows, int64_t columns) {
    return create(path, std::vector<int64_t>{rows, columns});
  }
  // Of any number of dimensions; a row is the last one.
  static Result<NpyWriter> create(const std::string& path, const std::vector<int64_t>& shape);
  Result<void> write_row(std::span<const float> row);
  // Errors: io, also for a row too few. Without a call of finish() the file is removed.
  Result<void> finish();

  NpyWriter(NpyWriter&&) = default;
  ~NpyWriter();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  NpyWriter() = default;

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  int64_t rows_ = 0, columns_ = 0, written_ = 0;
};

}  // namespace moxie::cli
