// Is the server there? Answered at once, whatever the models do.
#include "server/endpoint.h"
#include "server/json_build.h"
#include "server/model_host.h"

namespace moxie::server::endpoints {
namespace {

Result<HttpResponse> look(ServerState& server, const HttpRequest& request) {
  if (server.draining) return error_response(503, "the server is shutting down");
  if (!server.models->opening().empty()) return loading_response(request);
  const ServiceLease service = server.models->current();
  if (service == nullptr && server.models->is_fixed()) return loading_response(request);
  const int parallel = server.options.scheduler.parallel;
  const SchedulerStats stats = service != nullptr ? service->scheduler->stats() : SchedulerStats{.parallel = parallel};
  const int idle = stats.parallel - stats.running;
  if (!request.argument("fail_on_no_slot").empty() && idle <= 0) return error_response(503, "no slot is free");
  return json_response(object({{"status", "ok"},
                               {"slots_idle", idle},
                               {"slots_processing", stats.running},
                               {"requests_waiting", stats.waiting + server.models->waiting()}}));
}

}  // namespace

extern const EndpointEntry health = {
    .name = "health",
    .summary = "whether the server is there, and how busy",
    .method = "GET",
    .paths = "/health /v1/health /",
    .open = true,
    .immediate = true,
    .look = look,
};

}  // namespace moxie::server::endpoints
