// Answers chat requests of any wire format. Thread-safe.
#pragma once

#include <memory>

#include "server/chat_request.h"
#include "server/http_exchange.h"
#include "server/service.h"

namespace moxie::server {

void answer_chat(const ServiceLease& service, const std::shared_ptr<HttpExchange>& exchange,
                 const ChatDialect& dialect);

// A chat request up to its prompt: what answering, counting and showing share.
struct PreparedChat {
  ChatRequest request;
  const ChatFormat* format = nullptr;  // the service's
  ChatPlan plan;
  ChatPrompts::Prompt prompt;
};
Result<PreparedChat> prepare_chat(const Service& service, const Json& body, const ChatDialect& dialect);

// The response to a request in this dialect that failed before its first byte.
HttpResponse dialect_error(const ChatDialect& dialect, const RequestError& error, const HttpRequest& request);

}  // namespace moxie::server
