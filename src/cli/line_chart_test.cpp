#include "cli/line_chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

namespace moxie::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

size_t count(const std::string& text, const std::string& piece) {
  size_t found = 0;
  for (size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) ++found;
  return found;
}

// Every element is closed in its turn.
bool well_formed(const std::string& xml) {
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-z]+)([^<>]*?)(/?)>");
  for (auto at = std::sregex_iterator(xml.begin(), xml.end(), tag); at != std::sregex_iterator(); ++at) {
    if ((*at)[1].length() > 0) {
      if (open.empty() || open.back() != (*at)[2]) return false;
      open.pop_back();
    } else if ((*at)[4].length() == 0) {
      open.push_back((*at)[2]);
    }
  }
  return open.empty() && count(xml, "<") == count(xml, ">");
}

LineChart small() {
  return {.title = "Rates <of> \"a & b\"",
          .subtitle = "two lines",
          .x_label = "slots",
          .y_label = "share",
          .lines = {{.name = "one", .points = {{2, 0.35}, {3, 0.5}, {4, 0.62}}},
                    {.name = "bound", .points = {{2, 0.55}, {3, 0.7}, {4, 1}}, .reference = true}}};
}

TEST(LineChart, DrawsEachLineWithItsLegend) {
  const std::string drawn = svg(small());
  EXPECT_TRUE(well_formed(drawn)) << drawn;
  EXPECT_EQ(count(drawn, "<polyline"), 2u);
  EXPECT_EQ(count(drawn, "<path d=\"M"),
            1u + 3 + 1);  // the axes, a mark for each point, one in the legend; none on the bound
  EXPECT_EQ(count(drawn, "stroke-dasharray"), 2u);  // the bound and its legend
  for (const char* text :
       {">one<", ">bound<", ">slots<", ">share<", ">two lines<", ">100 %<", ">30 %<", ">2<", ">4<"}) {
    EXPECT_THAT(drawn, HasSubstr(text));
  }
  EXPECT_THAT(drawn, Not(HasSubstr(">20 %<")));  // the axis begins below the lowest value
  EXPECT_THAT(drawn, HasSubstr("Rates &lt;of&gt; &quot;a &amp; b&quot;"));
}

TEST(LineChart, HigherSharesLieHigher) {
  const std::string drawn = svg(small());
  std::smatch found;
  ASSERT_TRUE(std::regex_search(drawn, found, std::regex("points=\"([0-9.]+),([0-9.]+) ([0-9.]+),([0-9.]+) ")));
  EXPECT_LT(std::stod(found[1]), std::stod(found[3]));
  EXPECT_GT(std::stod(found[2]), std::stod(found[4]));
}

TEST(LineChart, TakesASinglePoint) {
  const std::string drawn = svg({.title = "t", .lines = {{.name = "one", .points = {{4, 0}}}}});
  EXPECT_TRUE(well_formed(drawn));
  EXPECT_THAT(drawn, Not(HasSubstr("nan")));
  EXPECT_THAT(drawn, HasSubstr(">0 %<"));
}

}  // namespace
}  // namespace moxie::cli
