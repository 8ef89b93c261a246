// Byte-level BPE and the steps around it against vectors of Hugging Face's tokenizers (tools/make_tokenizer_vectors.py).
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
    const std::string composed = name == "qwen2" ? apply_form(UnicodeForm::nfc, text) : text;  // GGUF keys cannot say "NFC"
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
    EXPECT_EQ(tokenizer.encode(text, {.add_special = true, .parse_special = true}), expected) << variant << ": " << row["text"];
    EXPECT_EQ(decode(tokenizer, ids, {.at_start_of_text = true}), row["decoded"].get<std::string>()) << variant << ": " << row["text"];
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
