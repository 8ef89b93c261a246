// What runs. Prompts are not shown: one client's text is nothing to another.
#include "server/endpoint.h"
#include "server/json_build.h"
#include "server/model_host.h"
#include "server/settings_json.h"

namespace moxie::server::endpoints {
namespace {

Json slot_json(const SlotInfo& slot) {
  const int64_t remaining = slot.max_tokens >= 0 ? slot.max_tokens - slot.generated : -1;
  return object({{"id", slot.id},
                 {"request", slot.request},
                 {"n_ctx", slot.context_tokens},
                 {"speculative", slot.speculative},
                 {"is_processing", slot.busy},
                 {"params", settings_json(slot.options, slot.options.sampling.seed)},
                 {"tokens", slot.tokens},
                 {"prompt_tokens", slot.prompt_tokens},
                 {"prompt_tokens_done", slot.prompt_done},
                 {"cached_tokens", slot.cached_tokens},
                 {"next_token",
                  object({{"has_next_token", slot.busy}, {"n_remain", remaining}, {"n_decoded", slot.generated}})}});
}

HttpResponse disabled() {
  return error_response(501, "slots are not shown by this server; it was started with --no-slots");
}

Result<HttpResponse> look(ServerState& server, const HttpRequest& request) {
  if (!server.options.slots) return disabled();
  const ServiceLease service = server.models->current();
  if (service == nullptr && server.models->is_fixed()) return loading_response(request);
  Json made = array();
  bool idle = service == nullptr;
  for (const SlotInfo& slot : service != nullptr ? service->scheduler->slots() : std::vector<SlotInfo>()) {
    idle |= !slot.busy;
    push(made, slot_json(slot));
  }
  if (!request.argument("fail_on_no_slot").empty() && !idle) return error_response(503, "no slot is free");
  return json_response(made);
}

}  // namespace

extern const EndpointEntry slots = {
    .name = "slots", .summary = "what runs", .method = "GET", .paths = "/slots", .immediate = true, .look = look};

}  // namespace moxie::server::endpoints
