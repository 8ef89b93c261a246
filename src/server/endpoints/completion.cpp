// llama.cpp's completion.
#include "server/endpoint.h"
#include "server/native_run.h"

namespace moxie::server::endpoints {

extern const EndpointEntry completion = {
    .name = "completion",
    .summary = "text that goes on with a prompt (llama.cpp)",
    .method = "POST",
    .paths = "/completion /completions",
    .handle =
        [](const ServiceLease& service, const std::shared_ptr<HttpExchange>& exchange) {
          const auto body = body_json(exchange->request());
          if (!body.ok()) return exchange->respond(error_response({.error = body.error()}));
          auto request = read_completion(*service, *body, CompletionStyle::native);
          if (!request.ok()) return exchange->respond(error_response({.error = request.error()}));
          answer_native(service, exchange, *std::move(request));
        },
};

}  // namespace moxie::server::endpoints
