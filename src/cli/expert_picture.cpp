#include "cli/expert_picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <tuple>

#include "cli/console.h"

namespace moxie::cli {
namespace {

constexpr int kLabel = 5;    // columns before the grid
constexpr int kLevels = 8;   // of heat, or of the share in memory
constexpr int kMinGrid = 2;  // rows below which a grid says nothing
constexpr std::string_view kBars[kLevels + 1] = {"_", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

enum class Ink { none, faint, cold, hot, reading, pinned, now };

std::string_view ink_sequence(Ink ink) {
  switch (ink) {
    case Ink::none:
      return "\x1b[0m";
    case Ink::faint:
      return "\x1b[0;90m";
    case Ink::cold:
      return "\x1b[0;32m";
    case Ink::hot:
      return "\x1b[0;92m";
    case Ink::reading:
      return "\x1b[0;36m";
    case Ink::pinned:
      return "\x1b[0;35m";
    case Ink::now:
      return "\x1b[0;1;33m";
  }
  return {};
}

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// A line of text that knows how many columns it takes.
class Line {
 public:
  explicit Line(const PictureStyle& style) : room_(std::max(style.columns - 1, 0)), colour_(style.colour) {}

  // One column for each character; what does not fit is left out.
  void add(std::string_view text, Ink ink = Ink::none) {
    for (size_t at = 0; at < text.size() && room_ > 0; --room_) {
      size_t next = at + 1;
      while (next < text.size() && (static_cast<unsigned char>(text[next]) & 0xC0) == 0x80) ++next;
      const std::string_view character = text.substr(at, next - at);
      at = next;
      if (colour_ && ink != ink_ && character != " ") {
        text_ += ink_sequence(ink);
        ink_ = ink;
      }
      text_ += character;
    }
  }
  int room() const { return room_; }
  std::string take() {
    while (ink_ == Ink::none && !text_.empty() && text_.back() == ' ') text_.pop_back();
    if (ink_ != Ink::none) text_ += ink_sequence(Ink::none);
    return std::move(text_);
  }

 private:
  std::string text_;
  int room_;
  bool colour_;
  Ink ink_ = Ink::none;
};

int columns_of(std::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// What a cell stands for, added up.
struct Cell {
  int64_t experts = 0, resident = 0, reading = 0, pinned = 0, now = 0;
  uint64_t uses = 0;
};

struct Sign {
  std::string_view mark = " ", glyph = " ";
  Ink mark_ink = Ink::none, glyph_ink = Ink::none;
};

class Picture {
 public:
  Picture(const ExpertHeat& heat, const PictureStyle& style, const PictureGrid& grid)
      : heat_(heat), style_(style), grid_(grid), most_(static_cast<size_t>(heat.layers), 0) {
    for (int64_t layer = 0; layer < heat.layers; ++layer) {
      const auto row = heat.uses.begin() + layer * heat.experts;
      most_[static_cast<size_t>(layer)] = *std::max_element(row, row + heat.experts);
      if (heat.mixtures[static_cast<size_t>(layer)] == 0) continue;
      for (int64_t id = 0; id < heat.experts; ++id) all_uses_ += row[id];
      all_experts_ += heat.experts;
    }
  }

  std::string heading() const {
    Line line(style_);
    line.add(style_.unicode ? "── " : "-- ", Ink::faint);
    line.add(grid_.layers_across ? "layers across, experts down" : "experts across, layers down", Ink::faint);
    if (grid_.folded()) {
      line.add(fmt::format("; a cell is {} {} of {} {}", grid_.experts_fold, many("expert", grid_.experts_fold),
                           grid_.layers_fold, many("layer", grid_.layers_fold)),
               Ink::faint);
    }
    line.add(" ");
    while (line.room() > 0) line.add(style_.unicode ? "─" : "-", Ink::faint);
    return line.take();
  }

  // The number of the first layer or expert of a column, where there is room for it.
  std::string columns_line() const {
    Line line(style_);
    line.add(std::string(kLabel, ' '));
    const int64_t fold = grid_.layers_across ? grid_.layers_fold : grid_.experts_fold;
    const int64_t step = ceil_div(4, grid_.cell);
    for (int64_t i = 0; i < grid_.across; i += step) {
      const int64_t width = std::min(step, grid_.across - i) * grid_.cell;
      std::string number = fmt::format("{:>{}}", i * fold, grid_.cell);
      if (static_cast<int64_t>(number.size()) > width && i > 0) break;
      line.add(fmt::format("{:<{}}", number, width), Ink::faint);
    }
    return line.take();
  }

  std::string row(int64_t down) const {
    Line line(style_);
    line.add(fmt::format("{:>{}} ", down * (grid_.layers_across ? grid_.experts_fold : grid_.layers_fold), kLabel - 1),
             Ink::faint);
    for (int64_t across = 0; across < grid_.across; ++across) {
      const int64_t layer = (grid_.layers_across ? across : down) * grid_.layers_fold;
      const int64_t id = (grid_.layers_across ? down : across) * grid_.experts_fold;
      const Sign sign = sign_of(cell_at(layer, id), layer);
      if (grid_.cell == 2) line.add(sign.mark, sign.mark_ink);
      // Without room for marks a mark stands in place of the heat.
      const bool marked = grid_.cell == 1 && sign.mark != " ";
      line.add(marked ? sign.mark : sign.glyph, marked ? sign.mark_ink : sign.glyph_ink);
    }
    return line.take();
  }

  std::vector<std::string> legend(int rows_max) const {
    struct Item {
      std::string_view sign, text;
      Ink ink;
    };
    const std::string_view dot = style_.unicode ? "·" : ".";
    std::vector<Item> items;
    if (grid_.folded()) {
      items = {{">", "used now", Ink::now},  {"~", "reading", Ink::reading}, {"*", "both", Ink::now},
               {"=", "pinned", Ink::pinned}, {dot, "absent", Ink::faint},    {"", "share in memory:", Ink::none}};
      if (style_.colour && style_.unicode) {
        items.insert(items.end(), {{"▁▂▃▄▅▆▇█", "seldom used", Ink::cold}, {"█", "often", Ink::hot}});
      } else {
        items.insert(items.end(), {{"a-h", "seldom used", Ink::cold}, {"A-H", "often", Ink::hot}});
      }
    } else {
      items = {{">", "used now", Ink::now},
               {"=", "pinned", Ink::pinned},
               {"#", "both", Ink::now},
               {"~", "reading", Ink::reading},
               {dot, "absent", Ink::faint},
               {":", "was used", Ink::faint},
               {style_.unicode ? "_▁▂▃▄▅▆▇█" : "0-8", "in memory, by use", Ink::hot}};
    }
    std::vector<std::string> lines;
    Line line(style_);
    bool first = true;
    for (const Item& item : items) {
      const int needed = columns_of(item.sign) + (item.sign.empty() ? 0 : 1) + columns_of(item.text) + (first ? 0 : 2);
      if (!first && needed > line.room() && static_cast<int>(lines.size()) + 1 < rows_max) {
        lines.push_back(line.take());
        line = Line(style_);
        first = true;
      }
      if (!first) line.add("  ");
      first = false;
      line.add(item.sign, item.ink);
      if (!item.sign.empty()) line.add(" ");
      line.add(item.text, Ink::faint);
    }
    lines.push_back(line.take());
    return lines;
  }

 private:
  static std::string many(std::string_view thing, int64_t count) {
    return fmt::format("{}{}", thing, count == 1 ? "" : "s");
  }

  Cell cell_at(int64_t first_layer, int64_t first_id) const {
    Cell cell;
    const int64_t layers_end = std::min(first_layer + grid_.layers_fold, heat_.layers);
    const int64_t ids_end = std::min(first_id + grid_.experts_fold, heat_.experts);
    for (int64_t layer = first_layer; layer < layers_end; ++layer) {
      if (heat_.mixtures[static_cast<size_t>(layer)] == 0) continue;
      for (int64_t id = first_id; id < ids_end; ++id) {
        const auto at = static_cast<size_t>(layer * heat_.experts + id);
        ++cell.experts;
        cell.resident += heat_.states[at] == ExpertState::resident;
        cell.reading += heat_.states[at] == ExpertState::reading;
        cell.pinned += heat_.pinned[at];
        cell.now += heat_.last[at];
        cell.uses += heat_.uses[at];
      }
    }
    return cell;
  }

  static int level(double part, double whole) {
    if (part <= 0 || whole <= 0) return 0;
    return std::clamp(static_cast<int>(part / whole * kLevels + 0.999), 1, kLevels);
  }

  Sign sign_of(const Cell& cell, int64_t layer) const {
    if (cell.experts == 0) return {};  // a layer without experts
    Sign sign = grid_.folded() ? share_sign(cell) : heat_sign(cell, layer);
    const bool folded_reading = grid_.folded() && cell.reading > 0;
    if (cell.now > 0) {
      sign.mark = folded_reading ? "*" : cell.pinned > 0 && !grid_.folded() ? "#" : ">";
      sign.mark_ink = Ink::now;
    } else if (folded_reading) {
      sign.mark = "~";
      sign.mark_ink = Ink::reading;
    } else if (cell.pinned > 0) {
      sign.mark = "=";
      sign.mark_ink = Ink::pinned;
    }
    return sign;
  }

  // One expert: how often it is used beside the most used one of its layer.
  Sign heat_sign(const Cell& cell, int64_t layer) const {
    if (cell.reading > 0) return {.glyph = "~", .glyph_ink = Ink::reading};
    if (cell.resident == 0) {
      return {.glyph = cell.uses > 0 ? ":" : style_.unicode ? "·" : ".", .glyph_ink = Ink::faint};
    }
    const int heat = level(static_cast<double>(cell.uses), static_cast<double>(most_[static_cast<size_t>(layer)]));
    constexpr std::string_view kDigits = "012345678";
    return {.glyph = style_.unicode ? kBars[heat] : kDigits.substr(static_cast<size_t>(heat), 1),
            .glyph_ink = cell.pinned > 0      ? Ink::pinned
                         : heat * 2 > kLevels ? Ink::hot
                                              : Ink::cold};
  }

  // Several experts: the share of them in memory, and whether they are used more than the mean.
  Sign share_sign(const Cell& cell) const {
    const int share = level(static_cast<double>(cell.resident), static_cast<double>(cell.experts));
    if (share == 0) return {.glyph = style_.unicode ? "·" : ".", .glyph_ink = Ink::faint};
    const bool hot = cell.uses * static_cast<uint64_t>(all_experts_) > all_uses_ * static_cast<uint64_t>(cell.experts);
    constexpr std::string_view kLetters = "abcdefghABCDEFGH";
    const auto letter = static_cast<size_t>(share - 1 + (hot ? kLevels : 0));
    return {.glyph = style_.colour && style_.unicode ? kBars[share] : kLetters.substr(letter, 1),
            .glyph_ink = hot ? Ink::hot : Ink::cold};
  }

  const ExpertHeat& heat_;
  const PictureStyle& style_;
  const PictureGrid& grid_;
  std::vector<uint64_t> most_;  // uses of a layer's most used expert
  uint64_t all_uses_ = 0;
  int64_t all_experts_ = 0;
};

// Whole figures alone; the least important ones come last.
std::string figures_line(const ExpertHeat& heat, const PictureRates& rates, const PictureStyle& style) {
  const auto resident = std::count(heat.states.begin(), heat.states.end(), ExpertState::resident);
  const auto mixtures = std::count(heat.mixtures.begin(), heat.mixtures.end(), uint8_t{1});
  const uint64_t all = heat.hits + heat.misses;
  std::vector<std::string> figures;
  if (all > 0) {
    figures.push_back(fmt::format("hits {:.1f} %", 100 * static_cast<double>(heat.hits) / static_cast<double>(all)));
  }
  figures.push_back(fmt::format("{:.1f} tokens/s", rates.tokens_per_second));
  if (heat.bytes_read > 0) {
    figures.push_back(fmt::format("waited {:.0f} %", 100 * rates.stall_share));
    figures.push_back(fmt::format("read {}, {}/s", human_bytes(heat.bytes_read),
                                  human_bytes(static_cast<uint64_t>(rates.bytes_per_second))));
  }
  if (all > 0) figures.push_back(fmt::format("{} hits, {} misses", heat.hits, heat.misses));
  figures.push_back(fmt::format("{} of {} in memory", resident, mixtures * heat.experts));
  figures.push_back(fmt::format("{} tokens", heat.tokens));
  if (heat.bytes_read > 0) {
    figures.push_back(fmt::format("disk busy {:.0f} %", 100 * rates.disk_busy_share));
    figures.push_back(fmt::format("lookahead {} useful, {} late, {} wasted", heat.lookahead_useful, heat.lookahead_late,
                                  heat.lookahead_wasted));
  }
  Line line(style);
  bool first = true;
  for (const std::string& figure : figures) {
    if (columns_of(figure) + (first ? 0 : 2) > line.room()) break;
    if (!first) line.add("; ");
    line.add(figure);
    first = false;
  }
  return line.take();
}

}  // namespace

PictureGrid choose_grid(int64_t layers, int64_t experts, int columns, int rows) {
  PictureGrid best;
  const int64_t room = columns - 1 - kLabel;
  if (room < 2 || rows < 1 || layers < 1 || experts < 1) return best;
  const auto cost = [](const PictureGrid& grid) {
    return std::tuple(grid.layers_fold * grid.experts_fold, -grid.cell, grid.down);
  };
  for (const bool layers_across : {false, true}) {
    const int64_t across = layers_across ? layers : experts, down = layers_across ? experts : layers;
    for (const int cell : {2, 1}) {
      PictureGrid grid{.layers_across = layers_across, .cell = cell};
      const int64_t fold_across = ceil_div(across * cell, room - room % cell), fold_down = ceil_div(down, rows);
      if (cell == 1 && fold_across * fold_down > 1) continue;  // what a mark says would hide what the cell says
      (layers_across ? grid.layers_fold : grid.experts_fold) = fold_across;
      (layers_across ? grid.experts_fold : grid.layers_fold) = fold_down;
      grid.across = ceil_div(across, fold_across);
      grid.down = ceil_div(down, fold_down);
      if (best.across == 0 || cost(grid) < cost(best)) best = grid;
    }
  }
  return best;
}

std::vector<std::string> expert_picture(const ExpertHeat& heat, const PictureRates& rates, const PictureStyle& style) {
  if (heat.layers < 1 || heat.experts < 1 || style.rows < 1 || style.columns < 2) return {};
  std::vector<std::string> lines;
  // Beside the grid: heading, column numbers, two lines of legend, figures.
  constexpr int kLegend = 2, kBeside = 3 + kLegend;
  const PictureGrid grid = choose_grid(heat.layers, heat.experts, style.columns, style.rows - kBeside);
  if (style.rows >= kBeside + kMinGrid && grid.across > 0) {
    const Picture picture(heat, style, grid);
    lines.push_back(picture.heading());
    lines.push_back(picture.columns_line());
    for (int64_t down = 0; down < grid.down; ++down) lines.push_back(picture.row(down));
    for (std::string& line : picture.legend(kLegend)) lines.push_back(std::move(line));
  }
  lines.push_back(figures_line(heat, rates, style));
  return lines;
}

}  // namespace moxie::cli
