// Anthropic's Messages, and how many tokens a request is.
#include "core/fail.h"
#include "server/chat_run.h"
#include "server/endpoint.h"
#include "server/wire_anthropic.h"

namespace moxie::server::endpoints {
namespace {

void count(const ServiceLease& service, const std::shared_ptr<HttpExchange>& exchange) {
  const auto refuse = [&](const Error& error) {
    exchange->respond(dialect_error(anthropic_count_tokens, {.error = error}, exchange->request()));
  };
  const auto body = body_json(exchange->request());
  if (!body.ok()) return refuse(body.error());
  const auto chat = prepare_chat(*service, *body, anthropic_count_tokens);
  if (!chat.ok()) return refuse(chat.error());
  exchange->respond(json_response(anthropic_token_count(static_cast<int64_t>(chat->prompt.ids.size()))));
}

}  // namespace

extern const EndpointEntry messages = {
    .name = "messages",
    .summary = "the next message of a conversation (Anthropic)",
    .method = "POST",
    .paths = "/v1/messages",
    .handle = [](const ServiceLease& service,
                 const std::shared_ptr<HttpExchange>& exchange) { answer_chat(service, exchange, anthropic_messages); },
};

extern const EndpointEntry count_tokens = {
    .name = "count_tokens",
    .summary = "how many tokens a conversation is (Anthropic)",
    .method = "POST",
    .paths = "/v1/messages/count_tokens",
    .handle = count,
};

}  // namespace moxie::server::endpoints
