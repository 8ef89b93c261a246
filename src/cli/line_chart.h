// A line chart as SVG: axes, grid, legend; readable on white and in print. Plain functions, thread-safe.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace moxie::cli {

struct ChartLine {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x ascending; y is a share, 0 to 1
  bool reference = false;                         // drawn dashed in grey: a bound, not a contender
};

struct LineChart {
  std::string title, subtitle, x_label, y_label;
  std::vector<ChartLine> lines;
};

// REQUIRES: one line with one point at least.
std::string svg(const LineChart& chart);

}  // namespace moxie::cli
