// OpenAI's Responses as a ChatDialect: input items, instructions, function calls and their outputs, numbered stream
// events. The server keeps no responses: previous_response_id is refused by name.
#pragma once

#include "server/chat_request.h"

namespace moxie::server {

extern const ChatDialect openai_responses;

}  // namespace moxie::server
