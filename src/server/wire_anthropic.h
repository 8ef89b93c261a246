// Anthropic's Messages as a ChatDialect: content blocks, tool_use and tool_result, thinking, named stream events.
//
// Claude Code puts a line "x-anthropic-billing-header: ..." into the system text whose checksum changes with every
// request: it is left out, or no prompt would share a prefix with the one before.
#pragma once

#include "server/chat_request.h"

namespace moxie::server {

extern const ChatDialect anthropic_messages;
// For /v1/messages/count_tokens: the same requests, where max_tokens may be missing.
extern const ChatDialect anthropic_count_tokens;

// {"input_tokens": N}.
Json anthropic_token_count(int64_t tokens);
// "not_found_error" and the like.
std::string_view anthropic_error_type(int http_status);

}  // namespace moxie::server
