#include "cli/table.h"

#include <fmt/format.h>

#include "core/check.h"

namespace moxie::cli {

Table::Table(std::vector<std::string> headings) {
  for (std::string& heading : headings) {
    right_.push_back(heading.starts_with('>'));
    if (right_.back()) heading.erase(0, 1);
  }
  rows_.push_back(std::move(headings));
}

void Table::row(std::vector<std::string> cells) {
  MOXIE_CHECK(cells.size() == right_.size());
  rows_.push_back(std::move(cells));
}

std::vector<size_t> Table::widths() const {
  std::vector<size_t> widths(right_.size(), 0);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  return widths;
}

std::string Table::text() const {
  const std::vector<size_t> wide = widths();
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += right_[i] ? fmt::format("  {:>{}}", row[i], wide[i]) : fmt::format("  {:<{}}", row[i], wide[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string Table::markdown() const {
  const std::vector<size_t> wide = widths();
  std::string out;
  for (size_t r = 0; r < rows_.size(); ++r) {
    for (size_t i = 0; i < wide.size(); ++i) {
      out +=
          right_[i] ? fmt::format("| {:>{}} ", rows_[r][i], wide[i]) : fmt::format("| {:<{}} ", rows_[r][i], wide[i]);
    }
    out += "|\n";
    if (r > 0) continue;
    for (size_t i = 0; i < wide.size(); ++i) {
      out += fmt::format("|{}{}", std::string(wide[i] + 1, '-'), right_[i] ? ":" : "-");
    }
    out += "|\n";
  }
  return out;
}

}  // namespace moxie::cli
