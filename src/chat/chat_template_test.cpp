#include "chat/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat/built_in_templates.h"
#include "chat/chat_testing.h"

namespace moxie {
namespace {

using testing::HasSubstr;

std::string rendered(const ChatTemplate& chat, std::string_view messages, bool prompt = true) {
  std::tm now{};
  now.tm_mday = 1;
  const auto made = chat.render({.messages = json(messages), .add_generation_prompt = prompt}, now);
  return made.ok() ? *made : "error: " + made.error().message;
}

ChatTemplate chosen(const std::vector<ModelTemplate>& model, const TemplateChoice& choice = {}) {
  auto made = ChatTemplate::choose(model, choice);
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
  return *std::move(made);
}

constexpr std::string_view kTalk = R"([{"role":"system","content":" S "},{"role":"user","content":" U "},)"
                                   R"({"role":"assistant","content":" A "},{"role":"user","content":"V"}])";

// What llama.cpp's llama_chat_apply_template gives for these names and messages.
TEST(BuiltInTemplates, EqualLlamaCpp) {
  const std::pair<const char*, const char*> expected[] = {
      {"chatglm3", "[gMASK]sop<|system|>\n  S <|user|>\n  U <|assistant|>\n  A <|user|>\n V<|assistant|>"},
      {"chatglm4", "[gMASK]<sop><|system|>\n S <|user|>\n U <|assistant|>\n A <|user|>\nV<|assistant|>\n"},
      {"chatml",
       "<|im_start|>system\n S <|im_end|>\n<|im_start|>user\n U <|im_end|>\n<|im_start|>assistant\n A "
       "<|im_end|>\n<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n"},
      {"command-r",
       "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>S<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>U<|END_OF_"
       "TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>A<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>"
       "V<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"},
      {"deepseek", " S ### Instruction:\n U \n### Response:\n A \n<|EOT|>\n### Instruction:\nV\n### Response:\n"},
      {"deepseek2", " S \n\nUser:  U \n\nAssistant:  A <｜end▁of▁sentence｜>User: V\n\nAssistant:"},
      {"deepseek3", " S \n\n<｜User｜> U <｜Assistant｜> A <｜end▁of▁sentence｜><｜User｜>V<｜Assistant｜>"},
      {"exaone3", "[|system|]S[|endofturn|]\n[|user|]U\n[|assistant|]A[|endofturn|]\n[|user|]V\n[|assistant|]"},
      {"falcon3", "<|system|>\n S \n<|user|>\n U \n<|assistant|>\n A \n<|user|>\nV\n<|assistant|>\n"},
      {"gemma",
       "<start_of_turn>user\nS\n\nU<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n<start_of_turn>user\nV<end_of_"
       "turn>\n<start_of_turn>model\n"},
      {"gigachat",
       "<s> S <|message_sep|>user<|role_sep|> U <|message_sep|>available "
       "functions<|role_sep|>[]<|message_sep|>assistant<|role_sep|> A "
       "<|message_sep|>user<|role_sep|>V<|message_sep|>available "
       "functions<|role_sep|>[]<|message_sep|>assistant<|role_sep|>"},
      {"glmedge", "<|system|>\n S <|user|>\n U <|assistant|>\n A <|user|>\nV<|assistant|>"},
      {"granite",
       "<|start_of_role|>system<|end_of_role|> S <|end_of_text|>\n<|start_of_role|>user<|end_of_role|> U "
       "<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|> A "
       "<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>V<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|"
       ">"},
      {"llama2", "[INST]  S \n U  [/INST] A </s>[INST] V [/INST]"},
      {"llama2-sys", "[INST] <<SYS>>\n S \n<</SYS>>\n\n U  [/INST] A </s>[INST] V [/INST]"},
      {"llama2-sys-bos", "[INST] <<SYS>>\n S \n<</SYS>>\n\n U  [/INST] A </s><s>[INST] V [/INST]"},
      {"llama2-sys-strip", "[INST] <<SYS>>\nS\n<</SYS>>\n\nU [/INST]A</s>[INST] V [/INST]"},
      {"llama3",
       "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|"
       "><|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nV<|"
       "eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
      {"megrez",
       "<|role_start|>system<|role_end|> S <|turn_end|><|role_start|>user<|role_end|> U "
       "<|turn_end|><|role_start|>assistant<|role_end|> A "
       "<|turn_end|><|role_start|>user<|role_end|>V<|turn_end|><|role_start|>assistant<|role_end|>"},
      {"minicpm", "S<用户>U<AI>A<用户>V<AI>"},
      {"mistral-v1", " [INST]  S \n\n U  [/INST]  A </s> [INST] V [/INST]"},
      {"mistral-v3", "[INST]  S \n\n U [/INST] A</s>[INST] V[/INST]"},
      {"mistral-v3-tekken", "[INST] S \n\n U [/INST] A </s>[INST]V[/INST]"},
      {"mistral-v7", "[SYSTEM_PROMPT]  S [/SYSTEM_PROMPT][INST]  U [/INST]  A </s>[INST] V[/INST]"},
      {"monarch", "system\n S </s>\n<s>user\n U </s>\n<s>assistant\n A </s>\n<s>user\nV</s>\n<s>assistant\n"},
      {"openchat",
       " S <|end_of_turn|>GPT4 Correct User:  U <|end_of_turn|>GPT4 Correct Assistant:  A <|end_of_turn|>GPT4 Correct "
       "User: V<|end_of_turn|>GPT4 Correct Assistant:"},
      {"orion", "Human:  S \n\n U \n\nAssistant: </s> A </s>Human: V\n\nAssistant: </s>"},
      {"phi3",
       "<|system|>\n S <|end|>\n<|user|>\n U <|end|>\n<|assistant|>\n A <|end|>\n<|user|>\nV<|end|>\n<|assistant|>\n"},
      {"phi4",
       "<|im_start|>system<|im_sep|> S <|im_end|><|im_start|>user<|im_sep|> U "
       "<|im_end|><|im_start|>assistant<|im_sep|> A "
       "<|im_end|><|im_start|>user<|im_sep|>V<|im_end|><|im_start|>assistant<|im_sep|>"},
      {"rwkv-world", "System: S\n\nUser: U\n\nAssistant: A\n\nUser: V\n\nAssistant:"},
      {"vicuna", " S \n\nUSER:  U \nASSISTANT:  A </s>\nUSER: V\nASSISTANT:"},
      {"vicuna-orca", "SYSTEM:  S \nUSER:  U \nASSISTANT:  A </s>\nUSER: V\nASSISTANT:"},
      {"zephyr",
       "<|system|>\n S <|endoftext|>\n<|user|>\n U <|endoftext|>\n<|assistant|>\n A "
       "<|endoftext|>\n<|user|>\nV<|endoftext|>\n<|assistant|>\n"},
  };
  for (const auto& [name, text] : expected) {
    SCOPED_TRACE(name);
    EXPECT_EQ(rendered(chosen({}, {.given = name}), kTalk), text);
  }
  EXPECT_EQ(built_in_template_names().size(), std::size(expected) + 1);  // and alpaca
}

TEST(BuiltInTemplates, Alpaca) {
  EXPECT_EQ(rendered(chosen({}, {.given = "alpaca"}), kTalk),
            " S \n\n### Instruction:\n U \n\n### Response:\n A \n\n### Instruction:\nV\n\n### Response:\n");
}

TEST(ChatTemplate, SourcesAreNamedAndComeInTheirOrder) {
  TokenizerSource source;
  source.files["tokenizer_config.json"] =
      R"({"chat_template": [{"name": "default", "template": "C"}, {"name": "tool_use", "template": "CT"}]})";
  source.chat_templates = {{"", "C"}, {"tool_use", "CT"}};  // as read_tokenizer_files() collects them
  auto found = model_templates(source);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(chosen(found).origin(), "tokenizer_config.json");
  EXPECT_EQ(rendered(chosen(found, {.tools = true}), "[]"), "CT");
  EXPECT_EQ(chosen(found, {.tools = true}).origin(), "tokenizer_config.json (tool_use)");
  source.files["chat_template.jinja"] = "F";
  source.chat_templates = {{"", "F"}, {"rag", "R"}, {"tool_use", "CT"}};
  found = model_templates(source);
  EXPECT_EQ(chosen(found).origin(), "chat_template.jinja");
  EXPECT_EQ(rendered(chosen(found, {.given = "rag"}), "[]"), "R");
  EXPECT_EQ(chosen(found, {.given = "rag"}).origin(), "additional_chat_templates/rag.jinja (rag)");
  // A flag comes before the model's, a file before a flag's text.
  EXPECT_EQ(rendered(chosen(found, {.given = "{{ 1 }}"}), "[]"), "1");
  EXPECT_EQ(chosen(found, {.given = "chatml"}).origin(), "built-in chatml");
  EXPECT_EQ(chosen(found, {.file_text = "X", .file = "mine.jinja"}).origin(), "mine.jinja");
  source = {};
  source.gguf.emplace();
  source.chat_templates[""] = "G";
  EXPECT_EQ(chosen(model_templates(source)).origin(), "tokenizer.chat_template");
}

TEST(ChatTemplate, WrongChoicesSayWhatThereIs) {
  EXPECT_EQ(ChatTemplate::choose({}, {}).error().code, ErrorCode::not_found);
  EXPECT_THAT(ChatTemplate::choose({}, {.given = "nonsense"}).error().message, HasSubstr("chatml"));
  const std::vector<ModelTemplate> broken = {{"", "{% if %}", "chat_template.jinja"}};
  EXPECT_THAT(ChatTemplate::choose(broken, {}).error().message,
              HasSubstr("chat_template.jinja: chat template, line 1: expected an expression"));
}

TEST(ChatTemplate, SystemTextIsFoldedWhereItHasNoPlace) {
  // Mixtral 8x7B's rule: roles alternate, and there is no system.
  const std::vector<ModelTemplate> refusing = {
      {"",
       "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
       "{{ raise_exception('roles must alternate') }}{% endif %}{{ m.role[0] }}:{{ m.content }};{% endfor %}",
       "chat_template.jinja"}};
  const ChatTemplate strict = chosen(refusing, {.bos = "<s>"});
  EXPECT_TRUE(strict.folds_system());
  EXPECT_EQ(rendered(strict, R"([{"role":"system","content":"S"},{"role":"user","content":"U"}])"), "<s>u:S\n\nU;");
  EXPECT_EQ(
      rendered(strict, R"([{"role":"system","content":"S"},{"role":"user","content":[{"type":"text","text":"U"}]}])"),
      "<s>u:[{'type': 'text', 'text': 'S\\n\\n'}, {'type': 'text', 'text': 'U'}];");
  EXPECT_EQ(rendered(strict, R"([{"role":"assistant","content":"A"}])"),
            "error: chat_template.jinja: chat template, line 1: roles must alternate");
  // One that leaves it out in silence.
  const std::vector<ModelTemplate> deaf = {
      {"", "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }};{% endif %}{% endfor %}", "x"}};
  EXPECT_TRUE(chosen(deaf).folds_system());
  EXPECT_EQ(rendered(chosen(deaf), R"([{"role":"system","content":"S"},{"role":"user","content":"U"}])"), "S\n\nU;");
  EXPECT_FALSE(chosen({}, {.given = "chatml"}).folds_system());
  EXPECT_FALSE(chosen({}, {.given = "llama2"}).folds_system());  // does so itself
}

TEST(ChatTemplate, VariablesReachTheTemplate) {
  const std::vector<ModelTemplate> model = {
      {"", "{{ eos_token }}{{ enable_thinking }}{{ tools|length }}{{ documents is none }}{{ add_generation_prompt }}",
       "x"}};
  std::tm now{};
  const auto made = chosen(model, {.eos = "</s>"})
                        .render({.messages = json("[]"),
                                 .tools = json("[1]"),
                                 .extra = json(R"({"enable_thinking": false})"),
                                 .add_generation_prompt = false},
                                now);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(*made, "</s>False1TrueFalse");
}

}  // namespace
}  // namespace moxie
