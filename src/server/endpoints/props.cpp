// What the server is set to.
#include "server/endpoint.h"
#include "server/json_build.h"
#include "server/settings_json.h"

namespace moxie::server::endpoints {
namespace {

std::string token_text(const Service& service, int32_t id) {
  return id >= 0 && service.prompts ? service.prompts->tokenizer().text(id) : std::string();
}

Result<HttpResponse> answer(Service& service, const HttpRequest&) {
  const int64_t context = service.engine.runtime().context_tokens;
  const GenerateOptions& defaults = service.options.generate;
  const int32_t eos = service.prompts ? service.prompts->tokenizer().eos() : -1;
  const std::string no_template;
  return json_response(
      object({{"default_generation_settings",
               object({{"n_ctx", context}, {"params", settings_json(defaults, defaults.sampling.seed)}})},
              {"total_slots", service.options.scheduler.parallel},
              {"model_alias", service.model_id},
              {"model_path", service.engine.model().path},
              {"modalities", object({{"vision", false}, {"audio", false}})},
              {"chat_template", service.prompts ? service.prompts->source(false) : no_template},
              {"chat_template_tool_use", service.prompts ? service.prompts->source(true) : no_template},
              {"chat_form", service.prompts ? service.prompts->form() : no_template},
              {"bos_token", token_text(service, service.engine.bos())},
              {"eos_token", token_text(service, eos)},
              {"build_info", "moxie " MOXIE_VERSION}}));
}

Result<HttpResponse> refuse(Service&, const HttpRequest&) {
  return error_response(501, "properties do not change while the server runs; start it with other flags");
}

}  // namespace

extern const EndpointEntry props = {.name = "props",
                                    .summary = "what the server is set to",
                                    .method = "GET",
                                    .paths = "/props /v1/props",
                                    .answer = answer};

extern const EndpointEntry set_props = {.name = "set_props",
                                        .summary = "refused: properties do not change",
                                        .method = "POST",
                                        .paths = "/props",
                                        .answer = refuse};

}  // namespace moxie::server::endpoints
