#include "cli/console.h"

#include <gtest/gtest.h>

#include "cli/table.h"

namespace moxie::cli {
namespace {

TEST(Console, ResolvesEscapes) {
  EXPECT_EQ(resolve_escapes("a\\nb\\tc\\\\n\\\"\\'\\r"), "a\nb\tc\\n\"'\r");
  EXPECT_EQ(resolve_escapes("\\x41\\xe2\\x82\\xac"), "A\xe2\x82\xac");
  EXPECT_EQ(resolve_escapes("\\x4\\xzz\\q\\"), "\\x4\\xzz\\q\\");
  EXPECT_EQ(resolve_escapes("\\x41"), "A");
}

TEST(Console, WritesNumbersForPeople) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_bytes(28345678901), "26.4 GiB");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(46702792704), "46.7 B");
  EXPECT_EQ(human_seconds(0.0314), "31 ms");
  EXPECT_EQ(human_seconds(2.5), "2.50 s");
  EXPECT_EQ(human_seconds(125), "2 min 5 s");
  EXPECT_EQ(human_seconds(7320), "2 h 2 min");
}

TEST(Table, AlignsItsColumns) {
  Table table({"name", ">count"});
  table.row({"a", "100"});
  table.row({"longer", "1"});
  EXPECT_EQ(table.text(), "  name    count\n  a         100\n  longer      1\n");
  EXPECT_EQ(table.markdown(), "| name   | count |\n|--------|------:|\n| a      |   100 |\n| longer |     1 |\n");
}

}  // namespace
}  // namespace moxie::cli
