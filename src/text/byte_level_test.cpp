// Byte-level BPE and the steps around it against vectors of Hugging Face's tokenizers
// (tools/make_tokenizer_vectors.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "text/detokenizer.h"
#include "text/pre_tokenizers.h"
#include "text/text_steps.h"
#include "text/tokenizer_testing.h"
#include "text/unicode_forms.h"

namespace moxie {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

const std::vector<json>& texts() {
  static const std::vector<json> rows = read_json_lines(tokenizer_data("splits/texts.jsonl"));
  return rows;
}

TEST(PreTokenizers, SplitAsOnigurumaDoes) {
  std::map<std::string, TextSteps> steps;
  size_t compared = 0;
  for (const json& row : read_json_lines(tokenizer_data("splits/splits.jsonl"))) {
    const std::string name = row[0];
    if (!steps.contains(name)) {
      const PreTokenizerEntry* entry = find_pre_tokenizer(name);
      ASSERT_NE(entry, nullptr) << name;
      std::vector<PreTokenizer> patterns;
      for (const std::string_view pattern : entry->patterns) patterns.emplace_back(SplitRegex{std::string(pattern)});
      auto created = TextSteps::create({}, patterns);
      ASSERT_TRUE(created.ok()) << created.error().message;
      steps.emplace(name, std::move(created).value());
    }
    const std::string text = texts()[row[1].get<size_t>()];
    std::vector<size_t> lengths;
    for (const auto& [begin, end] : steps.at(name).split(text, true).ranges) {
      if (end > begin) lengths.push_back(end - begin);
    }
    EXPECT_EQ(lengths, row[2].get<std::vector<size_t>>()) << name << ": " << json(text).dump();
    ++compared;
  }
  // Every row of pre_tokenizers.inc has vectors.
  EXPECT_EQ(steps.size(), pre_tokenizers().size());
  EXPECT_EQ(compared, steps.size() * texts().size());
}

TokenizerSource json_source(const std::string& name) {
  TokenizerSource source;
  source.files["tokenizer.json"] = read_whole(tokenizer_data("byte-level/" + name + ".json"));
  return source;
}

// The same vocabulary as GGUF keys, which name the pre-tokenizer only.
TokenizerSource gguf_source(const std::string& name) {
  const json file = json::parse(json_source(name).files["tokenizer.json"]);
  TokenizerSource source;
  GgufVocabulary& vocabulary = source.gguf.emplace();
  vocabulary.model = "gpt2";
  vocabulary.pre = name;
  vocabulary.tokens.resize(file["model"]["vocab"].size());
  vocabulary.types.assign(vocabulary.tokens.size(), 1);
  for (const auto& [text, id] : file["model"]["vocab"].items()) vocabulary.tokens[id.get<size_t>()] = text;
  for (const json& merge : file["model"]["merges"]) vocabulary.merges.push_back(merge);
  for (const json& token : file["added_tokens"]) vocabulary.types[token["id"].get<size_t>()] = 3;
  return source;
}

class ByteLevel : public testing::TestWithParam<std::string> {};

TEST_P(ByteLevel, EncodesAsHuggingFaceFromBothSources) {
  const std::string name = GetParam();
  const auto from_json = make_tokenizer(json_source(name)), from_gguf = make_tokenizer(gguf_source(name));
  ASSERT_TRUE(from_json && from_gguf);
  const auto rows = read_json_lines(tokenizer_data("byte-level/" + name + ".ids.jsonl"));
  ASSERT_EQ(rows.size(), texts().size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string text = texts()[i];
    const Ids expected = rows[i];
    EXPECT_EQ(from_json->encode(text, {.parse_special = true}), expected) << name << ": " << json(text).dump();
    const std::string composed =
        name == "qwen2" ? apply_form(UnicodeForm::nfc, text) : text;  // GGUF keys cannot say "NFC"
    EXPECT_EQ(from_gguf->encode(composed, {.parse_special = true}), expected) << name << ": " << json(text).dump();
    EXPECT_EQ(decode(*from_json, expected, {.with_special = true}), composed);
    EXPECT_EQ(decode(*from_gguf, expected, {.with_special = true}), composed);
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, ByteLevel, testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const PreTokenizerEntry& entry : pre_tokenizers()) names.emplace_back(entry.names[0]);
                           return names;
                         }()),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::erase_if(name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); });
                           return name;
                         });

TEST(Tekken, GivesTheIdsOfMistralsLibrary) {
  TokenizerSource source;
  source.files["tekken.json"] = read_whole(tokenizer_data("tekken/tekken.json"));
  const auto tokenizer = make_tokenizer(source);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocabulary_size(), 3500);
  EXPECT_EQ(tokenizer->find("[TOOL_CALLS]"), 9);
  EXPECT_EQ(tokenizer->text(999), "<SPECIAL_999>");
  EXPECT_TRUE(tokenizer->is_end(2));
  const auto rows = read_json_lines(tokenizer_data("tekken/tekken.ids.jsonl"));
  ASSERT_EQ(rows.size(), texts().size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string text = texts()[i];
    EXPECT_EQ(tokenizer->encode(text, {.add_special = true}), rows[i].get<Ids>()) << json(text).dump();
    EXPECT_EQ(decode(*tokenizer, rows[i].get<Ids>(), {.at_start_of_text = true}), text);
  }
  EXPECT_EQ(tokenizer->encode("[INST]", {.parse_special = true}), (Ids{3}));
}

TEST(Tekken, RefusesWhatDoesNotFit) {
  const json base = json::parse(read_whole(tokenizer_data("tekken/tekken.json")));
  const auto refused = [&](auto change) {
    json file = base;
    change(file);
    TokenizerSource source;
    source.files["tekken.json"] = file.dump();
    const auto made = Tokenizer::create(source);
    return made.ok() ? std::string("ok") : made.error().message;
  };
  EXPECT_EQ(refused([](json&) {}), "ok");
  EXPECT_THAT(refused([](json& f) { f["config"]["default_vocab_size"] = 4000; }),
              testing::HasSubstr("do not fit the 2550 entries"));
  EXPECT_THAT(refused([](json& f) { f["config"]["default_num_special_tokens"] = 0; }),
              testing::HasSubstr("do not fit"));
  EXPECT_THAT(refused([](json& f) { f["config"]["default_vocab_size"] = int64_t{1} << 40; }),
              testing::HasSubstr("do not fit"));
  EXPECT_THAT(refused([](json& f) { f["vocab"][7]["rank"] = 8; }), testing::HasSubstr("rank 8 that is doubled"));
  EXPECT_THAT(refused([](json& f) { f["vocab"][7]["rank"] = 2549; }), testing::HasSubstr("no entry with rank 7"));
  EXPECT_THAT(refused([](json& f) { f["vocab"][7]["token_bytes"] = "*"; }), testing::HasSubstr("base64"));
  EXPECT_THAT(refused([](json& f) {
                f["special_tokens"] = {{{"rank", 1000}, {"token_str", "x"}}};
              }),
              testing::HasSubstr("rank 1000"));
  EXPECT_THAT(refused([](json& f) { f["config"]["pattern"] = "("; }), testing::HasSubstr("not supported"));
}

TEST(TokenizerJson, SpaceMarksInEveryForm) {
  const json base = json::parse(read_whole(tokenizer_data("mixtral-8x7b-v1/tokenizer.json")));
  std::map<std::string, std::unique_ptr<Tokenizer>> tokenizers;
  const auto definition_of = [&](const std::string& variant) {
    json definition = base;
    if (variant == "legacy") {
      definition["pre_tokenizer"] = nullptr;
      definition["normalizer"] = {{"type", "Sequence"},
                                  {"normalizers",
                                   {{{"type", "Prepend"}, {"prepend", "▁"}},
                                    {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}}};
      return definition;
    }
    const size_t dash = variant.find('-');
    definition["pre_tokenizer"] = {{"type", "Metaspace"},
                                   {"replacement", "▁"},
                                   {"prepend_scheme", variant.substr(0, dash)},
                                   {"split", variant.substr(dash) == "-split"}};
    return definition;
  };
  for (const json& row : read_json_lines(tokenizer_data("variants/mixtral-prefix.jsonl"))) {
    const std::string variant = row["variant"], text = row["text"];
    if (!tokenizers.contains(variant)) {
      TokenizerSource source;
      source.files["tokenizer.json"] = definition_of(variant).dump();
      tokenizers[variant] = make_tokenizer(source);
      ASSERT_NE(tokenizers[variant], nullptr);
    }
    const Tokenizer& tokenizer = *tokenizers[variant];
    const Ids ids = row["ids"];
    // The library adds BOS whatever the text begins with; moxie never twice.
    Ids expected = ids;
    if (expected.size() > 1 && expected[1] == 1) expected.erase(expected.begin());
    EXPECT_EQ(tokenizer.encode(text, {.add_special = true, .parse_special = true}), expected)
        << variant << ": " << row["text"];
    EXPECT_EQ(decode(tokenizer, ids, {.at_start_of_text = true}), row["decoded"].get<std::string>())
        << variant << ": " << row["text"];
  }
  EXPECT_EQ(tokenizers.size(), 7u);
}

TEST(TokenizerJson, AddedTokensStepsAndUnknownCharacters) {
  const json definitions = json::parse(read_whole(tokenizer_data("variants/small.json")));
  std::map<std::string, std::unique_ptr<Tokenizer>> tokenizers;
  for (const auto& [name, changes] : definitions.items()) {
    json definition = definitions["added"];
    for (const auto& [key, value] : changes.items()) {
      if (key == "model" && !value.contains("vocab")) {
        definition[key].update(value);
      } else {
        definition[key] = value;
      }
    }
    TokenizerSource source;
    source.files["tokenizer.json"] = definition.dump();
    tokenizers[name] = make_tokenizer(source);
    ASSERT_NE(tokenizers[name], nullptr) << name;
  }
  const auto rows = read_json_lines(tokenizer_data("variants/small.jsonl"));
  EXPECT_GT(rows.size(), 500u);
  for (const json& row : rows) {
    const Tokenizer& tokenizer = *tokenizers.at(row["variant"].get<std::string>());
    EXPECT_EQ(tokenizer.encode(row["text"].get<std::string>(), {.parse_special = true}), row["ids"].get<Ids>())
        << row["variant"] << ": " << row["text"];
  }
}

}  // namespace
}  // namespace moxie
