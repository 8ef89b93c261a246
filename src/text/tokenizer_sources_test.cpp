// Sources that are damaged, incomplete or of another kind; special tokens from every source.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "text/detokenizer.h"
#include "text/tokenizer_testing.h"

namespace moxie {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

std::string refusal(const TokenizerSource& source) {
  const auto made = Tokenizer::create(source);
  if (made.ok()) return "ok";
  return std::string(name(made.error().code)) + ": " + made.error().message;
}

GgufVocabulary small_llama() {
  GgufVocabulary vocabulary;
  vocabulary.model = "llama";
  vocabulary.tokens = {"<unk>", "<s>", "</s>"};
  vocabulary.types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", byte);
    vocabulary.tokens.emplace_back(text);
    vocabulary.types.push_back(6);
  }
  for (const char* piece : {"▁", "a", "b", "ab", "▁ab", "abab"}) {
    vocabulary.tokens.emplace_back(piece);
    vocabulary.types.push_back(1);
  }
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i)
    vocabulary.scores.push_back(i < 259 ? 0.0f : -static_cast<float>(i));
  return vocabulary;
}

GgufVocabulary small_gpt2() {
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "gpt-2";
  vocabulary.tokens = {"a", "b", "ab", "Ġ", "<|endoftext|>"};
  vocabulary.types = {1, 1, 1, 1, 3};
  vocabulary.merges = {"a b"};
  return vocabulary;
}

TokenizerSource from(GgufVocabulary vocabulary) {
  TokenizerSource source;
  source.gguf = std::move(vocabulary);
  return source;
}

TEST(TokenizerSources, GgufErrorsNameTheKeyAndTheValue) {
  const auto refused = [](auto change, bool llama = true) {
    GgufVocabulary vocabulary = llama ? small_llama() : small_gpt2();
    change(vocabulary);
    return refusal(from(std::move(vocabulary)));
  };
  using V = GgufVocabulary;
  EXPECT_EQ(refused([](V&) {}), "ok");
  EXPECT_EQ(refused([](V&) {}, false), "ok");
  EXPECT_THAT(refused([](V& v) {
                v.tokens.clear();
                v.scores.clear();
                v.types.clear();
              }),
              testing::HasSubstr("corrupt: tokenizer.ggml.tokens is empty"));
  EXPECT_THAT(refused([](V& v) { v.scores.pop_back(); }),
              testing::HasSubstr("corrupt: tokenizer.ggml.scores has 264 entries"));
  EXPECT_THAT(refused([](V& v) { v.types.pop_back(); }),
              testing::HasSubstr("corrupt: tokenizer.ggml.token_type has 264"));
  EXPECT_THAT(refused([](V& v) { v.types[5] = 7; }), testing::HasSubstr("token 5 has type 7"));
  EXPECT_THAT(refused([](V& v) { v.special_ids["bos"] = 265; }),
              testing::HasSubstr("tokenizer.ggml.bos_token_id is 265"));
  EXPECT_THAT(refused([](V& v) { v.special_ids["eot"] = 1 << 30; }), testing::HasSubstr("tokenizer.ggml.eot_token_id"));
  EXPECT_THAT(refused([](V& v) { v.model = "bert"; }),
              testing::HasSubstr("unsupported: tokenizer.ggml.model is 'bert'"));
  EXPECT_THAT(refused([](V& v) { v.merges.clear(); }, false), testing::HasSubstr("tokenizer.ggml.merges is missing"));
  const std::string unknown = refused([](V& v) { v.pre = "lama-bpe"; }, false);
  EXPECT_THAT(unknown, testing::HasSubstr("unsupported: tokenizer.ggml.pre is 'lama-bpe'"));
  EXPECT_THAT(unknown, testing::HasSubstr("did you mean 'llama-bpe'?"));
  EXPECT_THAT(unknown, testing::HasSubstr("deepseek-v3"));
}

TEST(TokenizerSources, MissingPreTokenizerIsNoticed) {
  GgufVocabulary vocabulary = small_gpt2();
  vocabulary.pre.clear();
  const auto tokenizer = make_tokenizer(from(vocabulary));
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->notices(), testing::Contains(testing::HasSubstr("names no pre-tokenizer")));
  // 251 bytes have no token here.
  EXPECT_THAT(tokenizer->notices(), testing::Contains(testing::HasSubstr("253 of the 256 bytes")));
  EXPECT_EQ(tokenizer->encode("ab abz", {}), (Ids{2, 3, 2}));
}

TEST(TokenizerSources, SmallVocabularyMergesByScoreAndFallsBackToBytes) {
  const auto tokenizer = make_tokenizer(from(small_llama()));
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_EQ(tokenizer->encode("ab", {}), (Ids{263}));
  EXPECT_EQ(tokenizer->encode("abab", {}), (Ids{263, 262}));  // ▁ab is better than abab
  EXPECT_EQ(tokenizer->encode("é", {.add_special = true}), (Ids{1, 259, 3 + 0xC3, 3 + 0xA9}));
  EXPECT_EQ(tokenizer->encode("<s>", {}), (Ids{259, 3 + '<', 3 + 's', 3 + '>'}));
  EXPECT_EQ(tokenizer->encode("<s>ab", {.add_special = true, .parse_special = true}), (Ids{1, 263}));
  GgufVocabulary no_prefix = small_llama();
  no_prefix.add_space_prefix = false;
  no_prefix.add_bos = false;
  no_prefix.add_eos = true;
  const auto bare = make_tokenizer(from(no_prefix));
  ASSERT_NE(bare, nullptr);
  EXPECT_EQ(bare->encode("ab", {.add_special = true}), (Ids{262, 2}));
  EXPECT_FALSE(bare->strips_leading_space());
}

TEST(TokenizerSources, OfEqualTextsTheLastCounts) {
  GgufVocabulary vocabulary = small_llama();
  vocabulary.tokens.emplace_back("▁ab");
  vocabulary.types.push_back(1);
  vocabulary.scores.push_back(-1.0f);
  const auto tokenizer = make_tokenizer(from(vocabulary));
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->find("▁ab"), 265);
  EXPECT_EQ(tokenizer->encode("ab", {}), (Ids{265}));
  EXPECT_EQ(tokenizer->bytes(263), " ab");
}

TEST(TokenizerSources, VocabularyWithoutTypesOrScores) {
  GgufVocabulary vocabulary = small_llama();
  vocabulary.types.clear();
  vocabulary.scores.clear();
  const auto tokenizer = make_tokenizer(from(vocabulary));
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
  EXPECT_EQ(tokenizer->kind(3), TokenKind::byte);
  EXPECT_EQ(tokenizer->encode("ab\n", {}), (Ids{263, 3 + '\n'}));
  EXPECT_THAT(tokenizer->notices(), testing::Contains(testing::HasSubstr("no scores")));
}

TEST(TokenizerSources, EndIdsAreTheUnionOfAllSources) {
  GgufVocabulary vocabulary = small_gpt2();
  vocabulary.tokens.insert(vocabulary.tokens.end(), {"<|im_end|>", "<|eot_id|>", "x1", "x2", "</s>"});
  vocabulary.types.insert(vocabulary.types.end(), {3, 1, 3, 3, 1});
  vocabulary.special_ids = {{"eos", 4}, {"eot", 7}, {"eom", 8}};
  TokenizerSource source = from(vocabulary);
  source.configured_eos_ids = {0, 1000, -1};
  const auto tokenizer = make_tokenizer(source);
  ASSERT_NE(tokenizer, nullptr);
  // 5: its text is well-known; 6: so is its, though the file calls it normal; 9 is a piece of markup there.
  EXPECT_EQ(std::vector<int32_t>(tokenizer->end_ids().begin(), tokenizer->end_ids().end()), (Ids{0, 4, 5, 6, 7, 8}));
  EXPECT_EQ(tokenizer->kind(6), TokenKind::control);
  EXPECT_THAT(tokenizer->notices(), testing::Contains(testing::HasSubstr("'<|eot_id|>' is not marked")));
  EXPECT_THAT(tokenizer->notices(), testing::Contains(testing::HasSubstr("end token 1000")));
}

TEST(TokenizerSources, ModelWithMoreOrFewerLogits) {
  TokenizerSource source = from(small_llama());
  source.configured_vocab_size = 300;
  const auto padded = make_tokenizer(source);
  ASSERT_NE(padded, nullptr);
  EXPECT_EQ(padded->vocabulary_size(), 300);
  EXPECT_EQ(padded->bytes(299), "");
  EXPECT_EQ(padded->kind(299), TokenKind::unused);
  source.configured_vocab_size = 200;
  const auto cut = make_tokenizer(source);
  ASSERT_NE(cut, nullptr);
  EXPECT_THAT(cut->notices(), testing::Contains(testing::HasSubstr("265 tokens, the model only 200")));
}

TEST(TokenizerSources, SideFilesAddTokensAndSayWhatIsAdded) {
  TokenizerSource source = files_source("mixtral-8x7b-v1", {"tokenizer.json"});
  source.files["tokenizer_config.json"] =
      R"({"add_bos_token": false, "add_eos_token": true, "bos_token": {"content": "<s>"},
      "eos_token": "<|im_end|>", "added_tokens_decoder": {"32000": {"content": "<|im_end|>", "special": true},
      "32001": {"content": "<tool>", "special": false}, "2": {"content": "</s>", "special": true}}})";
  source.files["generation_config.json"] = R"({"eos_token_id": [2, 32000]})";
  const auto tokenizer = make_tokenizer(source);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->vocabulary_size(), 32002);
  EXPECT_EQ(tokenizer->eos(), 32000);
  EXPECT_FALSE(tokenizer->adds_bos());
  EXPECT_TRUE(tokenizer->adds_eos());
  EXPECT_EQ(tokenizer->encode("a<tool>", {.add_special = true}), (Ids{264, 32001, 32000}));
  EXPECT_EQ(std::vector<int32_t>(tokenizer->end_ids().begin(), tokenizer->end_ids().end()), (Ids{2, 32000}));
  source.files["tokenizer_config.json"] = R"({"tokenizer_class": "LlamaTokenizer"})";
  source.files["special_tokens_map.json"] = R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}})";
  const auto mapped = make_tokenizer(source);
  ASSERT_NE(mapped, nullptr);
  EXPECT_EQ(mapped->bos(), 1);
  EXPECT_EQ(mapped->eos(), 2);
  EXPECT_TRUE(mapped->adds_bos());
}

TEST(TokenizerSources, HuggingFaceErrorsNameWhatIsNotSupported) {
  const json base = json::parse(read_whole(tokenizer_data("byte-level/gpt-2.json")));
  const auto refused = [&](auto change) {
    json file = base;
    change(file);
    TokenizerSource source;
    source.files["tokenizer.json"] = file.dump();
    return refusal(source);
  };
  EXPECT_EQ(refused([](json&) {}), "ok");
  EXPECT_THAT(refused([](json& f) { f["model"]["type"] = "Unigram"; }),
              testing::HasSubstr("unsupported: tokenizer.json: the model is 'Unigram'"));
  EXPECT_THAT(refused([](json& f) { f["model"]["end_of_word_suffix"] = "</w>"; }),
              testing::HasSubstr("'</w>' is not supported"));
  EXPECT_THAT(refused([](json& f) { f["model"].erase("vocab"); }), testing::HasSubstr("model.vocab is missing"));
  EXPECT_THAT(refused([](json& f) { f["model"]["vocab"]["x"] = 4000000000u; }),
              testing::HasSubstr("token 'x' has no id between"));
  EXPECT_THAT(refused([](json& f) { f["model"]["vocab"]["x"] = "y"; }), testing::HasSubstr("token 'x' has no id"));
  EXPECT_THAT(refused([](json& f) { f["model"]["merges"][0] = {"a"}; }), testing::HasSubstr("is not two tokens"));
  EXPECT_THAT(refused([](json& f) { f["added_tokens"][0]["id"] = 99999999; }), testing::HasSubstr("beyond"));
  EXPECT_THAT(refused([](json& f) {
                f["normalizer"] = {{"type", "BertNormalizer"}};
              }),
              testing::HasSubstr("normalizer 'BertNormalizer'"));
  EXPECT_THAT(refused([](json& f) {
                f["pre_tokenizer"] = {{"type", "UnicodeScripts"}};
              }),
              testing::HasSubstr("pre-tokenizer 'UnicodeScripts'"));
  EXPECT_THAT(refused([](json& f) { f["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(a"; }),
              testing::HasSubstr("pattern '(a' is not supported"));
  EXPECT_THAT(
      refused([](json& f) {
        f["post_processor"] = {{"type", "TemplateProcessing"}, {"single", {{{"SpecialToken", {{"id", "<x>"}}}}}}};
      }),
      testing::HasSubstr("post_processor names token '<x>'"));
  TokenizerSource source;
  EXPECT_THAT(refusal(source), testing::HasSubstr("carries no tokenizer"));
  source.files["tokenizer.json"] = "{";
  EXPECT_THAT(refusal(source), testing::HasSubstr("corrupt"));
  source.files["tokenizer.json"] = "[]";
  EXPECT_THAT(refusal(source), testing::HasSubstr("corrupt"));
}

// A SentencePiece message of one piece and a trainer's model_type.
std::string sentencepiece_message(char model_type) {
  std::string trainer = {'\x18', model_type};
  return std::string("\x0A\x05\x0A\x03<u>", 7) + '\x12' + static_cast<char>(trainer.size()) + trainer;
}

TEST(TokenizerSources, SentencePieceErrors) {
  const auto refused = [](std::string bytes) {
    TokenizerSource source;
    source.files["tokenizer.model"] = std::move(bytes);
    return refusal(source);
  };
  EXPECT_THAT(refused(sentencepiece_message(1)),
              testing::HasSubstr("unsupported: tokenizer.model: model_type is 1 (unigram)"));
  EXPECT_THAT(refused(sentencepiece_message(2)), testing::HasSubstr("bos_id is 1, the vocabulary has 1"));
  EXPECT_THAT(refused(""), testing::HasSubstr("holds no pieces"));
  EXPECT_THAT(refused("\x0A\xFF\xFF\xFF\xFF\x0F"), testing::HasSubstr("reaches over the end"));
  EXPECT_THAT(refused("\x0F"), testing::HasSubstr("wire type 7"));
  EXPECT_THAT(refused(std::string(11, '\xFF')), testing::HasSubstr("more than 10 bytes"));
  const std::string whole = read_whole(tokenizer_data("mixtral-8x7b-v1/tokenizer.model"));
  std::mt19937 random(7);
  for (int i = 0; i < 60; ++i) {
    const size_t cut = i < 20 ? static_cast<size_t>(i) : random() % whole.size();
    const std::string outcome = refused(whole.substr(0, cut));
    EXPECT_NE(outcome, "ok") << cut;  // the trainer, which says BPE, comes last
  }
}

// ---- Properties ----

std::string random_utf8(std::mt19937& random, size_t characters) {
  static const char* const kFrequent[] = {" ",  "  ",   "\n",  "a", "e",  "the", "é", "▁",
                                          "中", "🙂", "<s>", "1", "'s", "\t",  "."};
  std::string text;
  for (size_t i = 0; i < characters; ++i) {
    if (random() % 3 != 0) {
      text += kFrequent[random() % std::size(kFrequent)];
      continue;
    }
    uint32_t code = random() % (random() % 2 ? 0x3000 : 0x110000);
    if (code >= 0xD800 && code < 0xE000) code = 'x';
    // Composed here by hand: an independent writer of UTF-8.
    if (code < 0x80) {
      text += static_cast<char>(code);
    } else if (code < 0x800) {
      text += {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
    } else if (code < 0x10000) {
      text += {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 63)),
               static_cast<char>(0x80 | (code & 63))};
    } else {
      text += {static_cast<char>(0xF0 | code >> 18), static_cast<char>(0x80 | (code >> 12 & 63)),
               static_cast<char>(0x80 | (code >> 6 & 63)), static_cast<char>(0x80 | (code & 63))};
    }
  }
  return text;
}

std::string raw_bytes(const Tokenizer& tokenizer, const Ids& ids) {
  std::string text;
  for (const int32_t id : ids) text += tokenizer.bytes(id);
  if (tokenizer.strips_leading_space() && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

std::string without_marks(std::string text) {  // ▁ is read as a space by design
  for (size_t at = text.find("▁"); at != std::string::npos; at = text.find("▁")) text.replace(at, 3, " ");
  return text;
}

TEST(TokenizerProperties, DecodingGivesTheTextBack) {
  TokenizerSource byte_level;
  byte_level.files["tokenizer.json"] = read_whole(tokenizer_data("byte-level/gpt-4o.json"));
  const std::unique_ptr<Tokenizer> tokenizers[] = {make_tokenizer(files_source("mixtral-8x7b-v1", {"tokenizer.model"})),
                                                   make_tokenizer(byte_level)};
  std::mt19937 random(3);
  for (int round = 0; round < 400; ++round) {
    std::string text = random_utf8(random, random() % 40);
    if (round % 2) {
      for (size_t i = 0; i < 5 && !text.empty(); ++i) text[random() % text.size()] = static_cast<char>(random());
    }
    for (const auto& tokenizer : tokenizers) {
      const Ids ids = tokenizer->encode(text, {});
      const std::string expected = tokenizer->strips_leading_space() ? without_marks(text) : text;
      ASSERT_EQ(raw_bytes(*tokenizer, ids), expected) << json(to_valid_utf8(text)).dump();
      // Streamed in any way it is the same, and never half a character.
      Detokenizer stream(*tokenizer, {.at_start_of_text = true});
      std::string streamed;
      for (const int32_t id : ids) {
        const std::string piece = stream.push(id);
        ASSERT_EQ(piece, to_valid_utf8(piece));
        ASSERT_EQ(complete_utf8_prefix(piece), piece.size());
        streamed += piece;
      }
      streamed += stream.finish();
      ASSERT_EQ(streamed, to_valid_utf8(expected));
    }
  }
}

TEST(TokenizerProperties, LongTextsStayFast) {
  const auto sentencepiece = make_tokenizer(files_source("mixtral-8x7b-v1", {"tokenizer.model"}));
  TokenizerSource byte_level;
  byte_level.files["tokenizer.json"] = read_whole(tokenizer_data("byte-level/deepseek-llm.json"));
  const auto deepseek = make_tokenizer(byte_level);
  ASSERT_TRUE(sentencepiece && deepseek);
  std::string blanks_then_han(1 << 18, ' ');
  blanks_then_han += "中";
  std::string letters;
  for (size_t i = 0; i < (1 << 18); ++i) letters += static_cast<char>('a' + i * i % 26);
  // Quadratic work on so many characters would take many minutes: these finish or the test times out.
  for (const Tokenizer* tokenizer : {sentencepiece.get(), deepseek.get()}) {
    for (const std::string& text : {blanks_then_han, letters, std::string(1 << 18, '\n'), std::string(1 << 18, 'A')}) {
      EXPECT_EQ(raw_bytes(*tokenizer, tokenizer->encode(text, {})), text);
    }
  }
}

TEST(Utf8, CompletePrefixAndReplacement) {
  EXPECT_EQ(complete_utf8_prefix(""), 0u);
  EXPECT_EQ(complete_utf8_prefix("abc"), 3u);
  EXPECT_EQ(complete_utf8_prefix("a\xC3"), 1u);
  EXPECT_EQ(complete_utf8_prefix("a\xC3\xA9"), 3u);
  EXPECT_EQ(complete_utf8_prefix("\xF0\x9F\x99"), 0u);
  EXPECT_EQ(complete_utf8_prefix("\xF0\x9F\x99\x82"), 4u);
  EXPECT_EQ(complete_utf8_prefix("\x80\x80"), 2u);  // no character begins so
  EXPECT_EQ(complete_utf8_prefix("\xE0\x80"), 2u);  // over-long
  EXPECT_EQ(complete_utf8_prefix("\xED\xA0"), 2u);  // surrogate
  EXPECT_EQ(complete_utf8_prefix("\xF4\x90"), 2u);  // beyond U+10FFFF
  EXPECT_EQ(complete_utf8_prefix("\xF5"), 1u);
  EXPECT_EQ(to_valid_utf8("a\xFFz"), "a\xEF\xBF\xBDz");
  EXPECT_EQ(to_valid_utf8("\xE4\xB8"), "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(to_valid_utf8("\xE4\xB8\xAD"), "\xE4\xB8\xAD");
}

}  // namespace
}  // namespace moxie
