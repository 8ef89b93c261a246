// Counts for Prometheus: llama.cpp's names, and moxie's own for what llama.cpp has not.
#include <fmt/format.h>

#include "server/endpoint.h"
#include "server/model_host.h"

namespace moxie::server::endpoints {
namespace {

class Page {
 public:
  void counter(std::string_view name, std::string_view help, double value) { add(name, help, "counter", value); }
  void gauge(std::string_view name, std::string_view help, double value) { add(name, help, "gauge", value); }
  std::string take() { return std::move(text_); }

 private:
  void add(std::string_view name, std::string_view help, std::string_view type, double value) {
    text_ += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n{0} {3}\n", name, help, type, value);
  }
  std::string text_;
};

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

void add_llama_cpp(Page& page, const SchedulerStats& stats) {
  const auto number = [](uint64_t value) { return static_cast<double>(value); };
  page.counter("llamacpp:prompt_tokens_total", "Prompt tokens computed.", number(stats.prompt_tokens));
  page.counter("llamacpp:prompt_seconds_total", "Seconds spent on prompts.", stats.prompt_seconds);
  page.counter("llamacpp:tokens_predicted_total", "Tokens generated.", number(stats.generated_tokens));
  page.counter("llamacpp:tokens_predicted_seconds_total", "Seconds spent on generation.", stats.generate_seconds);
  page.counter("llamacpp:n_decode_total", "Steps through the model.", number(stats.steps));
  page.gauge("llamacpp:n_busy_slots_per_decode", "Sequences in a step, mean.",
             ratio(number(stats.step_sequences), number(stats.steps)));
  page.gauge("llamacpp:prompt_tokens_seconds", "Prompt tokens per second, mean.",
             ratio(number(stats.prompt_tokens), stats.prompt_seconds));
  page.gauge("llamacpp:predicted_tokens_seconds", "Generated tokens per second, mean.",
             ratio(number(stats.generated_tokens), stats.generate_seconds));
  page.gauge("llamacpp:kv_cache_usage_ratio", "Share of the KV cache in use.",
             ratio(number(stats.kv_bytes), number(stats.kv_limit_bytes)));
  page.gauge("llamacpp:requests_processing", "Requests that run.", stats.running);
  page.gauge("llamacpp:requests_deferred", "Requests that wait.", stats.waiting);
}

void add_own(Page& page, const ServerState& server, const SchedulerStats& stats) {
  const HttpServer* http = server.http;
  const auto number = [](uint64_t value) { return static_cast<double>(value); };
  page.counter("moxie:http_requests_total", "HTTP requests taken.", number(server.counts.requests));
  page.counter("moxie:http_refused_total", "HTTP requests refused by route, name or key.",
               number(server.counts.refused));
  page.counter("moxie:http_errors_total", "HTTP responses with a status of 500 or more.", number(server.counts.errors));
  page.gauge("moxie:http_connections", "Connections that are open.", http != nullptr ? http->connections() : 0);
  page.counter("moxie:models_opened_total", "Models opened, each time anew.", number(server.models->opened_count()));
  page.gauge("moxie:requests_waiting_for_model", "Requests whose model is not open yet.", server.models->waiting());
  page.counter("moxie:requests_refused_total", "Generations refused because the queue was full.",
               number(stats.refused));
  page.counter("moxie:requests_cancelled_total", "Generations cancelled.", number(stats.cancelled));
  page.counter("moxie:requests_failed_total", "Generations that failed.", number(stats.failed));
  page.counter("moxie:prompt_tokens_cached_total", "Prompt tokens taken from the prefix cache.",
               number(stats.cached_tokens));
  page.gauge("moxie:kv_cache_bytes", "Bytes of the KV cache in use, kept prefixes included.", number(stats.kv_bytes));
  page.gauge("moxie:prefix_cache_bytes", "Bytes of kept prefixes.", number(stats.prefix_cache_bytes));
  page.counter("moxie:prefix_cache_hits_total", "Blocks found in the prefix cache.", number(stats.prefix_cache_hits));
  page.counter("moxie:prefix_cache_misses_total", "Blocks not found there.", number(stats.prefix_cache_misses));
  page.counter("moxie:draft_tokens_total", "Tokens guessed by prompt lookup.", number(stats.drafted_tokens));
  page.counter("moxie:draft_tokens_accepted_total", "Of those, right.", number(stats.accepted_tokens));
  const ExpertStats& experts = stats.experts;
  page.gauge("moxie:experts_streaming", "1: experts come and go.", experts.streaming ? 1 : 0);
  page.gauge("moxie:expert_slots_per_layer", "Experts kept in a layer, mean.", experts.slots_per_layer);
  page.counter("moxie:expert_hits_total", "Experts that were in memory when they were wanted.", number(experts.hits));
  page.counter("moxie:expert_misses_total", "Experts that were not.", number(experts.misses));
  page.counter("moxie:read_bytes_total", "Bytes read from weight files.", number(experts.bytes_read));
  page.counter("moxie:stall_seconds_total", "Seconds computing waited for the disk.", experts.stall_seconds);
  page.counter("moxie:disk_busy_seconds_total", "Seconds with a read in flight.", experts.disk_busy_seconds);
  page.counter("moxie:lookahead_useful_total", "Experts read ahead that were wanted.",
               number(experts.lookahead_useful));
  page.counter("moxie:lookahead_late_total", "Experts read ahead that were wanted before they had arrived.",
               number(experts.lookahead_late));
  page.counter("moxie:lookahead_wasted_total", "Experts read ahead that were not.", number(experts.lookahead_wasted));
  if (experts.mode == "exact") return;
  page.counter("moxie:lossy_accesses_total", "Choices of routers that a lossy mode could have changed.",
               number(experts.lossy_accesses));
  page.counter("moxie:lossy_changed_total", "Those that one changed.", number(experts.lossy_changed));
  page.gauge("moxie:lossy_weight_share", "Share of the choices' weight that was on the changed ones.",
             experts.lossy_weight_share);
}

Result<HttpResponse> look(ServerState& server, const HttpRequest& request) {
  if (!server.options.metrics)
    return error_response(501, "metrics are not shown by this server; it was started with --no-metrics");
  const ServiceLease service = server.models->current();
  if (service == nullptr && server.models->is_fixed()) return loading_response(request);
  const SchedulerStats stats = service != nullptr ? service->scheduler->stats() : SchedulerStats();
  Page page;
  add_llama_cpp(page, stats);
  add_own(page, server, stats);
  return HttpResponse{.body = page.take(),
                      .content_type = "text/plain; version=0.0.4",
                      .headers = {{"Process-Start-Time-Unix", std::to_string(server.started)}}};
}

}  // namespace

extern const EndpointEntry metrics = {.name = "metrics",
                                      .summary = "counts for Prometheus",
                                      .method = "GET",
                                      .paths = "/metrics",
                                      .immediate = true,
                                      .look = look};

}  // namespace moxie::server::endpoints
