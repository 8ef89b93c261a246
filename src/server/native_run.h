// llama.cpp's own form of completions, for /completion and /infill. Thread-safe.
#pragma once

#include <memory>

#include "server/completion_request.h"
#include "server/http_exchange.h"
#include "server/service.h"

namespace moxie::server {

// The request is as it should be but for its length.
void answer_native(const ServiceLease& service, const std::shared_ptr<HttpExchange>& exchange,
                   CompletionRequest request);

}  // namespace moxie::server
