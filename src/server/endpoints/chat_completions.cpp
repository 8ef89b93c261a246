// OpenAI's chat completions.
#include "server/chat_run.h"
#include "server/endpoint.h"
#include "server/wire_openai_chat.h"

namespace moxie::server::endpoints {

extern const EndpointEntry chat_completions = {
    .name = "chat_completions",
    .summary = "the next message of a conversation (OpenAI)",
    .method = "POST",
    .paths = "/v1/chat/completions /chat/completions",
    .handle = [](const ServiceLease& service,
                 const std::shared_ptr<HttpExchange>& exchange) { answer_chat(service, exchange, openai_chat); },
};

}  // namespace moxie::server::endpoints
