#include "cli/line_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/check.h"

namespace moxie::cli {
namespace {

// Distinguishable without seeing red or green (after Okabe and Ito); yellow is left out, it fades on white.
constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#7f4f24", "#000000"};
constexpr const char* kReferenceColour = "#777777";
constexpr double kWidth = 820, kHeight = 500, kLeft = 72, kRight = 170, kTop = 72, kBottom = 62;
constexpr double kPlotWidth = kWidth - kLeft - kRight, kPlotHeight = kHeight - kTop - kBottom;

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

std::string text_at(double x, double y, std::string_view attributes, const std::string& text) {
  return fmt::format("  <text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, attributes, escaped(text));
}

// Data to places on the page.
class Scale {
 public:
  explicit Scale(const LineChart& chart) {
    double lowest = 1;
    for (const ChartLine& line : chart.lines) {
      for (const auto& [x, y] : line.points) {
        xs_.insert(x);
        lowest = std::min(lowest, y);
      }
    }
    MOXIE_CHECK(!xs_.empty());
    // A margin of a fiftieth keeps the first and the last mark off the frame.
    const double span = std::max(*xs_.rbegin() - *xs_.begin(), 1.0);
    x_min_ = *xs_.begin() - span / 50;
    x_max_ = *xs_.begin() + span + span / 50;
    y_min_ = std::max(0.0, std::floor(lowest * 10 - 0.2) / 10);
  }

  double x(double value) const { return kLeft + (value - x_min_) / (x_max_ - x_min_) * kPlotWidth; }
  double y(double share) const { return kTop + (1 - share) / (1 - y_min_) * kPlotHeight; }
  const std::set<double>& xs() const { return xs_; }
  double y_min() const { return y_min_; }

 private:
  std::set<double> xs_;
  double x_min_ = 0, x_max_ = 1, y_min_ = 0;
};

std::string axes(const LineChart& chart, const Scale& scale) {
  std::string out;
  const int steps = static_cast<int>(std::lround((1 - scale.y_min()) * 10));
  for (int i = 0; i <= steps; ++i) {
    const double share = 1 - i / 10.0, y = scale.y(share);
    out += fmt::format("  <line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#dddddd\"/>\n", kLeft,
                       kLeft + kPlotWidth, y, y);
    out += text_at(kLeft - 8, y + 4, "text-anchor=\"end\"", fmt::format("{:.0f} %", 100 * share));
  }
  double last = -1e9;
  for (const double value : scale.xs()) {
    const double x = scale.x(value);
    out += fmt::format("  <line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{}\" y2=\"{}\" stroke=\"#333333\"/>\n", x, x,
                       kTop + kPlotHeight, kTop + kPlotHeight + 5);
    if (x - last < 26) continue;  // numbers would touch
    out += text_at(x, kTop + kPlotHeight + 20, "text-anchor=\"middle\"", fmt::format("{:g}", value));
    last = x;
  }
  out += fmt::format("  <path d=\"M{0},{1} V{2} H{3}\" fill=\"none\" stroke=\"#333333\"/>\n", kLeft, kTop,
                     kTop + kPlotHeight, kLeft + kPlotWidth);
  out += text_at(kLeft + kPlotWidth / 2, kHeight - 18, "text-anchor=\"middle\"", chart.x_label);
  const double middle = kTop + kPlotHeight / 2;
  return out + text_at(20, middle, fmt::format("text-anchor=\"middle\" transform=\"rotate(-90 20 {:.1f})\"", middle),
                       chart.y_label);
}

// A different mark for each line, so that lines which lie on each other can be told apart where colours cannot.
std::string mark(size_t index, double x, double y, std::string_view colour) {
  const std::string shape[] = {
      fmt::format("M{:.1f},{:.1f} m-4,0 a4,4 0 1,0 8,0 a4,4 0 1,0 -8,0", x, y),
      fmt::format("M{:.1f},{:.1f} h7 v7 h-7 z", x - 3.5, y - 3.5),
      fmt::format("M{:.1f},{:.1f} l4.5,8 h-9 z", x, y - 5),
      fmt::format("M{:.1f},{:.1f} l5,5 l-5,5 l-5,-5 z", x, y - 5),
      fmt::format("M{:.1f},{:.1f} l4.5,-8 h-9 z", x, y + 5),
  };
  const bool hollow = index >= std::size(shape);
  return fmt::format("  <path d=\"{}\" fill=\"{}\" stroke=\"{}\" stroke-width=\"1.5\"/>\n",
                     shape[index % std::size(shape)], hollow ? "white" : colour, colour);
}

std::string curves(const LineChart& chart, const Scale& scale) {
  std::string out;
  size_t contender = 0;
  for (size_t i = 0; i < chart.lines.size(); ++i) {
    const ChartLine& line = chart.lines[i];
    const char* colour = line.reference ? kReferenceColour : kColours[contender % std::size(kColours)];
    const std::string dash = line.reference ? " stroke-dasharray=\"7 5\"" : "";
    std::string points;
    for (const auto& [x, y] : line.points) points += fmt::format("{:.1f},{:.1f} ", scale.x(x), scale.y(y));
    if (!points.empty()) points.pop_back();
    out += fmt::format("  <polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{}/>\n", points, colour,
                       dash);
    const double legend_x = kLeft + kPlotWidth + 22, legend_y = kTop + 12 + 24 * static_cast<double>(i);
    out += fmt::format("  <line x1=\"{0}\" x2=\"{1}\" y1=\"{2}\" y2=\"{2}\" stroke=\"{3}\" stroke-width=\"2\"{4}/>\n",
                       legend_x, legend_x + 30, legend_y, colour, dash);
    if (!line.reference) {
      for (const auto& [x, y] : line.points) out += mark(contender, scale.x(x), scale.y(y), colour);
      out += mark(contender, legend_x + 15, legend_y, colour);
      ++contender;
    }
    out += text_at(legend_x + 38, legend_y + 4, "text-anchor=\"start\"", line.name);
  }
  return out;
}

}  // namespace

std::string svg(const LineChart& chart) {
  const Scale scale(chart);
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" "
      "font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"#222222\">\n"
      "  <rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n",
      kWidth, kHeight);
  out += text_at(kLeft, 30, "font-size=\"17\" font-weight=\"bold\"", chart.title);
  out += text_at(kLeft, 52, "fill=\"#555555\"", chart.subtitle);
  return out + axes(chart, scale) + curves(chart, scale) + "</svg>\n";
}

}  // namespace moxie::cli
