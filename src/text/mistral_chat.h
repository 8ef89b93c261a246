// Mistral's chat formats without tools, built from tokens as Mistral's own library does: texts cannot smuggle in
// control tokens, and spaces fall where the models saw them. Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moxie/error.h"
#include "text/tokenizer.h"

namespace moxie {

enum class ChatRole { system, user, assistant };

struct ChatMessage {
  ChatRole role = ChatRole::user;
  std::string content;
};

// v1: Mixtral 8x7B Instruct, where [INST] is ordinary text. v2, v3: 8x22B Instruct and later, where it is a control
// token.
enum class MistralFormat { v1, v2, v3 };

// BOS and all turns. Messages of one role in a row are joined by an empty line; the system's go before the first user
// message in v1, before the last in v2 and v3. Errors: invalid_argument, no user message, or one by the assistant
// first; unsupported, a vocabulary without the control tokens of the format.
Result<std::vector<int32_t>> mistral_chat_ids(const Tokenizer& tokenizer, MistralFormat format,
                                              std::span<const ChatMessage> messages);

// One user's turn, up to where the answer begins. REQUIRES: mistral_can_write(tokenizer, format).
std::vector<int32_t> mistral_user_ids(const Tokenizer& tokenizer, MistralFormat format, std::string_view text);
bool mistral_can_write(const Tokenizer& tokenizer, MistralFormat format);

}  // namespace moxie
