#include "cli/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/console.h"
#include "cli/table.h"

namespace moxie::cli {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

}  // namespace

std::string spread(const std::vector<double>& ascending, double unit, int digits) {
  if (ascending.empty()) return "";
  return fmt::format("{:.{}f} ({:.{}f} - {:.{}f})", median(ascending) / unit, digits, ascending.front() / unit, digits,
                     ascending.back() / unit, digits);
}

double median(const std::vector<double>& ascending) {
  const size_t middle = ascending.size() / 2;
  return ascending.size() % 2 == 1 ? ascending[middle] : (ascending[middle - 1] + ascending[middle]) / 2;
}

std::string Measurement::name() const {
  return fmt::format("{}{}{}", prompt ? "pp" : "tg", tokens, depth > 0 ? fmt::format(" @ d{}", depth) : "");
}

double Measurement::by_arithmetic() const {
  const double bf16_seconds = bf16_products > 0 ? bf16_products / limits.bf16_products.back() : 0;
  return 1 / (integer_products / limits.integer_products.back() + float_products / limits.float_products.back() +
              bf16_seconds);
}

double Measurement::by_memory() const {
  return bytes > 0 && !limits.memory.empty() ? limits.memory.back() / static_cast<double>(bytes) : 0;
}

double Measurement::disk_bytes_per_token() const {
  const int64_t computed = tokens + (prompt || depth > 0 ? 0 : 1);  // the token before the first one counts here
  return static_cast<double>(disk_bytes) / static_cast<double>(computed) / static_cast<double>(rates.size());
}

double Measurement::hit_rate() const {
  return hits + misses > 0 ? static_cast<double>(hits) / static_cast<double>(hits + misses) : 0;
}

std::string BenchReport::markdown() const {
  const auto several_types = [&](const Measurement& one) { return one.cache_type != measurements.front().cache_type; };
  const bool with_types = std::any_of(measurements.begin(), measurements.end(), several_types);
  std::vector<std::string> headings = {"test",   ">threads", ">tokens/s",         ">min - max", ">read per token",
                                       ">GiB/s", ">Gop/s",   ">at most tokens/s", "by",         ">share"};
  if (with_types) headings.insert(headings.begin() + 1, "KV");
  const bool streaming =
      std::any_of(measurements.begin(), measurements.end(), [](const Measurement& one) { return one.streaming; });
  if (streaming) headings.insert(headings.end(), {"mode", ">from disk per token", ">hits"});
  Table table(headings);
  for (const Measurement& one : measurements) {
    std::vector<std::string> cells = {one.name(),
                                      fmt::format("{}", one.threads),
                                      fmt::format("{:.2f}", median(one.rates)),
                                      fmt::format("{:.2f} - {:.2f}", one.rates.front(), one.rates.back()),
                                      one.bytes == 0 ? "" : human_bytes(one.bytes),
                                      one.bytes == 0 ? "" : fmt::format("{:.2f}", one.bytes_per_second() / kGiB),
                                      fmt::format("{:.1f}", one.operations_per_second() * 1e-9),
                                      fmt::format("{:.1f}", one.limit()),
                                      one.memory_bound() ? "memory" : "arithmetic",
                                      fmt::format("{:.0f} %", 100 * one.share())};
    if (streaming) {
      cells.insert(cells.end(), {one.mode, human_bytes(static_cast<uint64_t>(one.disk_bytes_per_token())),
                                 fmt::format("{:.1f} %", 100 * one.hit_rate())});
    }
    if (with_types) cells.insert(cells.begin() + 1, one.cache_type);
    table.row(std::move(cells));
  }
  std::string out = head + "\n\n" + table.markdown();
  out += fmt::format("\nMedians of {}. This machine in the same run, medians (least - most):\n", repetitions);
  int shown = 0;
  for (const Measurement& one : measurements) {
    if (one.threads == shown) continue;
    shown = one.threads;
    const std::string memory = one.limits.memory.empty() ? "memory not measured, for the budget has no room for it"
                                                         : "memory " + spread(one.limits.memory, kGiB, 2) + " GiB/s";
    out += fmt::format("{}; {}, int8 {} Gop/s, float {} Gop/s", one.threads_why, memory,
                       spread(one.limits.integer_products, 0.5e9, 0), spread(one.limits.float_products, 0.5e9, 0));
    if (one.bf16_products > 0) out += fmt::format(", bf16 {} Gop/s", spread(one.limits.bf16_products, 0.5e9, 0));
    out += '\n';
  }
  if (std::any_of(measurements.begin(), measurements.end(), [](const Measurement& one) { return one.share() > 1; })) {
    out +=
        "A share above 100 % means that weights came from the processor's caches, or that other programs disturbed "
        "the run.\n";
  }
  return out;
}

std::string BenchReport::json() const {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Measurement& one : measurements) {
    nlohmann::ordered_json object = {{"test", one.name()},
                                     {"n_prompt", one.prompt ? one.tokens : 0},
                                     {"n_gen", one.prompt ? 0 : one.tokens},
                                     {"n_depth", one.depth},
                                     {"threads", one.threads},
                                     {"cache_type", one.cache_type},
                                     {"tokens_per_s", median(one.rates)},
                                     {"tokens_per_s_all", one.rates},
                                     {"integer_products_per_token", one.integer_products},
                                     {"float_products_per_token", one.float_products},
                                     {"bf16_products_per_token", one.bf16_products},
                                     {"operations_per_s", one.operations_per_second()},
                                     {"limit", one.memory_bound() ? "memory" : "arithmetic"},
                                     {"limit_tokens_per_s", one.limit()},
                                     {"share", one.share()}};
    if (one.bytes > 0) {
      object["bytes_read_per_token"] = one.bytes;
      object["bytes_per_s"] = one.bytes_per_second();
    }
    if (one.streaming) {
      object["mode"] = one.mode;
      object["disk_bytes_per_token"] = one.disk_bytes_per_token();
      object["expert_hits"] = one.hits;
      object["expert_misses"] = one.misses;
    }
    const auto limit = [&](const std::string& name, const std::vector<double>& passes, double unit) {
      std::vector<double> scaled = passes;
      for (double& pass : scaled) pass *= unit;
      object[name] = scaled.back();
      object[name + "_all"] = scaled;
    };
    if (!one.limits.memory.empty()) limit("memory_bytes_per_s", one.limits.memory, 1);
    limit("int8_ops_per_s", one.limits.integer_products, 2);
    limit("float_ops_per_s", one.limits.float_products, 2);
    if (one.bf16_products > 0) limit("bf16_ops_per_s", one.limits.bf16_products, 2);
    object["cpu_target"] = cpu_target;
    object["fast"] = fast;
    object["version"] = version;
    list.push_back(std::move(object));
  }
  return list.dump(2) + "\n";
}

}  // namespace moxie::cli
