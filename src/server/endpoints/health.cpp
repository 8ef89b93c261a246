// Is the server there? Answered at once, whatever the model does.
#include "server/endpoint.h"
#include "server/json_build.h"

namespace moxie::server::endpoints {
namespace {

Result<HttpResponse> answer(Service& service, const HttpRequest& request) {
  const SchedulerStats stats = service.scheduler->stats();
  if (service.draining) return error_response(503, "the server is shutting down");
  const int idle = stats.parallel - stats.running;
  if (!request.argument("fail_on_no_slot").empty() && idle <= 0) return error_response(503, "no slot is free");
  return json_response(object({{"status", "ok"},
                               {"slots_idle", idle},
                               {"slots_processing", stats.running},
                               {"requests_waiting", stats.waiting}}));
}

}  // namespace

extern const EndpointEntry health = {
    .name = "health",
    .summary = "whether the server is there, and how busy",
    .method = "GET",
    .paths = "/health /v1/health /",
    .open = true,
    .immediate = true,
    .answer = answer,
};

}  // namespace moxie::server::endpoints
