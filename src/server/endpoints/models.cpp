// The models that answer, in OpenAI's shape, or Anthropic's for its clients.
#include <fmt/chrono.h>

#include "core/fail.h"
#include "server/endpoint.h"
#include "server/json_build.h"

namespace moxie::server::endpoints {
namespace {

Json openai_model(const Service& service) {
  const ModelInfo& model = service.engine.model();
  return object({{"id", service.model_id},
                 {"object", "model"},
                 {"created", service.started},
                 {"owned_by", "moxie"},
                 {"meta", object({{"n_vocab", model.vocabulary},
                                  {"n_ctx", service.engine.runtime().context_tokens},
                                  {"n_ctx_train", model.trained_context},
                                  {"n_embd", model.hidden},
                                  {"n_params", model.parameters},
                                  {"size", model.weight_bytes},
                                  {"n_expert", model.experts},
                                  {"n_expert_used", model.experts_used}})}});
}

Json anthropic_model(const Service& service) {
  return object({{"type", "model"},
                 {"id", service.model_id},
                 {"display_name", service.model_id},
                 {"created_at", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(service.started))}});
}

bool is_anthropic(const HttpRequest& request) {
  return !request.header("anthropic-version").empty();
}

Result<HttpResponse> list(Service& service, const HttpRequest& request) {
  if (is_anthropic(request)) {
    return json_response(object({{"data", array({anthropic_model(service)})},
                                 {"has_more", false},
                                 {"first_id", service.model_id},
                                 {"last_id", service.model_id}}));
  }
  return json_response(object({{"object", "list"}, {"data", array({openai_model(service)})}}));
}

Result<HttpResponse> one(Service& service, const HttpRequest& request) {
  const std::string_view id = last_part(request.path);
  if (id != service.model_id) {
    return fail(ErrorCode::not_found, "there is no model '{}'; the model here is '{}'", id.substr(0, 200),
                service.model_id);
  }
  return json_response(is_anthropic(request) ? anthropic_model(service) : openai_model(service));
}

}  // namespace

extern const EndpointEntry models = {
    .name = "models",
    .summary = "the model that answers",
    .method = "GET",
    .paths = "/v1/models /models",
    .open = true,
    .immediate = true,
    .answer = list,
};

extern const EndpointEntry model = {
    .name = "model",
    .summary = "one model by its id",
    .method = "GET",
    .paths = "/v1/models/{id}",
    .open = true,
    .immediate = true,
    .answer = one,
};

}  // namespace moxie::server::endpoints
