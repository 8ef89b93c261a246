#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/bench_report.h"
#include "cli/table.h"
#include "cli/url_bench.h"

namespace moxie::cli {
namespace {

using Object = nlohmann::ordered_json;

void add(Object& object, const std::string& name, const std::vector<double>& ascending) {
  if (ascending.empty()) return;
  object[name] = median(ascending);
  object[name + "_all"] = ascending;
}

Object object_of(const UrlFigures& figures) {
  Object object = {{"prompt_tokens", figures.prompt_tokens},
                   {"cached_tokens", figures.cached_tokens},
                   {"completion_tokens", figures.tokens}};
  add(object, "first_token_s", figures.first_token_seconds);
  add(object, "tokens_per_s", figures.tokens_per_s);
  return object;
}

}  // namespace

std::string UrlReport::markdown() const {
  constexpr double kMilli = 1e-3;
  Table table({"test", ">first token, ms", ">tokens/s"});
  const auto about = [](const UrlFigures& figures) {
    return figures.prompt_tokens > 0
               ? fmt::format(" ({} tokens, {} cached)", figures.prompt_tokens, figures.cached_tokens)
               : std::string();
  };
  table.row(
      {"a new prompt" + about(cold), spread(cold.first_token_seconds, kMilli, 1), spread(cold.tokens_per_s, 1, 1)});
  table.row({"the same again" + about(repeated), spread(repeated.first_token_seconds, kMilli, 1),
             spread(repeated.tokens_per_s, 1, 1)});
  for (const UrlClients& each : clients) {
    table.row({fmt::format("{} client{} at once, together", each.clients, each.clients == 1 ? "" : "s"),
               spread(each.first_token_seconds, kMilli, 1), spread(each.tokens_per_s, 1, 1)});
  }
  std::string out = fmt::format("{}, model {}\n\n{}", url, model, table.markdown());
  out += fmt::format("\nMedians of {} (least - most); answers of up to {} tokens.\n", repetitions, max_tokens);
  if (tools.asked > 0) {
    out += fmt::format("Tool calls: {} of {} well-formed", tools.well_formed, tools.asked);
    if (!tools.seconds.empty()) out += fmt::format(", {} s", spread(tools.seconds, 1, 2));
    out += tools.problem.empty() ? ".\n" : fmt::format("; {}.\n", tools.problem);
  }
  for (const std::string& notice : notices) out += fmt::format("Note: {}.\n", notice);
  return out;
}

std::string UrlReport::json() const {
  Object tool = {{"asked", tools.asked}, {"well_formed", tools.well_formed}};
  add(tool, "seconds", tools.seconds);
  if (!tools.problem.empty()) tool["problem"] = tools.problem;
  Object list = Object::array();
  for (const UrlClients& each : clients) {
    Object object = {{"clients", each.clients}};
    add(object, "first_token_s", each.first_token_seconds);
    add(object, "tokens_per_s", each.tokens_per_s);
    list.push_back(std::move(object));
  }
  const Object whole = {{"url", url},
                        {"model", model},
                        {"version", version},
                        {"repetitions", repetitions},
                        {"max_tokens", max_tokens},
                        {"cold", object_of(cold)},
                        {"repeated", object_of(repeated)},
                        {"tool_calls", tool},
                        {"clients", list},
                        {"notices", notices}};
  return whole.dump(2, ' ', false, Object::error_handler_t::replace) + "\n";
}

}  // namespace moxie::cli
