// Writes routing traces in our own form (docs/routing.md). A writer belongs to one thread.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>

#include "moxie/error.h"
#include "store/routing_trace.h"

namespace moxie {

// Lines of our own form, with their newline.
std::string trace_header(const TraceShape& shape);
// Nothing is allocated while `line` has room for trace_line_bytes().
void append_trace_line(std::string& line, int64_t step, EventKind kind, int64_t layer, std::span<const int32_t> ids);
size_t trace_line_bytes(const TraceShape& shape);

// Records while an engine runs: buffered, allocates nothing after create(). An error (disk full) stops the recording
// and is kept until somebody asks: nothing is lost in silence, and a run need not end for it.
class TraceWriter {
 public:
  static Result<TraceWriter> create(const std::string& path, const TraceShape& shape);
  TraceWriter(TraceWriter&&) = default;
  TraceWriter& operator=(TraceWriter&&) = delete;
  ~TraceWriter();  // writes what is buffered; call finish() to learn whether that went well

  // REQUIRES: as CacheTable::event; steps and layers are not negative.
  void record(int64_t step, EventKind kind, int64_t layer, std::span<const int32_t> ids);
  // Writes what is buffered. Errors: io, the first one since create().
  Result<void> flush();
  // The same, and closes the file; nothing may be recorded afterwards.
  Result<void> finish();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  TraceWriter() = default;
  void write_buffer();
  void fail_with(int error_number);
  Result<void> state() const;

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  std::string buffer_;
  size_t line_bytes_ = 0;
  uint64_t buffered_ = 0, written_ = 0;  // events
  std::string error_;                    // empty: all is well
};

}  // namespace moxie
