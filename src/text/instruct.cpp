#include "text/instruct.h"

#include <algorithm>
#include <cctype>

#include "core/ascii.h"
#include "core/fail.h"
#include "text/mistral_chat.h"

namespace moxie {
namespace {

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool contains_word(std::string_view text, std::string_view lower_case) {
  return contains(ascii_lower(text), lower_case);
}

bool is_control(const Tokenizer& tokenizer, std::string_view text) {
  const int32_t id = tokenizer.find(text);
  return id >= 0 && (tokenizer.kind(id) == TokenKind::control || tokenizer.kind(id) == TokenKind::user_defined);
}

// Collects control tokens and the text between them. Text that no control token divides is encoded as one.
class Writer {
 public:
  Writer(const Tokenizer& tokenizer, bool first) : tokenizer_(tokenizer), first_(first) {}

  Writer& text(std::string_view text) {
    text_ += text;
    return *this;
  }
  // A vocabulary without the token gets its text.
  Writer& control(std::string_view token) {
    if (!is_control(tokenizer_, token)) return text(token);
    return id(tokenizer_.find(token));
  }
  Writer& id(int32_t id) {
    flush();
    if (id >= 0) ids_.push_back(id);
    return *this;
  }
  std::vector<int32_t> finish() {
    flush();
    return std::move(ids_);
  }

 private:
  void flush() {
    if (text_.empty()) return;
    const std::vector<int32_t> ids = tokenizer_.encode(text_, {.continues = !first_ || !ids_.empty()});
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    text_.clear();
  }

  const Tokenizer& tokenizer_;
  bool first_;
  std::string text_;
  std::vector<int32_t> ids_;
};

std::vector<int32_t> mistral_turn(const Tokenizer& tokenizer, MistralFormat format, const Turn& turn) {
  std::vector<int32_t> ids;
  if (turn.first && tokenizer.bos() >= 0) ids.push_back(tokenizer.bos());
  std::string text(turn.user);
  if (turn.first && !turn.system.empty()) text = fmt::format("{}\n\n{}", turn.system, turn.user);
  const std::vector<int32_t> user = mistral_user_ids(tokenizer, format, text);
  ids.insert(ids.end(), user.begin(), user.end());
  return ids;
}

}  // namespace

WrappingChoice choose_wrapping(const Tokenizer& tokenizer, std::string_view chat_template,
                               std::string_view model_name) {
  const bool mistral_controls = mistral_can_write(tokenizer, MistralFormat::v3);
  const auto found = [](Wrapping wrapping, std::string_view where, std::string_view what) {
    return WrappingChoice{wrapping, fmt::format("the {} has {}", where, what)};
  };
  if (contains(chat_template, "<|im_start|>")) return found(Wrapping::chatml, "template", "<|im_start|>");
  if (contains(chat_template, "<|start_header_id|>"))
    return found(Wrapping::llama_3, "template", "<|start_header_id|>");
  if (contains(chat_template, "<<SYS>>")) return found(Wrapping::llama_2, "template", "<<SYS>>");
  if (contains(chat_template, "[INST]")) {
    return found(mistral_controls ? Wrapping::mistral_v3 : Wrapping::mistral_v1, "template", "[INST]");
  }
  if (contains(chat_template, "### Instruction")) return found(Wrapping::alpaca, "template", "### Instruction");
  const std::string_view none =
      chat_template.empty() ? "the model has no template" : "the model's template is none of those known";
  if (mistral_controls) return {Wrapping::mistral_v3, fmt::format("{}, its vocabulary has [INST]", none)};
  if (is_control(tokenizer, "<|im_start|>"))
    return {Wrapping::chatml, fmt::format("{}, its vocabulary has <|im_start|>", none)};
  if (is_control(tokenizer, "<|start_header_id|>")) {
    return {Wrapping::llama_3, fmt::format("{}, its vocabulary has <|start_header_id|>", none)};
  }
  const bool mistral_name = contains_word(model_name, "mixtral") || contains_word(model_name, "mistral");
  if (mistral_name && contains_word(model_name, "instruct")) {
    return {Wrapping::mistral_v1, fmt::format("{}, its name is '{}'", none, model_name)};
  }
  return {Wrapping::alpaca, std::string(none)};
}

std::string_view name(Wrapping wrapping) {
  switch (wrapping) {
    case Wrapping::mistral_v1:
      return "Mistral v1";
    case Wrapping::mistral_v3:
      return "Mistral v3";
    case Wrapping::llama_2:
      return "Llama 2";
    case Wrapping::llama_3:
      return "Llama 3";
    case Wrapping::chatml:
      return "ChatML";
    case Wrapping::alpaca:
      return "Alpaca";
  }
  return "Alpaca";
}

std::vector<int32_t> turn_ids(const Tokenizer& tokenizer, Wrapping wrapping, const Turn& turn) {
  Writer out(tokenizer, turn.first);
  const bool has_system = turn.first && !turn.system.empty();
  if (turn.first && tokenizer.adds_bos() && wrapping != Wrapping::llama_2) out.id(tokenizer.bos());
  switch (wrapping) {
    case Wrapping::mistral_v1:
      return mistral_turn(tokenizer, MistralFormat::v1, turn);
    case Wrapping::mistral_v3:
      return mistral_turn(tokenizer, MistralFormat::v3, turn);
    case Wrapping::llama_2:  // every turn has a BOS of its own
      out.id(tokenizer.bos()).text("[INST] ");
      if (has_system) out.text("<<SYS>>\n").text(turn.system).text("\n<</SYS>>\n\n");
      return out.text(turn.user).text(" [/INST]").finish();
    case Wrapping::llama_3:
      for (const auto& [role, text] : {std::pair{"system", turn.system}, {"user", turn.user}}) {
        if (role == std::string_view("system") && !has_system) continue;
        out.control("<|start_header_id|>")
            .text(role)
            .control("<|end_header_id|>")
            .text("\n\n")
            .text(text)
            .control("<|eot_id|>");
      }
      return out.control("<|start_header_id|>").text("assistant").control("<|end_header_id|>").text("\n\n").finish();
    case Wrapping::chatml:
      if (has_system) out.control("<|im_start|>").text("system\n").text(turn.system).control("<|im_end|>").text("\n");
      out.control("<|im_start|>").text("user\n").text(turn.user).control("<|im_end|>").text("\n");
      return out.control("<|im_start|>").text("assistant\n").finish();
    case Wrapping::alpaca:
      break;
  }
  if (has_system) out.text(turn.system).text("\n\n");
  return out.text("### Instruction:\n").text(turn.user).text("\n\n### Response:\n").finish();
}

std::vector<int32_t> answer_end_ids(const Tokenizer& tokenizer, Wrapping wrapping) {
  Writer out(tokenizer, false);
  switch (wrapping) {
    case Wrapping::chatml:
      return out.control("<|im_end|>").text("\n").finish();
    case Wrapping::llama_3:
      return out.control("<|eot_id|>").finish();
    case Wrapping::alpaca:
      return out.text("\n\n").finish();
    case Wrapping::mistral_v1:
    case Wrapping::mistral_v3:
    case Wrapping::llama_2:
      break;
  }
  return out.id(tokenizer.eos()).finish();
}

std::vector<std::string> stop_texts(Wrapping wrapping) {
  switch (wrapping) {
    case Wrapping::alpaca:
      return {"### Instruction:"};
    case Wrapping::chatml:
      return {"<|im_start|>", "<|im_end|>"};  // fine-tunes whose vocabulary lacks the tokens write them out
    default:
      return {};
  }
}

}  // namespace moxie
