// A table in plain text or Markdown: columns as wide as they need to be, numbers to the right. Not thread-safe.
#pragma once

#include <string>
#include <vector>

namespace moxie::cli {

class Table {
 public:
  // A heading that begins with '>' makes its column right-aligned.
  explicit Table(std::vector<std::string> headings);
  void row(std::vector<std::string> cells);  // REQUIRES: as many as headings
  std::string text() const;
  std::string markdown() const;

 private:
  std::vector<size_t> widths() const;

  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;  // the first: headings
};

}  // namespace moxie::cli
