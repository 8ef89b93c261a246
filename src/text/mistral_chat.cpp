#include "text/mistral_chat.h"

#include "core/fail.h"

namespace moxie {
namespace {

constexpr std::string_view kBlankLine = "\n\n";

// The id of a token that is no ordinary text; -1 when the vocabulary has none.
int32_t control_id(const Tokenizer& tokenizer, std::string_view text) {
  const int32_t id = tokenizer.find(text);
  if (id < 0) return -1;
  const TokenKind kind = tokenizer.kind(id);
  return kind == TokenKind::control || kind == TokenKind::user_defined ? id : -1;
}

void append(std::vector<int32_t>& to, const std::vector<int32_t>& ids) {
  to.insert(to.end(), ids.begin(), ids.end());
}

// Joins messages of one role in a row, and takes out the system's.
std::vector<ChatMessage> join_turns(std::span<const ChatMessage> messages, std::string& system) {
  std::vector<ChatMessage> turns;
  for (const ChatMessage& message : messages) {
    if (message.role == ChatRole::system) {
      if (!system.empty()) system += kBlankLine;
      system += message.content;
    } else if (!turns.empty() && turns.back().role == message.role) {
      turns.back().content += kBlankLine;
      turns.back().content += message.content;
    } else {
      turns.push_back(message);
    }
  }
  return turns;
}

void place_system(MistralFormat format, const std::string& system, std::vector<ChatMessage>& turns) {
  if (system.empty()) return;
  size_t place = 0;
  for (size_t i = 0; i < turns.size() && format != MistralFormat::v1; ++i) {
    if (turns[i].role == ChatRole::user) place = i;
  }
  turns[place].content.insert(0, system + std::string(kBlankLine));
}

}  // namespace

bool mistral_can_write(const Tokenizer& tokenizer, MistralFormat format) {
  return format == MistralFormat::v1 || (control_id(tokenizer, "[INST]") >= 0 && control_id(tokenizer, "[/INST]") >= 0);
}

std::vector<int32_t> mistral_user_ids(const Tokenizer& tokenizer, MistralFormat format, std::string_view text) {
  if (format == MistralFormat::v1) return tokenizer.encode(fmt::format("[INST] {} [/INST]", text), {});
  std::vector<int32_t> ids = {control_id(tokenizer, "[INST]")};
  append(ids, tokenizer.encode(text, {}));
  ids.push_back(control_id(tokenizer, "[/INST]"));
  return ids;
}

Result<std::vector<int32_t>> mistral_chat_ids(const Tokenizer& tokenizer, MistralFormat format,
                                              std::span<const ChatMessage> messages) {
  if (!mistral_can_write(tokenizer, format)) {
    return fail(ErrorCode::unsupported,
                "the vocabulary has no control tokens [INST] and [/INST], which this chat format needs");
  }
  std::string system;
  std::vector<ChatMessage> turns = join_turns(messages, system);
  if (turns.empty() || turns.front().role != ChatRole::user) {
    return fail(ErrorCode::invalid_argument,
                "a conversation begins with a user message (after those of the system); this one {}",
                turns.empty() ? "has none" : "begins with the assistant");
  }
  place_system(format, system, turns);
  std::vector<int32_t> ids;
  if (tokenizer.bos() >= 0) ids.push_back(tokenizer.bos());
  for (const ChatMessage& turn : turns) {
    if (turn.role == ChatRole::user) {
      append(ids, mistral_user_ids(tokenizer, format, turn.content));
      continue;
    }
    std::string_view answer = turn.content;
    if (format != MistralFormat::v1) answer = answer.substr(0, answer.find_last_not_of(' ') + 1);
    append(ids, tokenizer.encode(answer, {}));
    if (tokenizer.eos() >= 0) ids.push_back(tokenizer.eos());
  }
  return ids;
}

}  // namespace moxie
