#include "core/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace moxie {
namespace {

using testing::HasSubstr;

TEST(Json, KeepsKindsAndOrder) {
  const auto json =
      parse_json(R"({"z":1,"a":[true,null,-2,1.5,"x\u00e9\n"],"big":18446744073709551615,"e":{},"z":2})", "text");
  ASSERT_TRUE(json.ok()) << json.error().message;
  const Json::Object& object = *json->object();
  ASSERT_EQ(object.size(), 5u);
  EXPECT_EQ(object[0].key, "z");
  EXPECT_EQ(object[1].key, "a");
  EXPECT_EQ(json->find("z")->integer(), 2);  // the last of that name, as Python takes it
  const Json::Array& array = *json->find("a")->array();
  EXPECT_EQ(array[0].get_if<bool>() != nullptr && *array[0].get_if<bool>(), true);
  EXPECT_TRUE(array[1].is_null());
  EXPECT_EQ(array[2].integer(), -2);
  EXPECT_EQ(*array[3].get_if<double>(), 1.5);
  EXPECT_EQ(*array[4].text(), "x\xC3\xA9\n");
  EXPECT_EQ(*json->find("big")->get_if<uint64_t>(), UINT64_MAX);
  EXPECT_EQ(json->find("big")->integer(), std::nullopt);
  EXPECT_TRUE(json->find("e")->object()->empty());
  EXPECT_EQ(json->find("absent"), nullptr);
  EXPECT_EQ(json->find("a")->find("x"), nullptr);
}

TEST(Json, WholeNumbersMayBeWrittenAsReals) {
  EXPECT_EQ(parse_json("2.0", "t")->integer(), 2);
  EXPECT_EQ(parse_json("1e3", "t")->integer(), 1000);
  EXPECT_EQ(parse_json("2.5", "t")->integer(), std::nullopt);
  EXPECT_EQ(parse_json("1e300", "t")->integer(), std::nullopt);
}

TEST(Json, WritesWhatItRead) {
  const std::string text = R"([1,-2,0.5,true,null,"a\"b",{"k":[],"a":{}}])";
  EXPECT_EQ(to_text(*parse_json(text, "t")), text);
}

TEST(Json, EndsWhereTheTextEnds) {
  EXPECT_TRUE(parse_json(" 1\n", "t").ok());
  for (const std::string_view text : {"", " ", "1 2", "{} {}", "[1],", "nul"})
    EXPECT_FALSE(parse_json(text, "t").ok()) << text;
  EXPECT_FALSE(parse_json(std::string_view("123\0", 4), "t").ok());
  EXPECT_FALSE(parse_json(std::string_view("{}\0junk", 7), "t").ok());
}

TEST(Json, NamesTextAndPlaceOfAnError) {
  const auto json = parse_json("{\"a\": 1,}", "config.json");
  ASSERT_FALSE(json.ok());
  EXPECT_EQ(json.error().code, ErrorCode::corrupt);
  EXPECT_THAT(json.error().message, HasSubstr("config.json: not valid JSON at byte 9"));
}

TEST(Json, HoldsItsLimits) {
  EXPECT_TRUE(parse_json("[[[]]]", "t", {.depth_max = 3}).ok());
  EXPECT_THAT(parse_json("[[[[]]]]", "t", {.depth_max = 3}).error().message, HasSubstr("deeper than 3"));
  EXPECT_TRUE(parse_json("[1,2]", "t", {.values_max = 3}).ok());
  EXPECT_THAT(parse_json("[1,2,3]", "t", {.values_max = 3}).error().message, HasSubstr("more than 3 JSON values"));
  EXPECT_THAT(parse_json("[1,2]", "t", {.bytes_max = 4}).error().message,
              HasSubstr("5 bytes of JSON, more than the limit of 4"));
  EXPECT_THAT(parse_json(R"({"a":1,"a":1})", "t", {.distinct_keys = true}).error().message,
              HasSubstr("\"a\" appears twice"));
  EXPECT_TRUE(parse_json(R"({"a":{"a":1},"b":{"a":1}})", "t", {.distinct_keys = true}).ok());
  EXPECT_FALSE(parse_json(std::string(1'000'000, '['), "t").ok());
}

// The parsing suite of other projects: y_ must parse, n_ must not, i_ may do either.
TEST(Json, AgreesWithTheParsingSuite) {
  const char* data = std::getenv("MOXIE_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "MOXIE_TEST_DATA is not set";
  const std::filesystem::path folder = std::filesystem::path(data) / "json-parsing" / "test_parsing";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is absent";
  size_t seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".json")) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const bool ok = parse_json(text, name).ok();
    seen += name[0] != 'i';
    EXPECT_TRUE(name[0] == 'i' || ok == (name[0] == 'y')) << name;
  }
  EXPECT_GT(seen, 200u);
}

}  // namespace
}  // namespace moxie
