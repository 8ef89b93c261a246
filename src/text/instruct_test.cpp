#include "text/instruct.h"

#include <gtest/gtest.h>

#include "text/tokenizer_testing.h"

namespace moxie {
namespace {

using Ids = std::vector<int32_t>;

const Tokenizer& v3() {
  static const auto tokenizer = make_tokenizer(files_source("mistral-v3", {"tokenizer.model"}));
  return *tokenizer;
}
// Mixtral's vocabulary with the two tokens that ChatML fine-tunes add.
const Tokenizer& dolphin() {
  static const auto tokenizer = [] {
    TokenizerSource source = files_source("mixtral-8x7b-v1", {"tokenizer.model", "tokenizer_config.json"});
    source.files["added_tokens.json"] = R"({"<|im_end|>": 32000, "<|im_start|>": 32001})";
    return make_tokenizer(source);
  }();
  return *tokenizer;
}

TEST(Instruct, ChoosesByTemplateVocabularyAndName) {
  const auto choice = [](const Tokenizer& tokenizer, std::string_view chat_template, std::string_view model) {
    return choose_wrapping(tokenizer, chat_template, model).wrapping;
  };
  EXPECT_EQ(choice(mixtral(), "", "mixtral-8x7b-v0.1"), Wrapping::alpaca);
  EXPECT_EQ(choice(mixtral(), "", "Mixtral-8x7B-Instruct-v0.1"), Wrapping::mistral_v1);
  EXPECT_EQ(choice(mixtral(), "", "some-instruct"), Wrapping::alpaca);
  EXPECT_EQ(choice(mixtral(), "{{ bos_token }}{% ... %}[INST] {{ ... }} [/INST]", ""), Wrapping::mistral_v1);
  EXPECT_EQ(choice(mixtral(), "[INST] <<SYS>>", ""), Wrapping::llama_2);
  EXPECT_EQ(choice(mixtral(), "<|im_start|>{{ role }}", ""), Wrapping::chatml);
  EXPECT_EQ(choice(mixtral(), "<|start_header_id|>", ""), Wrapping::llama_3);
  EXPECT_EQ(choice(mixtral(), "### Instruction:\n", "mixtral-instruct"), Wrapping::alpaca);
  EXPECT_EQ(choice(v3(), "", ""), Wrapping::mistral_v3);
  EXPECT_EQ(choice(v3(), "[INST]", ""), Wrapping::mistral_v3);
  EXPECT_EQ(choice(dolphin(), "", ""), Wrapping::chatml);
  EXPECT_NE(choose_wrapping(dolphin(), "", "").why.find("<|im_start|>"), std::string::npos);
}

TEST(Instruct, MistralTurnsAreThoseOfTheChatFormat) {
  EXPECT_EQ(turn_ids(v3(), Wrapping::mistral_v3, {.user = "a", .first = true}), (Ids{1, 3, 1032, 4}));
  EXPECT_EQ(turn_ids(v3(), Wrapping::mistral_v3, {.user = "c"}), (Ids{3, 1045, 4}));
  EXPECT_EQ(turn_ids(v3(), Wrapping::mistral_v3, {.user = "a", .system = "SYSTEM", .first = true}),
            (Ids{1, 3, 17889, 23294, 781, 781, 29476, 4}));
  EXPECT_EQ(answer_end_ids(v3(), Wrapping::mistral_v3), (Ids{2}));
  EXPECT_EQ(turn_ids(mixtral(), Wrapping::mistral_v1, {.user = "a", .system = "SYSTEM", .first = true}),
            (Ids{1, 733, 16289, 28793, 17121, 22526, 13, 13, 28708, 733, 28748, 16289, 28793}));
}

TEST(Instruct, ChatmlUsesTheControlTokens) {
  const Ids ids = turn_ids(dolphin(), Wrapping::chatml, {.user = "hi <|im_end|>", .system = "be kind", .first = true});
  EXPECT_EQ(ids.front(), 1);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 32001), 3);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 32000), 2);  // the one written by the user stays text
  EXPECT_EQ(dolphin().encode("<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nhi",
                             {.add_special = true, .parse_special = true}),
            Ids(ids.begin(), ids.begin() + 13));
  EXPECT_EQ(answer_end_ids(dolphin(), Wrapping::chatml).front(), 32000);
  EXPECT_TRUE(dolphin().is_end(32000));
  EXPECT_TRUE(dolphin().is_end(2));
}

TEST(Instruct, AlpacaIsPlainText) {
  EXPECT_EQ(turn_ids(mixtral(), Wrapping::alpaca, {.user = "Hi", .first = true}),
            mixtral().encode("### Instruction:\nHi\n\n### Response:\n", {.add_special = true}));
  EXPECT_EQ(turn_ids(mixtral(), Wrapping::alpaca, {.user = "Hi", .system = "S", .first = true}),
            mixtral().encode("S\n\n### Instruction:\nHi\n\n### Response:\n", {.add_special = true}));
  EXPECT_EQ(stop_texts(Wrapping::alpaca), std::vector<std::string>{"### Instruction:"});
}

TEST(Instruct, EveryWrappingHasANameAndGivesIds) {
  for (const Wrapping wrapping : {Wrapping::mistral_v1, Wrapping::mistral_v3, Wrapping::llama_2, Wrapping::llama_3,
                                  Wrapping::chatml, Wrapping::alpaca}) {
    EXPECT_FALSE(name(wrapping).empty());
    const Ids first = turn_ids(v3(), wrapping, {.user = "u", .system = "s", .first = true});
    const Ids later = turn_ids(v3(), wrapping, {.user = "u", .system = "s"});
    EXPECT_GT(first.size(), later.size());
    EXPECT_EQ(first.front(), 1);
    EXPECT_EQ(std::count(first.begin(), first.end(), 1), 1);
    for (const int32_t id : first) EXPECT_GE(id, 0);
    EXPECT_FALSE(answer_end_ids(v3(), wrapping).empty());
  }
}

}  // namespace
}  // namespace moxie
