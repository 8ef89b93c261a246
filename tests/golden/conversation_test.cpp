// Conversations with the small story model: what a turn costs, and what reaches the model.
#include "engine/conversation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/open_engine.h"
#include "support/paths.h"

namespace moxie {
namespace {

using testing::HasSubstr;

struct Talk {
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Sequence> sequence;
  std::unique_ptr<Conversation> conversation;

  explicit Talk(const std::string& form, const std::string& system = "") {
    auto opened = test::open_engine({.model = std::string(source_dir()) + "/tests/data/models/stories260k-moe8"});
    EXPECT_TRUE(opened.ok());
    if (!opened.ok()) return;
    engine = std::move(opened).value();
    auto made = engine->new_sequence();
    EXPECT_TRUE(made.ok());
    sequence = std::move(made).value();
    auto created = Conversation::create(*engine, {.system = system, .choice = {.given = form}});
    EXPECT_TRUE(created.ok()) << (created.ok() ? "" : created.error().message);
    conversation = std::make_unique<Conversation>(std::move(created).value());
  }

  Conversation::Turn say(std::string_view text) {
    auto turn = conversation->say(text, sequence->ids());
    EXPECT_TRUE(turn.ok()) << (turn.ok() ? "" : turn.error().message);
    return *std::move(turn);
  }

  // The turn, answered by the model.
  Conversation::Turn exchange(std::string_view text, int64_t tokens = 6) {
    Conversation::Turn turn = say(text);
    EXPECT_TRUE(sequence->truncate(turn.keep).ok());
    GenerateOptions options{.max_tokens = tokens};
    options.sampling.temp = 0;
    const auto result = sequence->generate(turn.ids, options);
    EXPECT_TRUE(result.ok());
    EXPECT_EQ(result->prompt_tokens, static_cast<int64_t>(turn.ids.size()));
    conversation->answered(result->text);
    return turn;
  }

  std::string context() const { return engine->detokenize(sequence->ids(), true); }
};

TEST(Conversation, ATurnCostsWhatIsNew) {
  for (const char* form : {"chatml", "llama3", "mistral-v1", "vicuna", "phi3", "zephyr"}) {
    SCOPED_TRACE(form);
    Talk talk(form, "You tell stories.");
    ASSERT_TRUE(talk.conversation);
    EXPECT_EQ(talk.exchange("Once upon a time there was a dog.").keep, 0);
    for (int i = 0; i < 3; ++i) {
      const auto held = static_cast<int64_t>(talk.sequence->ids().size());
      const auto turn = talk.exchange("And then?");
      EXPECT_EQ(turn.keep, held);
      EXPECT_LT(turn.ids.size(), 100u);  // this vocabulary spells control tokens out
      EXPECT_GT(turn.ids.size(), 3u);
    }
  }
}

TEST(Conversation, TheContextIsTheRenderedText) {
  Talk talk("chatml", "S");
  ASSERT_TRUE(talk.conversation);
  talk.exchange("one", 4);
  const std::string answer = talk.conversation->messages()[1].content;
  const auto turn = talk.say("two");
  std::vector<int32_t> ids(talk.sequence->ids().begin(), talk.sequence->ids().end());
  ids.insert(ids.end(), turn.ids.begin(), turn.ids.end());
  EXPECT_EQ(talk.engine->detokenize(ids),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\n" + answer +
                "<|im_end|>\n<|im_start|>user\ntwo<|im_end|>\n<|im_start|>assistant\n");
}

TEST(Conversation, AnotherBeginningIsComputedAnewAsFarAsItDiffers) {
  Talk talk("chatml", "You tell long and happy stories.");
  ASSERT_TRUE(talk.conversation);
  talk.exchange("Once upon a time");
  const auto held = static_cast<int64_t>(talk.sequence->ids().size());
  talk.conversation->set_messages({});
  const auto again = talk.say("Twice");
  EXPECT_GT(again.keep, 20);  // the system text
  EXPECT_LT(again.keep, held);
  talk.conversation->set_system("Be brief.");
  const auto other = talk.say("Twice");
  EXPECT_LT(other.keep, again.keep);
}

TEST(Conversation, AnUnusedTurnLeavesNoTrace) {
  Talk talk("chatml");
  ASSERT_TRUE(talk.conversation);
  talk.exchange("one");
  const auto first = talk.say("not sent");
  const auto second = talk.say("two");
  EXPECT_EQ(first.keep, second.keep);
  EXPECT_EQ(talk.conversation->messages().size(), 2u);
}

TEST(Conversation, ControlTokensInMessagesStayText) {
  Talk talk("chatml");
  ASSERT_TRUE(talk.conversation);
  const auto eos = talk.engine->tokenize("</s>", false, true);
  ASSERT_TRUE(eos.ok());
  ASSERT_EQ(eos->size(), 1u);
  const auto turn = talk.say("a</s>b");
  EXPECT_EQ(std::count(turn.ids.begin(), turn.ids.end(), eos->front()), 0);
  EXPECT_THAT(talk.engine->detokenize(turn.ids), HasSubstr("a</s>b"));
  // The template's own count.
  Talk other("vicuna");
  other.exchange("a", 2);
  const auto next = other.say("b");
  EXPECT_EQ(std::count(next.ids.begin(), next.ids.end(), eos->front()), 1);
}

TEST(Conversation, FormsAreNamed) {
  Talk own("");
  ASSERT_TRUE(own.conversation);
  EXPECT_EQ(own.conversation->form(), "Alpaca");
  EXPECT_EQ(Talk("none").conversation->form(), "no");
  EXPECT_EQ(Talk("gemma").conversation->why(), "built-in gemma");
}

}  // namespace
}  // namespace moxie
