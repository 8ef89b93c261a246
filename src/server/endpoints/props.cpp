// What the server is set to, and what there is to know about the model that is open.
#include "server/endpoint.h"
#include "server/json_build.h"
#include "server/model_host.h"
#include "server/settings_json.h"

namespace moxie::server::endpoints {
namespace {

std::string token_text(const Service& service, int32_t id) {
  return id >= 0 && service.prompts ? service.prompts->tokenizer().text(id) : std::string();
}

Json texts(const std::vector<std::string>& from) {
  Json made = array();
  for (const std::string& text : from) push(made, text);
  return made;
}

Json findings_json(const std::vector<Finding>& findings) {
  Json made = array();
  for (const Finding& finding : findings) {
    push(made, object({{"code", finding.code},
                       {"severity", name(finding.severity)},
                       {"title", finding.title},
                       {"message", finding.message},
                       {"remedy", finding.remedy}}));
  }
  return made;
}

Json settings(const ServerState& server, JsonPart context) {
  const GenerateOptions& defaults = server.options.generate;
  return object({{"n_ctx", std::move(context)}, {"params", settings_json(defaults, defaults.sampling.seed)}});
}

// Several models, none of which is open.
Json closed_props(const ServerState& server) {
  return object({{"default_generation_settings", settings(server, nullptr)},
                 {"total_slots", server.options.scheduler.parallel},
                 {"model_alias", nullptr},
                 {"model_path", nullptr},
                 {"build_info", "moxie " MOXIE_VERSION}});
}

Json open_props(const ServerState& server, const Service& service) {
  const int32_t eos = service.prompts ? service.prompts->tokenizer().eos() : -1;
  const std::string no_template;
  return object({{"default_generation_settings", settings(server, service.engine.runtime().context_tokens)},
                 {"total_slots", server.options.scheduler.parallel},
                 {"model_alias", service.model_id},
                 {"model_path", service.engine.model().path},
                 {"modalities", object({{"vision", false}, {"audio", false}})},
                 {"chat_template", service.prompts ? service.prompts->source(false) : no_template},
                 {"chat_template_tool_use", service.prompts ? service.prompts->source(true) : no_template},
                 {"chat_form", service.prompts ? service.prompts->form() : no_template},
                 {"bos_token", token_text(service, service.engine.bos())},
                 {"eos_token", token_text(service, eos)},
                 {"notices", texts(service.engine.notices())},
                 {"findings", findings_json(service.offered.findings)},
                 {"build_info", "moxie " MOXIE_VERSION}});
}

Result<HttpResponse> look(ServerState& server, const HttpRequest& request) {
  const ServiceLease service = server.models->current();
  if (service == nullptr && server.models->is_fixed()) return loading_response(request);
  return json_response(service != nullptr ? open_props(server, *service) : closed_props(server));
}

Result<HttpResponse> refuse(ServerState&, const HttpRequest&) {
  return error_response(501, "properties do not change while the server runs; start it with other flags");
}

}  // namespace

extern const EndpointEntry props = {.name = "props",
                                    .summary = "what the server is set to, and what opening the model said",
                                    .method = "GET",
                                    .paths = "/props /v1/props",
                                    .look = look};

extern const EndpointEntry set_props = {.name = "set_props",
                                        .summary = "refused: properties do not change",
                                        .method = "POST",
                                        .paths = "/props",
                                        .look = refuse};

}  // namespace moxie::server::endpoints
