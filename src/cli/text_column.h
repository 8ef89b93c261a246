// Where a terminal's cursor stands after text: columns since the last line's beginning. Wide characters take two,
// combining ones none; colours are skipped. Not thread-safe.
#pragma once

#include <string_view>

#include "text/utf8.h"

namespace moxie::cli {

// Columns of a character on a terminal.
int columns_of_character(uint32_t code);

class TextColumn {
 public:
  void add(std::string_view text);
  void set_row(int columns) { row_ = columns; }
  bool at_line_start() const { return column_ == 0; }
  // The last column of a row is taken, and the next character begins a row.
  bool fills_row() const { return column_ > 0 && column_ % row_ == 0; }

 private:
  enum class Escape { none, began, sequence };

  int64_t column_ = 0;
  int row_ = 80;
  Escape escape_ = Escape::none;
};

}  // namespace moxie::cli
