#include "store/trace_writer.h"

#include <cerrno>
#include <charconv>
#include <cstring>

#include "core/fail.h"

namespace moxie {

std::string trace_header(const TraceShape& shape) {
  return fmt::format("# moxie-trace {} layers={} experts={} top_k={}\n", kTraceVersion, shape.layers, shape.experts,
                     shape.top_k);
}

void append_trace_line(std::string& line, int64_t step, EventKind kind, int64_t layer, std::span<const int32_t> ids) {
  char digits[24];
  const auto append = [&](int64_t number, char after) {
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    line.append(digits, end);
    line += after;
  };
  append(step, '\t');
  line += kind == EventKind::prefill ? "p\t" : "d\t";
  append(layer, '\t');
  for (const int32_t id : ids) append(id, ',');
  line.back() = '\n';
}

size_t trace_line_bytes(const TraceShape& shape) {
  return 64 + static_cast<size_t>(shape.experts) * 11;
}

Result<TraceWriter> TraceWriter::create(const std::string& path, const TraceShape& shape) {
  constexpr size_t kBufferBytes = 64 << 10;
  TraceWriter writer;
  writer.path_ = path;
  writer.line_bytes_ = trace_line_bytes(shape);
  writer.buffer_.reserve(kBufferBytes + writer.line_bytes_);
  writer.file_.reset(std::fopen(path.c_str(), "wb"));
  if (!writer.file_) return fail(ErrorCode::io, "{}: cannot write the routing trace: {}", path, std::strerror(errno));
  std::setvbuf(writer.file_.get(), nullptr, _IONBF, 0);  // buffer_ is the buffer
  writer.buffer_ += trace_header(shape);
  return writer;
}

TraceWriter::~TraceWriter() {
  if (file_) write_buffer();
}

void TraceWriter::record(int64_t step, EventKind kind, int64_t layer, std::span<const int32_t> ids) {
  if (!error_.empty() || !file_) return;
  append_trace_line(buffer_, step, kind, layer, ids);
  ++buffered_;
  if (buffer_.capacity() - buffer_.size() < line_bytes_) write_buffer();
}

void TraceWriter::write_buffer() {
  if (!error_.empty()) return;
  if (std::fwrite(buffer_.data(), 1, buffer_.size(), file_.get()) != buffer_.size()) {
    fail_with(errno);
  } else {
    written_ += buffered_;
  }
  buffered_ = 0;
  buffer_.clear();
}

void TraceWriter::fail_with(int error_number) {
  error_ = fmt::format("{}: the routing trace ends after about {} events: {}; free space or record elsewhere", path_,
                       written_, std::strerror(error_number));
}

Result<void> TraceWriter::state() const {
  if (!error_.empty()) return Error{ErrorCode::io, error_};
  return {};
}

Result<void> TraceWriter::flush() {
  if (file_) write_buffer();
  return state();
}

Result<void> TraceWriter::finish() {
  if (!file_) return state();
  write_buffer();
  if (std::fclose(file_.release()) != 0 && error_.empty()) fail_with(errno);
  return state();
}

}  // namespace moxie
