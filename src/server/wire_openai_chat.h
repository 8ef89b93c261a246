// OpenAI's chat completions, with the fields llama.cpp adds, as a ChatDialect.
#pragma once

#include "server/chat_request.h"

namespace moxie::server {

extern const ChatDialect openai_chat;

// {"prompt_tokens": ..., "completion_tokens": ..., ...} of OpenAI's chat and completions.
Json openai_usage(const ChatUsage& usage);
// One entry of logprobs.content.
Json openai_logprob(const TokenLogprob& logprob);
// The grammar or schema of a response_format goes to the sampling options. Errors: invalid_argument.
Result<void> apply_response_format(const Json& format, SamplingOptions& sampling);

}  // namespace moxie::server
