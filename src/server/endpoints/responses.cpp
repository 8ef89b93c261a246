// OpenAI's Responses.
#include "server/chat_run.h"
#include "server/endpoint.h"
#include "server/wire_responses.h"

namespace moxie::server::endpoints {

extern const EndpointEntry responses = {
    .name = "responses",
    .summary = "the next message of a conversation (OpenAI's Responses)",
    .method = "POST",
    .paths = "/v1/responses /responses",
    .handle = [](const ServiceLease& service,
                 const std::shared_ptr<HttpExchange>& exchange) { answer_chat(service, exchange, openai_responses); },
};

}  // namespace moxie::server::endpoints
