// The requests of wire_responses.h. Pure functions.
#pragma once

#include "server/chat_request.h"

namespace moxie::server {

Result<ChatRequest> read_responses_request(const Json& body, const GenerateOptions& defaults);

}  // namespace moxie::server
