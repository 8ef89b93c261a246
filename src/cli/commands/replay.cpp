#include "store/replay.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/line_chart.h"
#include "cli/table.h"
#include "core/edit_distance.h"
#include "core/fail.h"
#include "core/printable.h"

namespace moxie::cli::commands {
namespace {

constexpr std::string_view kBelady = "belady";

double hit_rate(const CacheCounts& counts) {
  return static_cast<double>(counts.hits) / static_cast<double>(std::max<uint64_t>(counts.hits + counts.misses, 1));
}

std::string shown_rate(const CacheCounts& counts) {
  return counts.hits + counts.misses > 0 ? fmt::format("{:.3f}", hit_rate(counts)) : "-";
}

nlohmann::ordered_json as_json(const CacheCounts& counts) {
  return {{"hits", counts.hits}, {"misses", counts.misses}};
}

class Replay final : public Command {
 public:
  void flags(FlagSet& flags) override {
    flags.positional("TRACE", paths_,
                     "a recorded routing trace; several are replayed one by one, and their accesses are summed up");
    flags.group("replay");
    flags.on(
        "policy", [this](const std::string& names) { return choose_policies(names); }, "all",
        fmt::format("eviction policies, separated by commas: {}; {}, which knows the future, is always shown",
                    policy_names(), kBelady));
    flags.add("expert-slots", slots_, "experts of each layer that stay in memory, separated by commas");
    flags.toggle("no-prompts", prompts_, false);
    flags.group("output");
    flags.toggle("layers", by_layer_);
    flags.add("plot", plot_);
    flags.toggle("json", json_);
  }

  Result<int> run() override {
    MOXIE_TRY_VOID(read_traces());
    MOXIE_TRY_VOID(settle_slots());
    if (policies_.empty()) policies_.assign(policy_entries().begin(), policy_entries().end());
    for (const PolicyEntry* policy : policies_) {
      for (const int64_t slots : slots_) add_result(policy->name, static_cast<int>(slots), policy);
    }
    for (const int64_t slots : slots_) add_result(kBelady, static_cast<int>(slots), nullptr);
    if (!plot_.empty()) MOXIE_TRY_VOID(write_text(plot_, svg(chart())));
    MOXIE_TRY_VOID(print(json_ ? json_text() : text()));
    return 0;
  }

 private:
  struct Outcome {
    std::string_view policy;
    int slots;
    std::vector<LayerCounts> layers;

    LayerCounts sum() const {
      LayerCounts all;
      for (const LayerCounts& layer : layers) {
        all.decode += layer.decode;
        all.prefill += layer.prefill;
      }
      return all;
    }
  };

  Result<void> choose_policies(std::string_view names) {
    policies_.clear();
    while (!names.empty()) {
      const std::string_view name = names.substr(0, names.find(','));
      names.remove_prefix(std::min(name.size() + 1, names.size()));
      if (name.empty() || name == kBelady) continue;
      const PolicyEntry* policy = find_policy(name);
      if (!policy) {
        std::vector<std::string_view> known;
        for (const PolicyEntry* entry : policy_entries()) known.push_back(entry->name);
        const std::string_view near = nearest_name(name, known);
        return fail(ErrorCode::invalid_argument, "'{}' is no eviction policy; {}", printable(name),
                    near.empty() ? fmt::format("there are {}", policy_names()) : fmt::format("did you mean {}?", near));
      }
      if (std::find(policies_.begin(), policies_.end(), policy) == policies_.end()) policies_.push_back(policy);
    }
    return {};
  }

  Result<void> read_traces() {
    if (paths_.empty()) {
      return fail(ErrorCode::invalid_argument, "no trace is given; docs/routing.md describes their form");
    }
    for (const std::string& path : paths_) {
      MOXIE_TRY(RoutingTrace trace, read_routing_trace(path));
      if (!traces_.empty() && trace.shape != shape()) {
        const auto words = [](const TraceShape& of) {
          return fmt::format("{} layers of {} experts, top {}", of.layers, of.experts, of.top_k);
        };
        return fail(ErrorCode::invalid_argument, "{} has {}, {} has {}; replay them apart", path, words(trace.shape),
                    traces_[0].name, words(shape()));
      }
      const auto counts = [&](const TraceEvent& event) { return prompts_ || event.kind == EventKind::decode; };
      for (const TraceEvent& event : trace.events) {
        if (counts(event)) ++events_, accesses_ += event.count;
      }
      lost_ += trace.lost;
      traces_.push_back(std::move(trace));
    }
    if (events_ == 0) {
      return fail(ErrorCode::invalid_argument, "{}: has no event{}; record a longer run", traces_[0].name,
                  prompts_ ? "" : " that is no prompt's");
    }
    return {};
  }

  const TraceShape& shape() const { return traces_[0].shape; }

  Result<void> settle_slots() {
    const int experts = shape().experts;
    for (const int64_t slots : slots_) {
      if (slots < 1 || slots > experts) {
        return fail(ErrorCode::invalid_argument, "--expert-slots: {} is none of 1 to {}, the experts of a layer", slots,
                    experts);
      }
    }
    if (slots_.empty()) {
      const int step = std::max(experts / 8, 1);
      for (int slots = shape().top_k; slots < experts; slots = (slots / step + 1) * step) slots_.push_back(slots);
      if (slots_.empty()) slots_.push_back(experts);
    }
    std::sort(slots_.begin(), slots_.end());
    slots_.erase(std::unique(slots_.begin(), slots_.end()), slots_.end());
    return {};
  }

  // Every trace starts with an empty cache. Without a policy: the clairvoyant choice.
  void add_result(std::string_view name, int slots, const PolicyEntry* policy) {
    Outcome outcome{name, slots, std::vector<LayerCounts>(static_cast<size_t>(shape().layers))};
    for (const RoutingTrace& trace : traces_) {
      const std::vector<LayerCounts> counts =
          policy ? replay(trace, *policy, slots, prompts_) : replay_belady(trace, slots, prompts_);
      for (size_t i = 0; i < counts.size(); ++i) {
        outcome.layers[i].decode += counts[i].decode;
        outcome.layers[i].prefill += counts[i].prefill;
      }
    }
    outcomes_.push_back(std::move(outcome));
  }

  std::string described() const {
    return fmt::format("{}: {} layers of {} experts, top {}; {} accesses in {} events{}",
                       traces_.size() == 1 ? std::filesystem::path(traces_[0].name).filename().string()
                                           : fmt::format("{} traces", traces_.size()),
                       shape().layers, shape().experts, shape().top_k, accesses_, events_,
                       lost_ > 0 ? fmt::format(", {} records lost", lost_) : "");
  }

  std::string text() const {
    std::string out =
        described() + "\nShare of accesses that hit, by expert slots of a layer; every trace starts empty.\n\n";
    std::vector<std::string> headings = {"policy"};
    for (const int64_t slots : slots_) headings.push_back(fmt::format(">{}", slots));
    Table table(headings);
    for (size_t i = 0; i < outcomes_.size(); i += slots_.size()) {
      std::vector<std::string> row = {std::string(outcomes_[i].policy)};
      for (size_t k = 0; k < slots_.size(); ++k) row.push_back(shown_rate(outcomes_[i + k].sum().total()));
      table.row(std::move(row));
    }
    out += table.text();
    if (by_layer_) {
      for (size_t k = 0; k < slots_.size(); ++k) out += layers_text(k);
    }
    return out;
  }

  std::string layers_text(size_t slots_index) const {
    std::vector<std::string> headings = {">layer"};
    for (size_t i = slots_index; i < outcomes_.size(); i += slots_.size()) {
      headings.push_back(fmt::format(">{}", outcomes_[i].policy));
    }
    Table table(headings);
    for (size_t layer = 0; layer < static_cast<size_t>(shape().layers); ++layer) {
      std::vector<std::string> row = {fmt::format("{}", layer)};
      for (size_t i = slots_index; i < outcomes_.size(); i += slots_.size()) {
        row.push_back(shown_rate(outcomes_[i].layers[layer].total()));
      }
      table.row(std::move(row));
    }
    return fmt::format("\n{} of {} experts of a layer in memory:\n{}", slots_[slots_index], shape().experts,
                       table.text());
  }

  std::string json_text() const {
    nlohmann::ordered_json traces = nlohmann::ordered_json::array(), results = nlohmann::ordered_json::array();
    for (const RoutingTrace& trace : traces_) {
      traces.push_back({{"name", trace.name}, {"events", trace.events.size()}, {"lost", trace.lost}});
    }
    for (const Outcome& outcome : outcomes_) {
      const LayerCounts sum = outcome.sum();
      const CacheCounts total = sum.total();
      nlohmann::ordered_json result = {
          {"policy", outcome.policy},       {"slots", outcome.slots},      {"hits", total.hits},
          {"misses", total.misses},         {"hit_rate", hit_rate(total)}, {"decode", as_json(sum.decode)},
          {"prefill", as_json(sum.prefill)}};
      if (outcome.policy != kBelady) result["evictions"] = total.evictions;
      if (by_layer_) {
        nlohmann::ordered_json layers = nlohmann::ordered_json::array();
        for (const LayerCounts& layer : outcome.layers) layers.push_back(as_json(layer.total()));
        result["layers"] = layers;
      }
      results.push_back(result);
    }
    const nlohmann::ordered_json object = {
        {"layers", shape().layers}, {"experts", shape().experts},  {"top_k", shape().top_k},
        {"events", events_},        {"accesses", accesses_},       {"lost", lost_},
        {"prompts", prompts_},      {"traces", std::move(traces)}, {"results", std::move(results)}};
    return object.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }

  LineChart chart() const {
    LineChart chart{.title = "Hit rate of the experts in memory",
                    .subtitle = described(),
                    .x_label = fmt::format("expert slots of a layer, of {}", shape().experts),
                    .y_label = "share of accesses that hit"};
    for (size_t i = 0; i < outcomes_.size(); i += slots_.size()) {
      ChartLine line{.name = std::string(outcomes_[i].policy), .reference = outcomes_[i].policy == kBelady};
      for (size_t k = 0; k < slots_.size(); ++k) {
        line.points.emplace_back(outcomes_[i + k].slots, hit_rate(outcomes_[i + k].sum().total()));
      }
      chart.lines.push_back(std::move(line));
    }
    return chart;
  }

  std::vector<std::string> paths_;
  std::vector<const PolicyEntry*> policies_;
  std::vector<int64_t> slots_;
  bool prompts_ = true, by_layer_ = false, json_ = false;
  std::string plot_;

  std::vector<RoutingTrace> traces_;
  uint64_t events_ = 0, accesses_ = 0, lost_ = 0;
  std::vector<Outcome> outcomes_;  // policy by policy, within one by slots
};

}  // namespace

extern const CommandEntry replay = {
    .name = "replay",
    .summary = "run recorded routing through eviction policies, beside the best that any could do",
    .usage = "TRACE... [--policy LIST] [--expert-slots LIST]",
    .detail = "docs/routing.md describes the traces. Without --expert-slots a range of budgets is shown.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Replay>(); },
};

}  // namespace moxie::cli::commands
