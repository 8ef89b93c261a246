#include "engine/stop_texts.h"

#include <gtest/gtest.h>

namespace moxie {
namespace {

std::string feed(StopTexts& stops, std::string_view text, size_t piece) {
  std::string out;
  for (size_t at = 0; at < text.size(); at += piece) out += stops.push(text.substr(at, piece));
  return out + stops.finish("");
}

TEST(StopTexts, CutsBeforeTheFirstStopHoweverTheTextIsCut) {
  for (size_t piece = 1; piece < 24; ++piece) {
    StopTexts stops({"</s>", "\nUser:"});
    EXPECT_EQ(feed(stops, "hello <b>\nUs\nUser: more</s>", piece), "hello <b>\nUs") << piece;
    EXPECT_TRUE(stops.stopped());
  }
}

TEST(StopTexts, GivesBackWhatOnlyLookedLikeAStop) {
  for (size_t piece = 1; piece < 10; ++piece) {
    StopTexts stops({"</s>"});
    EXPECT_EQ(feed(stops, "a</b></", piece), "a</b></") << piece;
    EXPECT_FALSE(stops.stopped());
  }
}

TEST(StopTexts, HoldsNothingWithoutStops) {
  StopTexts stops({""});
  EXPECT_EQ(stops.push("abc"), "abc");
}

}  // namespace
}  // namespace moxie
