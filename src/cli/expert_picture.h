// The experts of a model as lines of text: a grid of layers and experts with a legend, and a line of figures. Pure:
// what it is given decides what it draws. Every state has a sign of its own, so that colours only help. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "moxie/engine.h"

namespace moxie::cli {

struct PictureStyle {
  int columns = 80, rows = 24;  // at most that many; a line never fills the last column
  bool colour = false;
  bool unicode = false;  // bars and dots; else ASCII
};

// Over the last moments.
struct PictureRates {
  double tokens_per_second = 0;
  double bytes_per_second = 0;
  double stall_share = 0;      // of the time, computing waited for the disk
  double disk_busy_share = 0;  // of the time, at least one read was in flight
};

// How a grid is laid out in a given room.
struct PictureGrid {
  bool layers_across = false;                 // else experts
  int64_t layers_fold = 1, experts_fold = 1;  // that one cell stands for
  int cell = 2;                               // columns of a cell; 2 have room for a mark
  int64_t across = 0, down = 0;               // cells

  bool folded() const { return layers_fold * experts_fold > 1; }
};
// The layout that folds least; of these the one with wide cells and few rows. across is 0 where there is no room.
PictureGrid choose_grid(int64_t layers, int64_t experts, int columns, int rows);

// Never more than style.rows lines: the line of figures comes last and goes last when room gets scarce. Escape
// sequences are those of colour alone. Empty where not even that line has room, or there are no experts.
std::vector<std::string> expert_picture(const ExpertHeat& heat, const PictureRates& rates, const PictureStyle& style);

}  // namespace moxie::cli
