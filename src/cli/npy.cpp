#include "cli/npy.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/fail.h"

namespace moxie::cli {
namespace {

// Never a device: /dev/null is a fine place to write to.
void remove_half_written(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored)) std::filesystem::remove(path, ignored);
}

}  // namespace

static_assert(std::endian::native == std::endian::little, "rows are written as they lie in memory");

Result<NpyWriter> NpyWriter::create(const std::string& path, const std::vector<int64_t>& shape) {
  NpyWriter writer;
  writer.path_ = path;
  writer.rows_ = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) writer.rows_ *= shape[i];
  writer.columns_ = shape.empty() ? 1 : shape.back();
  if (writer.columns_ == 0) writer.rows_ = 0;
  writer.file_.reset(std::fopen(path.c_str(), "wb"));
  if (!writer.file_) return fail(ErrorCode::io, "{}: {}", path, std::strerror(errno));
  // Magic, version, length of the header, the header as a Python literal padded with blanks so that the data begin at a
  // multiple of 64.
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}{}), }}",
                                   fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  constexpr size_t kPrefix = 10;
  header.append(63 - (kPrefix + header.size()) % 64, ' ');
  header += '\n';
  std::string all("\x93NUMPY\x01\x00", 8);
  all += static_cast<char>(header.size() & 0xff);
  all += static_cast<char>(header.size() >> 8);
  all += header;
  if (std::fwrite(all.data(), 1, all.size(), writer.file_.get()) != all.size()) {
    return fail(ErrorCode::io, "{}: {}", path, std::strerror(errno));
  }
  return writer;
}

Result<void> NpyWriter::write_row(std::span<const float> row) {
  if (static_cast<int64_t>(row.size()) != columns_ || written_ == rows_) {
    return fail(ErrorCode::internal, "{}: row {} of {} with {} numbers instead of {}", path_, written_, rows_,
                row.size(), columns_);
  }
  if (std::fwrite(row.data(), sizeof(float), row.size(), file_.get()) != row.size()) {
    return fail(ErrorCode::io, "{}: {}", path_, std::strerror(errno));
  }
  ++written_;
  return {};
}

Result<void> NpyWriter::finish() {
  if (written_ != rows_) return fail(ErrorCode::internal, "{}: {} rows written of {}", path_, written_, rows_);
  if (std::fclose(file_.release()) != 0) {
    const int error = errno;
    remove_half_written(path_);
    return fail(ErrorCode::io, "{}: {}", path_, std::strerror(error));
  }
  return {};
}

NpyWriter::~NpyWriter() {
  if (!file_) return;
  file_.reset();
  remove_half_written(path_);
}

}  // namespace moxie::cli
