#include "cli/text_column.h"

#include <gtest/gtest.h>

namespace moxie::cli {
namespace {

bool fills_after(std::string_view text, int columns) {
  TextColumn column;
  column.set_row(columns);
  column.add(text);
  return column.fills_row();
}

TEST(TextColumn, KnowsWhenARowIsFull) {
  EXPECT_FALSE(fills_after("", 10));
  EXPECT_FALSE(fills_after("123456789", 10));
  EXPECT_TRUE(fills_after("1234567890", 10));
  EXPECT_FALSE(fills_after("12345678901", 10));
  EXPECT_TRUE(fills_after("12345678901234567890", 10));
  EXPECT_FALSE(fills_after("1234567890\n", 10));
  EXPECT_FALSE(fills_after("1234567890\r", 10));
  EXPECT_TRUE(fills_after("x\n\x1b[1m12345\x1b[0;33m67890\x1b[0m", 10));
  EXPECT_TRUE(fills_after("äöüäöüäöüä", 10));
  EXPECT_TRUE(fills_after("e\u0301234567890", 10));
  EXPECT_TRUE(fills_after("日本語日本", 10));
  EXPECT_TRUE(fills_after("123456789日23456789", 10));  // no half of it: the ninth is followed by a gap
  EXPECT_FALSE(fills_after("12345678\t", 10));
  EXPECT_FALSE(fills_after("123456789\t", 10));
  EXPECT_TRUE(fills_after("123456789\t0", 10));
}

TEST(TextColumn, TakesTextInPieces) {
  TextColumn column;
  EXPECT_TRUE(column.at_line_start());
  for (const char* piece : {"ab", "\x1b", "[3", "1", "m", "c"}) column.add(piece);
  EXPECT_FALSE(column.at_line_start());
  column.set_row(3);
  EXPECT_TRUE(column.fills_row());
  column.add("\n");
  EXPECT_TRUE(column.at_line_start());
}

}  // namespace
}  // namespace moxie::cli
