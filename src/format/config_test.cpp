#include "format/config.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "format/test_files.h"

namespace moxie {
namespace {

using test::TempFolder;

TEST(Config, IsFlattenedWithDots) {
  const auto config = parse_config(
      R"({"a":1,"rope_scaling":{"factor":8.0,"type":"yarn","deep":{"x":true}},"none":null,"archs":["M"],"dims":[1,2],)"
      R"("mixed":[1,2.5],"flags":[true],"odd":[1,"x"],"nested":[[1]],"empty":[],"theta":1e6,"big":18446744073709551615})",
      "config.json");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->integer("a"), 1);
  EXPECT_EQ(config->number("rope_scaling.factor"), 8.0);
  EXPECT_EQ(config->text("rope_scaling.type"), "yarn");
  EXPECT_EQ(config->boolean("rope_scaling.deep.x"), true);
  EXPECT_FALSE(config->has("none"));
  EXPECT_FALSE(config->has("rope_scaling"));
  EXPECT_EQ(config->texts("archs"), std::vector<std::string>{"M"});
  EXPECT_EQ(config->integers("dims"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(config->numbers("mixed"), (std::vector<double>{1, 2.5}));
  EXPECT_EQ(config->integers("flags"), std::vector<int64_t>{1});
  EXPECT_EQ(config->text("odd"), R"([1,"x"])");
  EXPECT_EQ(config->text("nested"), "[[1]]");
  EXPECT_EQ(config->integers("empty"), std::vector<int64_t>{});
  EXPECT_EQ(config->number("theta"), 1e6);
  EXPECT_EQ(std::get<uint64_t>(*config->find("big")), UINT64_MAX);
}

TEST(TokenizerFiles, AreReadAsTheyAre) {
  const TempFolder at;
  at.write("tokenizer.json", "{}");
  at.write("tokenizer_config.json", "{\"a\": 1}");
  at.write("generation_config.json", R"({"eos_token_id": [2, 7]})");
  at.write("tokenizer.model.v1", "one");
  at.write("tokenizer.model.v3", "three");
  at.write("other.json", "x");
  at.write("additional_chat_templates/tool_use.jinja", "{{ x }}");
  const auto config = parse_config(R"({"eos_token_id": 2, "vocab_size": 99})", "config.json");
  const auto source = read_tokenizer_files(at.path(), *config);
  ASSERT_TRUE(source.ok()) << source.error().message;
  EXPECT_EQ(source->files,
            (std::map<std::string, std::string>{{"tokenizer.json", "{}"},
                                                {"tokenizer_config.json", "{\"a\": 1}"},
                                                {"generation_config.json", R"({"eos_token_id": [2, 7]})"},
                                                {"tokenizer.model", "three"}}));
  EXPECT_EQ(source->chat_templates, (std::map<std::string, std::string>{{"tool_use", "{{ x }}"}}));
  EXPECT_EQ(source->configured_eos_ids, (std::vector<int64_t>{2, 7}));
  EXPECT_EQ(source->configured_vocab_size, 99);
}

std::map<std::string, std::string> templates_in(const TempFolder& at) {
  const auto source = read_tokenizer_files(at.path(), Metadata());
  EXPECT_TRUE(source.ok()) << source.error().message;
  return source.ok() ? source->chat_templates : std::map<std::string, std::string>();
}

TEST(ChatTemplates, StandInThreePlacesOfWhichTheNewestWins) {
  using Templates = std::map<std::string, std::string>;
  const TempFolder at;
  at.write("tokenizer_config.json", R"({"chat_template": "oldest"})");
  EXPECT_EQ(templates_in(at), (Templates{{"", "oldest"}}));
  at.write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "rag", "template": "x"}, {"name": "default", "template": "y"}, {"name": 1}]})");
  EXPECT_EQ(templates_in(at), (Templates{{"", "y"}, {"rag", "x"}}));
  at.write("chat_template.json", R"({"chat_template": "newer"})");
  EXPECT_EQ(templates_in(at), (Templates{{"", "newer"}, {"rag", "x"}}));
  at.write("chat_template.jinja", "newest");
  at.write("additional_chat_templates/rag.jinja", "z");
  EXPECT_EQ(templates_in(at), (Templates{{"", "newest"}, {"rag", "z"}}));
  at.write("tokenizer_config.json", R"({"chat_template": 7})");
  EXPECT_EQ(templates_in(at), (Templates{{"", "newest"}, {"rag", "z"}}));
}

TEST(ChatTemplates, InADamagedFileAreAnError) {
  const TempFolder at;
  at.write("tokenizer_config.json", "{");
  const auto source = read_tokenizer_files(at.path(), Metadata());
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.error().code, ErrorCode::corrupt);
  EXPECT_NE(source.error().message.find("tokenizer_config.json: not valid JSON"), std::string::npos)
      << source.error().message;
}

TEST(TokenizerFiles, MayBeAbsent) {
  const TempFolder at;
  const auto source = read_tokenizer_files(at.path(), Metadata());
  ASSERT_TRUE(source.ok()) << source.error().message;
  EXPECT_TRUE(source->empty());
}

}  // namespace
}  // namespace moxie
