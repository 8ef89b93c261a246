// The models that may be asked for, in OpenAI's shape, or Anthropic's for its clients.
#include <fmt/chrono.h>

#include <algorithm>

#include "core/fail.h"
#include "server/endpoint.h"
#include "server/json_build.h"
#include "server/model_host.h"

namespace moxie::server::endpoints {
namespace {

constexpr std::string_view kOnePath = "/v1/models/{name}";

// One that answers or could: what is known of it, and whether it is open.
struct Shown {
  std::string id;
  std::string_view status;  // llama.cpp's words
  Json meta;
};

Json open_meta(const Service& service) {
  const ModelInfo& model = service.engine.model();
  return object({{"n_vocab", model.vocabulary},
                 {"n_ctx", service.engine.runtime().context_tokens},
                 {"n_ctx_train", model.trained_context},
                 {"n_embd", model.hidden},
                 {"n_params", model.parameters},
                 {"size", model.weight_bytes},
                 {"n_expert", model.experts},
                 {"n_expert_used", model.experts_used}});
}

Json closed_meta(const OfferedModel& model) {
  return object({{"n_params", model.parameters},
                 {"size", model.bytes},
                 {"n_expert", model.experts},
                 {"n_expert_used", model.experts_used}});
}

std::vector<Shown> shown_models(ServerState& server) {
  const std::vector<OfferedModel> offered = server.models->models();
  const std::string opening = server.models->opening();
  const ServiceLease open = server.models->current();
  std::vector<Shown> shown;
  if (server.models->is_fixed()) {
    if (open != nullptr) shown.push_back({open->model_id, "loaded", open_meta(*open)});
    return shown;
  }
  for (const OfferedModel& model : offered) {
    if (!model.problem.empty()) continue;
    const bool is_open = open != nullptr && open->offered.id == model.id;
    shown.push_back({model.id,
                     is_open               ? "loaded"
                     : opening == model.id ? "loading"
                                           : "unloaded",
                     is_open ? open_meta(*open) : closed_meta(model)});
  }
  return shown;
}

Json openai_model(const ServerState& server, const Shown& model) {
  return object({{"id", model.id},
                 {"object", "model"},
                 {"created", server.started},
                 {"owned_by", "moxie"},
                 {"status", object({{"value", model.status}})},
                 {"meta", model.meta}});
}

Json anthropic_model(const ServerState& server, const Shown& model) {
  return object({{"type", "model"},
                 {"id", model.id},
                 {"display_name", model.id},
                 {"created_at", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(server.started))}});
}

Json model_json(const ServerState& server, const HttpRequest& request, const Shown& model) {
  return speaks_anthropic(request) ? anthropic_model(server, model) : openai_model(server, model);
}

bool is_loading(const ServerState& server) {
  return server.models->is_fixed() && server.models->current() == nullptr;
}

Result<HttpResponse> list(ServerState& server, const HttpRequest& request) {
  if (is_loading(server)) return loading_response(request);
  const std::vector<Shown> models = shown_models(server);
  Json data = array();
  for (const Shown& model : models) push(data, model_json(server, request, model));
  if (!speaks_anthropic(request)) return json_response(object({{"object", "list"}, {"data", std::move(data)}}));
  return json_response(object({{"data", std::move(data)},
                               {"has_more", false},
                               {"first_id", models.empty() ? JsonPart(nullptr) : JsonPart(models.front().id)},
                               {"last_id", models.empty() ? JsonPart(nullptr) : JsonPart(models.back().id)}}));
}

Result<HttpResponse> one(ServerState& server, const HttpRequest& request) {
  if (is_loading(server)) return loading_response(request);
  const std::string_view id = last_part(kOnePath, request.path);
  const std::vector<Shown> models = shown_models(server);
  const auto found = std::find_if(models.begin(), models.end(), [&](const Shown& model) { return model.id == id; });
  if (found != models.end()) return json_response(model_json(server, request, *found));
  if (server.models->is_fixed()) {
    return fail(ErrorCode::not_found, "there is no model '{}'; the model here is '{}'", id.substr(0, 200),
                models.front().id);
  }
  MOXIE_TRY(const OfferedModel near, find_offered(server.models->models(), id));
  return fail(ErrorCode::not_found, "there is no model '{}'; did you mean '{}'?", id.substr(0, 200), near.id);
}

}  // namespace

extern const EndpointEntry models = {
    .name = "models",
    .summary = "the models that may be asked for",
    .method = "GET",
    .paths = "/v1/models /models",
    .open = true,
    .look = list,
};

extern const EndpointEntry model = {
    .name = "model",
    .summary = "one model by its id",
    .method = "GET",
    .paths = kOnePath,
    .open = true,
    .look = one,
};

}  // namespace moxie::server::endpoints
