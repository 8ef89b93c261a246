#include "chat/built_in_templates.h"

#include <fmt/format.h>

namespace moxie {
namespace {

// A format as the pieces around each message. Text is for Jinja's text literals: quotes and backslashes are escaped.
struct Format {
  std::string_view name;
  std::string_view begin;                     // of the conversation
  std::string_view system_begin, system_end;  // folded: within the next user message, after user_begin
  std::string_view user_begin, user_end;
  std::string_view assistant_begin, assistant_end;
  std::string_view prompt;        // where the model's answer begins
  bool trim = false;              // white space around messages goes
  bool folds = false;             // there is no place for a system message of its own
  std::string_view between = "";  // before a user message that is not the first
  bool trim_answers = false;
};

// clang-format off
constexpr Format kFormats[] = {
    {"alpaca", "", "", "\\n\\n", "### Instruction:\\n", "\\n\\n", "### Response:\\n", "\\n\\n", "### Response:\\n"},
    {"chatglm3", "[gMASK]sop", "<|system|>\\n ", "", "<|user|>\\n ", "", "<|assistant|>\\n ", "", "<|assistant|>"},
    {"chatglm4", "[gMASK]<sop>", "<|system|>\\n", "", "<|user|>\\n", "", "<|assistant|>\\n", "", "<|assistant|>\\n"},
    {"chatml", "", "<|im_start|>system\\n", "<|im_end|>\\n", "<|im_start|>user\\n", "<|im_end|>\\n", "<|im_start|>assistant\\n", "<|im_end|>\\n", "<|im_start|>assistant\\n"},
    {"command-r", "", "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", true},
    {"deepseek", "", "", "", "### Instruction:\\n", "\\n", "### Response:\\n", "\\n<|EOT|>\\n", "### Response:\\n"},
    {"deepseek2", "", "", "\\n\\n", "User: ", "\\n\\n", "Assistant: ", "<｜end▁of▁sentence｜>", "Assistant:"},
    {"deepseek3", "", "", "\\n\\n", "<｜User｜>", "", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<｜Assistant｜>"},
    {"exaone3", "", "[|system|]", "[|endofturn|]\\n", "[|user|]", "\\n", "[|assistant|]", "[|endofturn|]\\n", "[|assistant|]", true},
    {"falcon3", "", "<|system|>\\n", "\\n", "<|user|>\\n", "\\n", "<|assistant|>\\n", "\\n", "<|assistant|>\\n"},
    {"gemma", "", "", "\\n\\n", "<start_of_turn>user\\n", "<end_of_turn>\\n", "<start_of_turn>model\\n", "<end_of_turn>\\n", "<start_of_turn>model\\n", true, true},
    {"gigachat", "<s>", "", "<|message_sep|>", "user<|role_sep|>", "<|message_sep|>available functions<|role_sep|>[]<|message_sep|>", "assistant<|role_sep|>", "<|message_sep|>", "assistant<|role_sep|>"},
    {"glmedge", "", "<|system|>\\n", "", "<|user|>\\n", "", "<|assistant|>\\n", "", "<|assistant|>"},
    {"granite", "", "<|start_of_role|>system<|end_of_role|>", "<|end_of_text|>\\n", "<|start_of_role|>user<|end_of_role|>", "<|end_of_text|>\\n", "<|start_of_role|>assistant<|end_of_role|>", "<|end_of_text|>\\n", "<|start_of_role|>assistant<|end_of_role|>"},
    {"llama2", "", "", "\\n", "[INST] ", " [/INST]", "", "</s>", "", false, true},
    {"llama2-sys", "", "<<SYS>>\\n", "\\n<</SYS>>\\n\\n", "[INST] ", " [/INST]", "", "</s>", "", false, true},
    {"llama2-sys-bos", "", "<<SYS>>\\n", "\\n<</SYS>>\\n\\n", "[INST] ", " [/INST]", "", "</s>", "", false, true, "<s>"},
    {"llama2-sys-strip", "", "<<SYS>>\\n", "\\n<</SYS>>\\n\\n", "[INST] ", " [/INST]", "", "</s>", "", true, true},
    {"llama3", "", "<|start_header_id|>system<|end_header_id|>\\n\\n", "<|eot_id|>", "<|start_header_id|>user<|end_header_id|>\\n\\n", "<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\\n\\n", "<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\\n\\n", true},
    {"megrez", "", "<|role_start|>system<|role_end|>", "<|turn_end|>", "<|role_start|>user<|role_end|>", "<|turn_end|>", "<|role_start|>assistant<|role_end|>", "<|turn_end|>", "<|role_start|>assistant<|role_end|>"},
    {"minicpm", "", "", "", "<用户>", "<AI>", "", "", "", true},
    {"mistral-v1", "", "", "\\n\\n", " [INST] ", " [/INST]", " ", "</s>", "", false, true},
    {"mistral-v3", "", "", "\\n\\n", "[INST] ", "[/INST]", " ", "</s>", "", false, true, "", true},
    {"mistral-v3-tekken", "", "", "\\n\\n", "[INST]", "[/INST]", "", "</s>", "", false, true},
    {"mistral-v7", "", "[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]", "[INST] ", "[/INST]", " ", "</s>", ""},
    {"monarch", "", "system\\n", "</s>\\n", "user\\n", "</s>\\n", "<s>assistant\\n", "</s>\\n", "<s>assistant\\n", false, false, "<s>"},
    {"openchat", "", "", "<|end_of_turn|>", "GPT4 Correct User: ", "<|end_of_turn|>", "GPT4 Correct Assistant: ", "<|end_of_turn|>", "GPT4 Correct Assistant:"},
    {"orion", "", "", "\\n\\n", "Human: ", "\\n\\nAssistant: </s>", "", "</s>", "", false, true},
    {"phi3", "", "<|system|>\\n", "<|end|>\\n", "<|user|>\\n", "<|end|>\\n", "<|assistant|>\\n", "<|end|>\\n", "<|assistant|>\\n"},
    {"phi4", "", "<|im_start|>system<|im_sep|>", "<|im_end|>", "<|im_start|>user<|im_sep|>", "<|im_end|>", "<|im_start|>assistant<|im_sep|>", "<|im_end|>", "<|im_start|>assistant<|im_sep|>"},
    {"rwkv-world", "", "System: ", "\\n\\n", "User: ", "\\n\\n", "Assistant: ", "\\n\\n", "Assistant:", true},
    {"vicuna", "", "", "\\n\\n", "USER: ", "\\n", "ASSISTANT: ", "</s>\\n", "ASSISTANT:"},
    {"vicuna-orca", "", "SYSTEM: ", "\\n", "USER: ", "\\n", "ASSISTANT: ", "</s>\\n", "ASSISTANT:"},
    {"zephyr", "", "<|system|>\\n", "<|endoftext|>\\n", "<|user|>\\n", "<|endoftext|>\\n", "<|assistant|>\\n", "<|endoftext|>\\n", "<|assistant|>\\n"},
};
// clang-format on

std::string as_template(const Format& format) {
  const std::string_view filter = format.trim ? "|trim" : "";
  const std::string_view answer_filter = format.trim || format.trim_answers ? "|trim" : "";
  std::string text = fmt::format("{{{{ '{}' }}}}{{% set ns = namespace(system='') %}}", format.begin);
  text += "{% for message in messages %}{% set content = message.content if message.content is string else '' %}";
  if (format.folds) {
    text +=
        fmt::format("{{% if message.role == 'system' %}}{{% set ns.system = ns.system + '{}' + (content{}) + '{}' %}}",
                    format.system_begin, filter, format.system_end);
  } else {
    text += fmt::format("{{% if message.role == 'system' %}}{{{{ '{}' + (content{}) + '{}' }}}}", format.system_begin,
                        filter, format.system_end);
  }
  text += fmt::format("{{% elif message.role == 'assistant' %}}{{{{ '{}' + (content{}) + '{}' }}}}",
                      format.assistant_begin, answer_filter, format.assistant_end);
  text += "{% else %}";
  if (!format.between.empty()) text += fmt::format("{{{{ '' if loop.first or ns.system else '{}' }}}}", format.between);
  text += fmt::format("{{{{ '{}' + ns.system + (content{}) + '{}' }}}}{{% set ns.system = '' %}}", format.user_begin,
                      filter, format.user_end);
  text += fmt::format("{{% endif %}}{{% endfor %}}{{% if add_generation_prompt %}}{{{{ '{}' }}}}{{% endif %}}",
                      format.prompt);
  return text;
}

}  // namespace

std::optional<std::string> built_in_template(std::string_view name) {
  for (const Format& format : kFormats) {
    if (format.name == name) return as_template(format);
  }
  return std::nullopt;
}

std::vector<std::string_view> built_in_template_names() {
  std::vector<std::string_view> names;
  for (const Format& format : kFormats) names.push_back(format.name);
  return names;
}

}  // namespace moxie
