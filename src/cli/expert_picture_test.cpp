#include "cli/expert_picture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace moxie::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

ExpertHeat heat_of(int64_t layers, int64_t experts) {
  const auto all = static_cast<size_t>(layers * experts);
  return {.layers = layers,
          .experts = experts,
          .states = std::vector<ExpertState>(all, ExpertState::absent),
          .uses = std::vector<uint64_t>(all, 0),
          .last = std::vector<uint8_t>(all, 0),
          .pinned = std::vector<uint8_t>(all, 0),
          .mixtures = std::vector<uint8_t>(static_cast<size_t>(layers), 1)};
}

int columns_of(std::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// Two layers: every state in the first one, the second without a mixture.
ExpertHeat every_state() {
  ExpertHeat heat = heat_of(3, 8);
  heat.mixtures[1] = 0;
  const auto resident = [&](size_t at, uint64_t uses) {
    heat.states[at] = ExpertState::resident;
    heat.uses[at] = uses;
  };
  heat.uses[1] = 3;  // was used and went
  heat.states[2] = ExpertState::reading;
  heat.states[3] = ExpertState::reading;
  heat.last[3] = 1;
  resident(4, 0);
  resident(5, 40);
  resident(6, 80);
  heat.last[5] = heat.pinned[5] = 1;
  heat.pinned[6] = 1;
  resident(7, 10);
  heat.last[7] = 1;
  return heat;
}

TEST(ExpertPicture, EveryStateHasASignOfItsOwn) {
  ExpertHeat heat = every_state();
  heat.hits = 75;
  heat.misses = 25;
  heat.bytes_read = 3 << 20;
  heat.tokens = 50;
  const PictureRates rates = {.tokens_per_second = 2.5, .bytes_per_second = 1 << 20, .stall_share = 0.4};
  EXPECT_THAT(expert_picture(heat, rates, {.columns = 110, .rows = 12}),
              ElementsAre("-- experts across, layers down " + std::string(78, '-'),  //
                          "      0   2   4   6",                                     //
                          "   0  . : ~>~ 0#4=8>1",                                   //
                          "   1",                                                    //
                          "   2  . . . . . . . .",                                   //
                          "> used now  = pinned  # both  ~ reading  . absent  : was used  0-8 in memory, by use",
                          "hits 75.0 %; 2.5 tokens/s; waited 40 %; read 3.0 MiB, 1.0 MiB/s; 75 hits, 25 misses; 4 of "
                          "16 in memory"));
}

TEST(ExpertPicture, ColoursAreAddedToTheSameSigns) {
  const ExpertHeat heat = every_state();
  for (const bool unicode : {false, true}) {
    const auto plain = expert_picture(heat, {}, {.columns = 70, .rows = 12, .unicode = unicode});
    auto coloured = expert_picture(heat, {}, {.columns = 70, .rows = 12, .colour = true, .unicode = unicode});
    EXPECT_THAT(coloured[2], HasSubstr("\x1b[0;1;33m>"));
    for (std::string& line : coloured) {
      EXPECT_TRUE(line.find('\x1b') == std::string::npos || line.ends_with("\x1b[0m")) << line;
      for (size_t at; (at = line.find('\x1b')) != std::string::npos;) line.erase(at, line.find('m', at) + 1 - at);
      line.erase(line.find_last_not_of(' ') + 1);
    }
    EXPECT_EQ(coloured, plain);
  }
  EXPECT_EQ(expert_picture(heat, {}, {.columns = 70, .rows = 12, .unicode = true})[2], "   0  · : ~>~ _#▄=█>▁");
}

TEST(ExpertPicture, LayoutsFitAndFoldNoMoreThanTheyMust) {
  struct Expected {
    int64_t layers, experts;
    int columns, rows;
    bool across;
    int64_t layers_fold, experts_fold;
    int cell;
  };
  for (const Expected& e : {
           Expected{32, 8, 80, 9, true, 1, 1, 2},       // the shorter side is the height
           Expected{4, 8, 80, 9, false, 1, 1, 2},       //
           Expected{32, 8, 60, 9, true, 1, 1, 1},       // narrow cells before folding
           Expected{32, 8, 40, 9, true, 1, 1, 1},       //
           Expected{48, 128, 80, 9, false, 6, 4, 2},    //
           Expected{48, 128, 300, 60, false, 1, 1, 2},  //
           Expected{48, 128, 140, 60, false, 1, 1, 1},
       }) {
    const PictureGrid grid = choose_grid(e.layers, e.experts, e.columns, e.rows);
    EXPECT_EQ(grid.layers_across, e.across) << e.layers << " x " << e.experts << " in " << e.columns;
    EXPECT_EQ(grid.layers_fold, e.layers_fold) << e.layers << " x " << e.experts << " in " << e.columns;
    EXPECT_EQ(grid.experts_fold, e.experts_fold) << e.layers << " x " << e.experts << " in " << e.columns;
    EXPECT_EQ(grid.cell, e.cell) << e.layers << " x " << e.experts << " in " << e.columns;
  }
}

TEST(ExpertPicture, FitsEveryTerminal) {
  for (const auto& [layers, experts] : {std::pair<int64_t, int64_t>{1, 1}, {4, 8}, {32, 8}, {48, 128}, {94, 512}}) {
    ExpertHeat heat = heat_of(layers, experts);
    heat.hits = heat.misses = heat.bytes_read = heat.tokens = uint64_t{1} << 60;
    std::fill(heat.states.begin(), heat.states.end(), ExpertState::resident);
    for (int columns = 1; columns < 300; columns += columns < 12 ? 1 : 31) {
      for (int rows = 0; rows < 120; rows += rows < 12 ? 1 : 29) {
        for (const bool unicode : {false, true}) {
          const auto lines =
              expert_picture(heat, {.tokens_per_second = 1e9}, {.columns = columns, .rows = rows, .unicode = unicode});
          ASSERT_LE(lines.size(), static_cast<size_t>(rows)) << layers << " " << columns << " " << rows;
          for (const std::string& line : lines) {
            ASSERT_LT(columns_of(line), std::max(columns, 1)) << layers << " " << columns << " " << rows << line;
          }
          if (columns >= 20 && rows >= 7) {
            const PictureGrid grid = choose_grid(layers, experts, columns, rows - 5);
            // No expert is left out.
            EXPECT_GE((grid.layers_across ? grid.across : grid.down) * grid.layers_fold, layers);
            EXPECT_GE((grid.layers_across ? grid.down : grid.across) * grid.experts_fold, experts);
            EXPECT_GE(lines.size(), static_cast<size_t>(grid.down + 4));
          }
        }
      }
    }
  }
}

TEST(ExpertPicture, FoldedCellsShowTheShareInMemory) {
  ExpertHeat heat = heat_of(8, 128);
  const auto at = [](size_t layer, size_t id) { return layer * 128 + id; };
  for (size_t id = 0; id < 4; ++id) heat.states[at(0, id)] = ExpertState::resident;  // all of a cell
  heat.states[at(0, 4)] = ExpertState::resident;                                     // a quarter, often used
  heat.uses[at(0, 4)] = 100;
  heat.states[at(0, 8)] = ExpertState::reading;
  heat.last[at(0, 12)] = 1;
  heat.last[at(0, 16)] = 1;
  heat.states[at(0, 17)] = ExpertState::reading;
  heat.pinned[at(0, 20)] = 1;
  const auto lines = expert_picture(heat, {}, {.columns = 80, .rows = 13});
  EXPECT_THAT(lines[0], StartsWith("-- experts across, layers down; a cell is 4 experts of 1 layer ---"));
  EXPECT_THAT(lines[1], StartsWith("      0   8  16  24"));
  EXPECT_THAT(lines[2], StartsWith("   0  h B~.>.*.=. ."));
  EXPECT_THAT(lines[10], StartsWith("> used now  ~ reading  * both  = pinned  . absent  share in memory:"));
  EXPECT_EQ(lines[11], "a-h seldom used  A-H often");
  const auto bars = expert_picture(heat, {}, {.columns = 80, .rows = 13, .colour = true, .unicode = true});
  EXPECT_THAT(bars[2], HasSubstr("\x1b[0;32m█"));  // seldom used
  EXPECT_THAT(bars[2], HasSubstr("\x1b[0;92m▂"));  // often
}

TEST(ExpertPicture, FiguresGoLastAndTheLeastImportantOnesFirst) {
  ExpertHeat heat = heat_of(4, 8);
  EXPECT_THAT(expert_picture(heat, {}, {.columns = 80, .rows = 3}),
              ElementsAre("0.0 tokens/s; 0 of 32 in memory; 0 tokens"));
  heat.hits = 1;
  heat.bytes_read = 1;
  EXPECT_THAT(expert_picture(heat, {}, {.columns = 27, .rows = 3}), ElementsAre("hits 100.0 %; 0.0 tokens/s"));
  EXPECT_TRUE(expert_picture(heat, {}, {.columns = 80, .rows = 0}).empty());
  EXPECT_TRUE(expert_picture(ExpertHeat(), {}, {.columns = 80, .rows = 20}).empty());
}

}  // namespace
}  // namespace moxie::cli
