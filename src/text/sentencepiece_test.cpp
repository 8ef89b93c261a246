// SentencePiece-style BPE against vectors of the SentencePiece library.
#include <gtest/gtest.h>

#include "text/detokenizer.h"
#include "text/tokenizer_testing.h"

namespace moxie {
namespace {

using Ids = std::vector<int32_t>;

const Tokenizer& mixtral_json() {
  static const auto tokenizer =
      make_tokenizer(files_source("mixtral-8x7b-v1", {"tokenizer.json", "tokenizer_config.json"}));
  return *tokenizer;
}

struct VectorCase {
  const char* folder;
  const char* vectors;
};

class SentencePieceVectors : public testing::TestWithParam<VectorCase> {};

TEST_P(SentencePieceVectors, EncodeAndDecodeAsTheLibraryDoes) {
  const auto tokenizer = make_tokenizer(files_source(GetParam().folder, {"tokenizer.model"}));
  ASSERT_NE(tokenizer, nullptr);
  const auto rows = read_json_lines(tokenizer_data(GetParam().vectors));
  ASSERT_EQ(rows.size(), 235u);
  for (const auto& row : rows) {
    const std::string text = row["text"];
    const Ids ids = row["ids"];
    EXPECT_EQ(tokenizer->encode(text, {}), ids) << text.substr(0, 80);
    EXPECT_EQ(decode(*tokenizer, ids, {.at_start_of_text = true}), row["decoded"].get<std::string>());
    std::string streamed;
    Detokenizer stream(*tokenizer, {.at_start_of_text = true});
    for (const int32_t id : ids) {
      const std::string piece = stream.push(id);
      EXPECT_EQ(complete_utf8_prefix(piece), piece.size());
      streamed += piece;
    }
    EXPECT_EQ(streamed + stream.finish(), row["decoded"].get<std::string>());
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SentencePieceVectors,
                         testing::Values(VectorCase{"mixtral-8x7b-v1", "vectors/mixtral-v1.jsonl"},
                                         VectorCase{"mistral-v2", "vectors/mistral-v3.jsonl"},
                                         VectorCase{"mistral-v3", "vectors/mistral-v3.jsonl"}),
                         [](const auto& info) {
                           std::string name = info.param.folder;
                           std::erase_if(name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); });
                           return name;
                         });

TEST(SentencePiece, CheckValues) {
  const std::pair<const char*, Ids> cases[] = {
      {"Hello, world!", {22557, 28725, 1526, 28808}},
      {"[INST] Hello [/INST]", {733, 16289, 28793, 22557, 733, 28748, 16289, 28793}},
      {"  two  spaces", {259, 989, 28705, 10599}},
      {"été 12345", {7166, 28705, 28740, 28750, 28770, 28781, 28782}},
      {"🙂 emoji", {28705, 29340, 877, 27813}},
      {"def f(x):\n    return x*2\n", {801, 285, 28732, 28744, 1329, 13, 2287, 604, 1318, 28736, 28750, 13}},
      {"The capital of France is", {415, 5565, 302, 4843, 349}},
  };
  for (const auto& [text, ids] : cases) EXPECT_EQ(mixtral().encode(text, {}), ids) << text;
}

// Metaspace with "first" puts no mark before a text that begins with one, and none behind a special token.
TEST(SentencePiece, TokenizerJsonFollowsItsOwnPrefixRule) {
  size_t same = 0, other = 0;
  for (const auto& row : read_json_lines(tokenizer_data("vectors/mixtral-v1.jsonl"))) {
    const std::string text = row["text"];
    const bool begins_with_mark = text.starts_with(' ') || text.starts_with("▁");
    const Ids& ids = row["ids"];
    if (!begins_with_mark) {
      EXPECT_EQ(mixtral_json().encode(text, {}), ids) << text.substr(0, 80);
      ++same;
    } else {  // the library's ids for the text without its first mark
      const std::string shorter = text.substr(text.starts_with(' ') ? 1 : 3);
      if (!shorter.empty()) {
        EXPECT_EQ(mixtral_json().encode(text, {}), mixtral().encode(shorter, {})) << text.substr(0, 80);
        ++other;
      }
    }
  }
  EXPECT_EQ(same, 134u);
  EXPECT_EQ(other, 99u);
}

// The older form of the file marks spaces as the library does: every vector holds.
TEST(SentencePiece, TokenizerJsonInItsOlderForm) {
  auto file = nlohmann::json::parse(read_whole(tokenizer_data("mixtral-8x7b-v1/tokenizer.json")));
  file["pre_tokenizer"] = nullptr;
  file["normalizer"] =
      nlohmann::json::parse(R"({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})");
  TokenizerSource source;
  source.files["tokenizer.json"] = file.dump();
  const auto tokenizer = make_tokenizer(source);
  ASSERT_NE(tokenizer, nullptr);
  size_t compared = 0;
  for (const auto& row : read_json_lines(tokenizer_data("vectors/mixtral-v1.jsonl"))) {
    EXPECT_EQ(tokenizer->encode(row["text"].get<std::string>(), {}), row["ids"].get<Ids>()) << row["text"];
    ++compared;
  }
  EXPECT_EQ(compared, 235u);
}

TEST(SentencePiece, SpecialTokensWrittenOut) {
  const EncodeOptions plain, parsed{.parse_special = true};
  EXPECT_EQ(mixtral().encode("<s>", plain), (Ids{523, 28713, 28767}));
  EXPECT_EQ(mixtral_json().encode("<s>", plain), (Ids{523, 28713, 28767}));
  // As Hugging Face's tokenizers library has it for this tokenizer.json.
  EXPECT_EQ(mixtral_json().encode("a<s>b", parsed), (Ids{264, 1, 28726}));
  EXPECT_EQ(mixtral_json().encode("a </s> b", parsed), (Ids{264, 28705, 2, 287}));
  EXPECT_EQ(mixtral_json().encode(" <s>x", parsed), (Ids{28705, 1, 28744}));
  // With the dummy prefix every piece after a special token gets its mark.
  EXPECT_EQ(mixtral().encode("a<s>b", parsed), (Ids{264, 1, 287}));
}

TEST(SentencePiece, NeverTwoBos) {
  for (const Tokenizer* tokenizer : {&mixtral(), &mixtral_json()}) {
    EXPECT_TRUE(tokenizer->adds_bos());
    EXPECT_FALSE(tokenizer->adds_eos());
    const EncodeOptions both{.add_special = true, .parse_special = true};
    EXPECT_EQ(tokenizer->encode("", both), (Ids{1}));
    EXPECT_EQ(tokenizer->encode("a", both), (Ids{1, 264}));
    EXPECT_EQ(tokenizer->encode("<s>", both), (Ids{1}));
    EXPECT_EQ(tokenizer->encode("<s>", {.add_special = true}), (Ids{1, 523, 28713, 28767}));
  }
  EXPECT_EQ(mixtral().encode("<s> a", {.add_special = true, .parse_special = true}), (Ids{1, 28705, 264}));
  EXPECT_EQ(mixtral_json().encode("<s> a", {.add_special = true, .parse_special = true}), (Ids{1, 264}));
}

TEST(SentencePiece, VocabularyFacts) {
  for (const Tokenizer* tokenizer : {&mixtral(), &mixtral_json()}) {
    EXPECT_EQ(tokenizer->vocabulary_size(), 32000);
    EXPECT_EQ(tokenizer->bos(), 1);
    EXPECT_EQ(tokenizer->eos(), 2);
    EXPECT_EQ(tokenizer->unknown(), 0);
    EXPECT_TRUE(tokenizer->is_end(2));
    EXPECT_EQ(tokenizer->end_ids().size(), 1u);
    EXPECT_EQ(tokenizer->text(415), "▁The");
    EXPECT_EQ(tokenizer->find("▁The"), 415);
    EXPECT_EQ(tokenizer->find("no such token"), -1);
    EXPECT_EQ(tokenizer->kind(13), TokenKind::byte);
    EXPECT_EQ(tokenizer->bytes(13), "\n");
    EXPECT_EQ(tokenizer->bytes(415), " The");
    EXPECT_EQ(tokenizer->bytes(1), "");
    EXPECT_EQ(tokenizer->bytes(1, true), "<s>");
    EXPECT_EQ(tokenizer->bytes(-1), "");
    EXPECT_EQ(tokenizer->bytes(32000), "");
    EXPECT_TRUE(tokenizer->notices().empty());
  }
}

// User-defined pieces are found while merging: no dummy prefix behind them (ids of SentencePiece 0.2).
TEST(SentencePiece, UserDefinedPieces) {
  const auto v3 = make_tokenizer(files_source("mistral-v3", {"tokenizer.model"}));
  ASSERT_NE(v3, nullptr);
  EXPECT_EQ(v3->encode("[REFERENCE_DOC_1] x", {}), (Ids{29473, 769, 2086}));
  EXPECT_EQ(v3->encode("a[REFERENCE_DOC_1]b", {}), (Ids{1032, 769, 29494}));
  EXPECT_EQ(v3->encode("[INST] a[/INST]", {.add_special = true, .parse_special = true}), (Ids{1, 3, 29473, 1032, 4}));
}

// Models with user-defined and unused pieces, without byte pieces, with collapsed spaces: random texts and all.
TEST(SentencePiece, OtherSettings) {
  for (const char* model : {"unknown-collapsed", "user-defined"}) {
    TokenizerSource source;
    source.files["tokenizer.model"] = read_whole(tokenizer_data(std::string("sentencepiece/") + model + ".model"));
    const auto tokenizer = make_tokenizer(source);
    ASSERT_NE(tokenizer, nullptr);
    const auto rows = read_json_lines(tokenizer_data(std::string("sentencepiece/") + model + ".jsonl"));
    ASSERT_GT(rows.size(), 100u);
    for (const auto& row : rows) {
      EXPECT_EQ(tokenizer->encode(row["text"].get<std::string>(), {}), row["ids"].get<Ids>())
          << model << ": " << row["text"];
    }
  }
}

}  // namespace
}  // namespace moxie
