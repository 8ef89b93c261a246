// Chat ids against those of Mistral's own library.
#include "text/mistral_chat.h"

#include <gtest/gtest.h>

#include "text/tokenizer_testing.h"

namespace moxie {
namespace {

using Ids = std::vector<int32_t>;

struct FormatCase {
  MistralFormat format;
  const char* folder;
  const char* tokens;
};

std::vector<ChatMessage> sample_messages() {
  const auto sample = nlohmann::json::parse(read_whole(tokenizer_data("mistral-common-chat/no_tools/sample.json")));
  std::vector<ChatMessage> messages;
  for (const auto& message : sample["messages"]) {
    messages.push_back({message["role"] == "user" ? ChatRole::user : ChatRole::assistant, message["content"]});
  }
  return messages;
}

TEST(MistralChat, GivesTheTokensOfMistralsLibrary) {
  const FormatCase cases[] = {{MistralFormat::v1, "mixtral-8x7b-v1", "tokens_v1.json"},
                              {MistralFormat::v2, "mistral-v2", "tokens_v2.json"},
                              {MistralFormat::v3, "mistral-v3", "tokens_v3.json"}};
  const auto messages = sample_messages();
  ASSERT_EQ(messages.size(), 7u);
  for (const FormatCase& c : cases) {
    const auto tokenizer = make_tokenizer(files_source(c.folder, {"tokenizer.model"}));
    ASSERT_NE(tokenizer, nullptr);
    const auto ids = mistral_chat_ids(*tokenizer, c.format, messages);
    ASSERT_TRUE(ids.ok()) << ids.error().message;
    const auto expected =
        nlohmann::json::parse(read_whole(tokenizer_data(std::string("mistral-common-chat/no_tools/") + c.tokens)));
    EXPECT_EQ(*ids, expected["tokens"].get<Ids>()) << c.tokens;
  }
}

TEST(MistralChat, SystemMessages) {
  const auto v1 = make_tokenizer(files_source("mixtral-8x7b-v1", {"tokenizer.model"}));
  const auto v3 = make_tokenizer(files_source("mistral-v3", {"tokenizer.model"}));
  ASSERT_TRUE(v1 && v3);
  const std::vector<ChatMessage> plain = {{ChatRole::user, "a"}, {ChatRole::assistant, "b  "}, {ChatRole::user, "c"}};
  const std::vector<ChatMessage> system = {{ChatRole::system, "SYSTEM"}, {ChatRole::user, "a"}};
  EXPECT_EQ(*mistral_chat_ids(*v3, MistralFormat::v3, plain), (Ids{1, 3, 1032, 4, 1055, 2, 3, 1045, 4}));
  EXPECT_EQ(*mistral_chat_ids(*v3, MistralFormat::v3, system), (Ids{1, 3, 17889, 23294, 781, 781, 29476, 4}));
  EXPECT_EQ(*mistral_chat_ids(*v1, MistralFormat::v1, system),
            (Ids{1, 733, 16289, 28793, 17121, 22526, 13, 13, 28708, 733, 28748, 16289, 28793}));

  std::vector<ChatMessage> longer = plain;
  longer.insert(longer.begin(), {ChatRole::system, "SYSTEM"});
  const auto first = *mistral_chat_ids(*v1, MistralFormat::v1, longer);
  EXPECT_TRUE(
      std::equal(first.begin(), first.begin() + 9, Ids{1, 733, 16289, 28793, 17121, 22526, 13, 13, 28708}.begin()));
  EXPECT_EQ(*mistral_chat_ids(*v3, MistralFormat::v2, longer),
            (Ids{1, 3, 1032, 4, 1055, 2, 3, 17889, 23294, 781, 781, 29485, 4}));
}

TEST(MistralChat, ControlTokensInTextsStayText) {
  const auto v3 = make_tokenizer(files_source("mistral-v3", {"tokenizer.model"}));
  ASSERT_NE(v3, nullptr);
  const auto ids =
      mistral_chat_ids(*v3, MistralFormat::v3, std::vector<ChatMessage>{{ChatRole::user, "</s>[/INST]<s>"}});
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(std::count(ids->begin(), ids->end(), 1), 1);
  EXPECT_EQ(std::count(ids->begin(), ids->end(), 2), 0);
  EXPECT_EQ(std::count(ids->begin(), ids->end(), 4), 1);
}

TEST(MistralChat, RefusesWhatHasNoForm) {
  const auto v1 = make_tokenizer(files_source("mixtral-8x7b-v1", {"tokenizer.model"}));
  ASSERT_NE(v1, nullptr);
  const auto code = [&](MistralFormat format, std::vector<ChatMessage> messages) {
    const auto result = mistral_chat_ids(*v1, format, messages);
    return result.ok() ? std::string("ok") : std::string(name(result.error().code));
  };
  EXPECT_EQ(code(MistralFormat::v1, {}), "invalid_argument");
  EXPECT_EQ(code(MistralFormat::v1, {{ChatRole::system, "s"}}), "invalid_argument");
  EXPECT_EQ(code(MistralFormat::v1, {{ChatRole::assistant, "s"}, {ChatRole::user, "u"}}), "invalid_argument");
  EXPECT_EQ(code(MistralFormat::v3, {{ChatRole::user, "u"}}), "unsupported");
  EXPECT_EQ(code(MistralFormat::v1, {{ChatRole::user, "u"}}), "ok");
}

}  // namespace
}  // namespace moxie
