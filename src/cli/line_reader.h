// The user's lines: with editing and history on a terminal (libedit), plainly from a pipe. One at a time, since libedit
// works on the process's terminal; not thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace moxie::cli {

class LineReader {
 public:
  // Lines entered before are read from `history_file` and kept there; empty: nowhere. `edit`: false reads plainly.
  LineReader(bool edit, std::string history_file);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // Without its end; nothing at the end of input (Ctrl-D on an empty line). Ctrl-C empties the line.
  std::optional<std::string> read(const std::string& prompt);
  bool edits() const { return impl_ != nullptr; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;  // null: plain
};

}  // namespace moxie::cli
