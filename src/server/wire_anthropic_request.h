// The requests of wire_anthropic.h. Pure functions.
#pragma once

#include "server/chat_request.h"

namespace moxie::server {

Result<ChatRequest> read_anthropic_request(const Json& body, const GenerateOptions& defaults, bool needs_max_tokens);

}  // namespace moxie::server
