// A terminal for tests: a pseudo-terminal behind stderr, and a screen that shows what was written to it.
#pragma once

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "text/utf8.h"

namespace moxie::cli {

// stderr goes to `to` while this lives.
class Redirection {
 public:
  explicit Redirection(int to) : saved_(dup(STDERR_FILENO)) {
    fflush(stderr);
    dup2(to, STDERR_FILENO);
  }
  ~Redirection() {
    fflush(stderr);
    dup2(saved_, STDERR_FILENO);
    close(saved_);
  }

 private:
  int saved_;
};

inline std::string read_all(int from) {
  fcntl(from, F_SETFL, fcntl(from, F_GETFL) | O_NONBLOCK);
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(from, buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(n));
  return text;
}

class Terminal {
 public:
  explicit Terminal(unsigned short columns, unsigned short rows = 24) : master_(posix_openpt(O_RDWR | O_NOCTTY)) {
    if (master_ < 0 || grantpt(master_) != 0 || unlockpt(master_) != 0) return;
    slave_ = open(ptsname(master_), O_RDWR | O_NOCTTY);
    resize(columns, rows);
  }
  ~Terminal() {
    close(slave_);
    close(master_);
  }
  int master() const { return master_; }
  int slave() const { return slave_; }
  void resize(unsigned short columns, unsigned short rows) const {
    const winsize size = {.ws_row = rows, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    ioctl(slave_, TIOCSWINSZ, &size);
  }

 private:
  int master_, slave_ = -1;
};

// What a terminal of a plain kind shows: it wraps at the last column, forgets a pending wrap when the cursor is
// restored, and knows the few sequences that moxie sends. Anything else is counted in `unknown`.
class Screen {
 public:
  Screen(int columns, int rows) : columns_(columns), rows_(rows), bottom_(rows) {
    cells_.assign(static_cast<size_t>(rows), std::vector<std::string>(static_cast<size_t>(columns), " "));
  }

  void feed(std::string_view text) {
    pending_ += text;
    size_t at = 0;
    while (at < pending_.size()) {
      const size_t length = pending_[at] == '\x1b' ? sequence(at) : character(at);
      if (length == 0) break;
      at += length;
    }
    pending_.erase(0, at);
  }

  // Text that has left at the top, and the rows; trailing blanks dropped.
  std::vector<std::string> lines() const {
    std::vector<std::string> all = gone_;
    for (int row = 0; row < rows_; ++row) all.push_back(this->row(row));
    return all;
  }
  std::string row(int row) const {
    std::string text;
    for (const std::string& cell : cells_[static_cast<size_t>(row)]) text += cell;
    text.erase(text.find_last_not_of(' ') + 1);
    return text;
  }
  int cursor_row() const { return row_; }
  int cursor_column() const { return column_; }
  // All rows belong to the text.
  bool whole() const { return top_ == 0 && bottom_ == rows_; }
  int unknown = 0;

  // As tmux does it: rows go below the cursor first, then at the top; margins are those of the whole screen again.
  void resize(int columns, int rows) {
    for (auto& cells : cells_) cells.resize(static_cast<size_t>(columns), " ");
    while (static_cast<int>(cells_.size()) > rows) {
      if (static_cast<int>(cells_.size()) - 1 > row_) {
        cells_.pop_back();
      } else {
        gone_.push_back(row(0));
        cells_.erase(cells_.begin());
        --row_;
      }
    }
    cells_.resize(static_cast<size_t>(rows), std::vector<std::string>(static_cast<size_t>(columns), " "));
    columns_ = columns;
    rows_ = rows;
    top_ = 0;
    bottom_ = rows;
    column_ = std::min(column_, columns - 1);
    wraps_ = false;
  }

 private:
  size_t character(size_t at) {
    const char c = pending_[at];
    if (c == '\r') {
      column_ = 0;
      wraps_ = false;
    } else if (c == '\n') {
      down();
    } else {
      const size_t length = utf8_at(pending_, at).bytes;
      if (wraps_) {
        column_ = 0;
        down();
      }
      cells_[static_cast<size_t>(row_)][static_cast<size_t>(column_)] = pending_.substr(at, length);
      wraps_ = column_ == columns_ - 1;
      if (!wraps_) ++column_;
      return length;
    }
    return 1;
  }

  void down() {
    wraps_ = false;
    if (row_ != bottom_ - 1) {
      row_ = std::min(row_ + 1, rows_ - 1);
      return;
    }
    if (top_ == 0) gone_.push_back(row(0));
    cells_.erase(cells_.begin() + top_);
    cells_.insert(cells_.begin() + bottom_ - 1, std::vector<std::string>(static_cast<size_t>(columns_), " "));
  }

  // 0: it is not complete yet.
  size_t sequence(size_t at) {
    if (at + 1 >= pending_.size()) return 0;
    const char kind = pending_[at + 1];
    if (kind != '[') {
      if (kind == '7') {
        saved_row_ = row_;
        saved_column_ = column_;
      } else if (kind == '8') {
        move(saved_row_, saved_column_);
      } else if (kind == 'D') {
        down();
      } else {
        ++unknown;
      }
      return 2;
    }
    size_t end = at + 2;
    std::vector<int> numbers(1, 0);
    for (; end < pending_.size() && pending_[end] < '@'; ++end) {
      if (pending_[end] == ';') {
        numbers.push_back(0);
      } else {
        numbers.back() = numbers.back() * 10 + (pending_[end] - '0');
      }
    }
    if (end == pending_.size()) return 0;
    control(pending_[end], numbers);
    return end + 1 - at;
  }

  void control(char kind, const std::vector<int>& numbers) {
    const int first = numbers[0], second = numbers.size() > 1 ? numbers[1] : 0;
    switch (kind) {
      case 'A':
        move(std::max(row_ - std::max(first, 1), 0), column_);
        break;
      case 'H':
        move(std::max(first, 1) - 1, std::max(second, 1) - 1);
        break;
      case 'J':
        erase_line();
        for (int below = row_ + 1; below < rows_; ++below) {
          cells_[static_cast<size_t>(below)].assign(static_cast<size_t>(columns_), " ");
        }
        break;
      case 'K':
        erase_line();
        break;
      case 'm':
        break;
      case 'r':
        top_ = std::max(first, 1) - 1;
        bottom_ = second == 0 ? rows_ : second;
        move(0, 0);
        break;
      default:
        ++unknown;
    }
  }

  void erase_line() {
    auto& cells = cells_[static_cast<size_t>(row_)];
    std::fill(cells.begin() + column_, cells.end(), " ");
  }
  void move(int row, int column) {
    row_ = std::clamp(row, 0, rows_ - 1);
    column_ = std::clamp(column, 0, columns_ - 1);
    wraps_ = false;
  }

  int columns_, rows_, row_ = 0, column_ = 0, saved_row_ = 0, saved_column_ = 0, top_ = 0, bottom_;
  bool wraps_ = false;
  std::vector<std::vector<std::string>> cells_;
  std::vector<std::string> gone_;
  std::string pending_;
};

}  // namespace moxie::cli
