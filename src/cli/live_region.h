// Lines that stay at the bottom of the terminal behind stderr while text scrolls above them. However the program ends,
// the terminal is whole again: signals that end or stop it are caught for as long as lines are shown. One region at a
// time; draw() and close() belong to one thread, others may print meanwhile.
#pragma once

#include <string>
#include <vector>

#include "core/terminal.h"

namespace moxie::cli {

class LiveRegion {
 public:
  LiveRegion() = default;
  ~LiveRegion() { close(); }
  LiveRegion(const LiveRegion&) = delete;
  LiveRegion& operator=(const LiveRegion&) = delete;

  // Is there a terminal behind stderr, and can it move its cursor?
  static bool possible();

  // Shows these lines in place of the last ones. `size` is the terminal's, as it is now: the region follows when it has
  // changed. Fewer lines than rows; each shorter than a row. May put it off while the text's cursor stands behind a
  // full row.
  void draw(const std::vector<std::string>& lines, TerminalSize size);
  // Takes the lines away and gives the rows back to the text.
  void close();

 private:
  std::string make_room(size_t rows, TerminalSize size) const;

  std::vector<std::string> shown_;
  TerminalSize size_;
  bool open_ = false;
};

// Gives the terminal back at once, for an end without destructors. From any thread.
void release_terminal();

}  // namespace moxie::cli
