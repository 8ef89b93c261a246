#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/hub_model.h"
#include "cli/model_options.h"
#include "cli/table.h"
#include "core/cpu_info.h"
#include "core/fail.h"
#include "core/memory_info.h"
#include "engine/memory_plan.h"
#include "engine/model_facts.h"
#include "kernels/memory_bandwidth.h"
#include "kernels/select.h"

namespace moxie::cli::commands {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kGiga = 1e9;
constexpr uint64_t kPlanBandwidthBytes = uint64_t{256} << 20;
constexpr int kBandwidthPasses = 3;

// "1,3.5,7": positive numbers of GB/s, as bytes a second.
Result<std::vector<double>> parse_bandwidths(std::string_view text) {
  std::vector<double> all;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(','));
    text.remove_prefix(std::min(one.size() + 1, text.size()));
    double value = 0;
    const auto [end, error] = std::from_chars(one.data(), one.data() + one.size(), value, std::chars_format::fixed);
    if (error != std::errc() || end != one.data() + one.size() || !(value >= 0.001) || value > 1e6) {
      return fail(ErrorCode::invalid_argument, "'{}' is no bandwidth in GB/s; give numbers from 0.001 to 1000000", one);
    }
    all.push_back(value * kGiga);
  }
  if (all.empty()) return fail(ErrorCode::invalid_argument, "no bandwidth is given; give GB/s, as 3.5");
  return all;
}

std::string percent(double share) {
  return fmt::format("{:.0f} %", 100 * share);
}

// "3 of 8", "3 to 4 of 8".
std::string kept_in_words(const PlanRow& row, int64_t experts) {
  if (row.kept_min == row.kept_max) return fmt::format("{} of {}", row.kept_min, experts);
  return fmt::format("{} to {} of {}", row.kept_min, row.kept_max, experts);
}

class Plan final : public Command {
 public:
  void flags(FlagSet& flags) override {
    model_.add_header_flags(flags);
    flags.add("ctx-size", model_.engine.ctx_size);
    flags.add("threads", model_.engine.threads);
    flags.add("batch-size", model_.engine.batch_size);
    flags.add("ubatch-size", model_.engine.ubatch_size);
    flags.add("cache-type-k", model_.cache_type_k);
    flags.add("cache-type-v", model_.cache_type_v);
    flags.toggle("mmap", model_.engine.mmap);
    flags.toggle("no-mmap", model_.engine.mmap, false);
    flags.group("experts under a budget");
    flags.add("memory", settings_.memory);
    flags.add("expert-slots", settings_.expert_slots,
              "instead of a budget: plan for N experts kept per layer (2,4,6: a row for each)");
    flags.add("trace", settings_.trace);
    flags.add("policy", settings_.policy);
    const auto bandwidths = [](std::vector<double>& target) {
      return [&target](const std::string& value) -> Result<void> {
        MOXIE_TRY(target, parse_bandwidths(value));
        return {};
      };
    };
    flags.on("disk-bandwidth", bandwidths(disks_), "1,3,7");
    flags.on("memory-bandwidth", bandwidths(memories_));
    flags.group("output");
    flags.toggle("json", json_);
  }

  Result<int> run() override {
    MOXIE_TRY_VOID(hub_.open(model_.positional.empty() ? model_.engine.model : model_.positional));
    MOXIE_TRY_VOID(settle(model_));
    MOXIE_TRY(const WeightFiles files, open_weights(model_.engine.model));
    MOXIE_TRY(facts_, read_model_facts(files, model_.engine.arch));
    for (const std::string& notice : facts_.notices) note(notice);
    machine_ = read_memory_info();
    threads_ = model_.engine.threads > 0 ? model_.engine.threads : read_cpu_info().threads;
    settings_.arch = model_.engine.arch;
    settings_.ctx_size = model_.engine.ctx_size;
    settings_.batch_size = model_.engine.batch_size;
    settings_.ubatch_size = model_.engine.ubatch_size;
    settings_.cache_type = model_.engine.cache_type;
    settings_.mmap = model_.engine.mmap;
    settings_.threads = threads_;
    MOXIE_TRY(plan_, plan_memory(files, settings_, machine_));
    MOXIE_TRY_VOID(find_memory_bandwidth());
    if (!plan_.refused.message.empty()) note(plan_.refused.message);
    MOXIE_TRY_VOID(print(json_ ? as_json(files) : as_text(files)));
    if (const auto read = hub_.read_in_words()) note(*read);
    return 0;
  }

 private:
  Result<void> find_memory_bandwidth() {
    if (memories_.empty()) {
      ThreadPool pool(threads_);
      const uint64_t room = machine_.room_bytes().value_or(kPlanBandwidthBytes * 4);
      MOXIE_TRY(const CpuTarget* target, select_cpu_target());
      MOXIE_TRY(
          const double measured,
          measure_read_bandwidth(pool, *target->kernels, std::min(kPlanBandwidthBytes, room / 4), kBandwidthPasses));
      memories_.push_back(measured);
      memory_measured_ = true;
    }
    return {};
  }

  double bound(const PlanRow& row, double disk) const {
    return row.tokens_per_second_bound(disk, memories_.front(), facts_.active_bytes_per_token);
  }
  bool refused() const { return !plan_.refused.message.empty(); }

  // ---- text ----

  std::string as_text(const WeightFiles& files) const {
    std::string out = fmt::format("{}: {}, {}, {} parameters\n\n", files.path, files.format, facts_.family,
                                  human_count(facts_.parameters));
    out += weights_table() + "\n";
    if (model_.verbose) out += layers_table() + "\n";
    if (!refused()) out += ledger_table() + "\n";
    return out + ladder_table();
  }

  std::string weights_table() const {
    Table table({"weights", ">bytes", ">share", "of it"});
    const auto add = [&](const std::string& name, uint64_t bytes, const std::string& remark) {
      table.row({name, human_bytes(bytes),
                 fmt::format("{:.1f} %", 100.0 * static_cast<double>(bytes) / static_cast<double>(facts_.weight_bytes)),
                 remark});
    };
    for (const PartFacts& part : facts_.parts) {
      std::string types;
      for (const auto& [type, count] : part.tensors_by_type)
        types += fmt::format("{}{} x {}", types.empty() ? "" : ", ", count, type);
      add(part.name, part.bytes, types);
    }
    add("all", facts_.weight_bytes,
        fmt::format("{} read for each decoded token", human_bytes(facts_.active_bytes_per_token)));
    return table.text();
  }

  std::string layers_table() const {
    Table layers({">layer", ">attention", ">router", ">feed-forward", ">experts", ">one expert", "types"});
    for (size_t i = 0; i < facts_.layers.size(); ++i) {
      const LayerFacts& layer = facts_.layers[i];
      layers.row({fmt::format("{}", i), human_bytes(layer.attention_bytes), human_bytes(layer.router_bytes),
                  human_bytes(layer.dense_bytes), human_bytes(layer.expert_bytes), human_bytes(layer.one_expert_bytes),
                  layer.expert_types});
    }
    return layers.text();
  }

  std::string ledger_table() const {
    const MemoryLedger& ledger = plan_.chosen.ledger;
    Table table({"memory", ">bytes", "for"});
    table.row({"dense weights", human_bytes(ledger.dense_bytes), "all but experts"});
    table.row({"KV cache", human_bytes(ledger.kv_bytes),
               fmt::format("{} tokens, {}", ledger.context_tokens, model_.engine.cache_type)});
    table.row({"activations", human_bytes(ledger.activation_bytes),
               ledger.chunk_tokens < ledger.batch_tokens
                   ? fmt::format("{} tokens layer by layer, {} at a time", ledger.batch_tokens, ledger.chunk_tokens)
                   : fmt::format("batches of {} tokens", ledger.batch_tokens)});
    table.row({"program", human_bytes(ledger.process_bytes), "code, tokenizer, threads"});
    table.row({"reserve", human_bytes(ledger.reserve_bytes), "page tables, allocator"});
    if (facts_.experts > 0) table.row({"experts", human_bytes(ledger.expert_bytes), experts_in_words(plan_.chosen)});
    table.row({"total", human_bytes(ledger.total_bytes()), "of " + plan_.budget});
    return table.text();
  }

  std::string experts_in_words(const PlanRow& row) const {
    const PoolLayout& pool = row.ledger.pool;
    if (pool.complete) return fmt::format("all {} of every layer", facts_.experts);
    std::string slots;
    for (const PoolLayout::Class& group : pool.classes) {
      slots +=
          fmt::format("{}{} slots of {}", slots.empty() ? "" : " and ", group.slots, human_bytes(group.slot_bytes));
    }
    std::string words = fmt::format("{} per layer: {}", kept_in_words(row, facts_.experts), slots);
    if (pool.streaming_layers > 0) words += fmt::format("; {} layers keep none", pool.streaming_layers);
    return words;
  }

  std::string ladder_table() const {
    const bool mixture = facts_.experts > 0;
    std::vector<std::string> headings = {"", "budget", ">needs"};
    if (mixture) headings.insert(headings.end(), {">experts", ">hits", ">uniform", ">disk a token"});
    for (const double disk : disks_) headings.push_back(fmt::format(">at {:g} GB/s", disk / kGiga));
    Table table(std::move(headings));
    for (const PlanRow& row : plan_.ladder) {
      std::vector<std::string> cells = {row.chosen ? ">" : "", row.name, human_bytes(row.ledger.total_bytes())};
      if (mixture) {
        cells.insert(cells.end(),
                     {fmt::format("{:.1f}", row.kept_mean), percent(row.hit_rate), percent(row.uniform_hit_rate),
                      human_bytes(static_cast<uint64_t>(row.disk_bytes_per_token))});
      }
      for (const double disk : disks_) cells.push_back(fmt::format("{:.2f}", bound(row, disk)));
      table.row(std::move(cells));
    }
    std::string out = table.text() + "\n";
    if (mixture) {
      out += fmt::format(
          "experts: kept per layer, of {}. hits: share of the {} uses a token makes in a layer that find their expert "
          "there\n",
          facts_.experts, facts_.experts_used);
      out += fmt::format("({}).\nuniform: the same if every expert were equally likely. ", plan_.hit_rates);
    }
    out +=
        fmt::format("at N GB/s: the most tokens a second\nwith a disk of that speed and memory of {:.1f} GB/s ({}).\n",
                    memories_.front() / kGiga, memory_measured_ ? "measured" : "as given");
    if (const auto room = machine_.room_bytes())
      out += fmt::format("Here {} of memory are free.\n", human_bytes(*room));
    return out;
  }

  // ---- JSON ----

  Json row_as_json(const PlanRow& row) const {
    const MemoryLedger& ledger = row.ledger;
    Json bounds = Json::array();
    for (const double disk : disks_) bounds.push_back({{"disk_bandwidth", disk}, {"tokens_per_s", bound(row, disk)}});
    return {{"name", row.name},
            {"chosen", row.chosen},
            {"bytes",
             {{"dense", ledger.dense_bytes},
              {"kv", ledger.kv_bytes},
              {"activations", ledger.activation_bytes},
              {"process", ledger.process_bytes},
              {"reserve", ledger.reserve_bytes},
              {"experts", ledger.expert_bytes},
              {"total", ledger.total_bytes()}}},
            {"batch_tokens", ledger.batch_tokens},
            {"chunk_tokens", ledger.chunk_tokens},
            {"slots_per_layer", {{"min", row.kept_min}, {"mean", row.kept_mean}, {"max", row.kept_max}}},
            {"streaming_layers", ledger.pool.streaming_layers},
            {"resident", ledger.pool.complete},
            {"hit_rate", row.hit_rate},
            {"uniform_hit_rate", row.uniform_hit_rate},
            {"disk_bytes_per_token", row.disk_bytes_per_token},
            {"bounds", bounds}};
  }

  std::string as_json(const WeightFiles& files) const {
    Json bytes;
    for (const PartFacts& part : facts_.parts) bytes[part.name] = part.bytes;
    bytes["all"] = facts_.weight_bytes;
    Json layers = Json::array();
    for (const LayerFacts& layer : facts_.layers) {
      layers.push_back({{"attention", layer.attention_bytes},
                        {"router", layer.router_bytes},
                        {"feed-forward", layer.dense_bytes},
                        {"experts", layer.expert_bytes},
                        {"one_expert", layer.one_expert_bytes},
                        {"expert_types", layer.expert_types}});
    }
    Json ladder = Json::array();
    for (const PlanRow& row : plan_.ladder) ladder.push_back(row_as_json(row));
    const MemoryLedger& any = plan_.ladder.back().ledger;
    Json object = {{"model", files.path},
                   {"format", files.format},
                   {"family", facts_.family},
                   {"parameters", facts_.parameters},
                   {"experts", facts_.experts},
                   {"experts_used", facts_.experts_used},
                   {"active_bytes_per_token", facts_.active_bytes_per_token},
                   {"context_tokens", plan_.context_tokens},
                   {"cache_type", model_.engine.cache_type},
                   {"weights", bytes},
                   {"minimum_bytes", any.minimum_bytes},
                   {"resident_bytes", any.complete_bytes},
                   {"memory_bandwidth", memories_.front()},
                   {"hit_rates", plan_.hit_rates},
                   {"budget", plan_.budget}};
    if (const uint64_t budget = plan_.chosen.ledger.budget_bytes; !refused() && budget != kNoBudget)
      object["budget_bytes"] = budget;
    if (refused()) object["refused"] = plan_.refused.message;
    object["plan"] = refused() ? Json(nullptr) : row_as_json(plan_.chosen);
    object["ladder"] = std::move(ladder);
    object["layers"] = std::move(layers);
    if (const auto room = machine_.room_bytes()) {
      object["available_bytes"] = *room;
      object["fits"] = any.complete_bytes <= *room;
    }
    return object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  }

  RemoteModel hub_;  // before what reads its files
  ModelOptions model_;
  PlanSettings settings_;
  std::vector<double> disks_ = {1 * kGiga, 3 * kGiga, 7 * kGiga};
  std::vector<double> memories_;  // one: given or measured
  bool memory_measured_ = false;
  bool json_ = false;
  int threads_ = 1;
  ModelFacts facts_;
  MemoryPlan plan_;
  MemoryInfo machine_;
};

}  // namespace

extern const CommandEntry plan = {
    .name = "plan",
    .summary = "show where the bytes go under a budget, and what that means for speed, before anything is read",
    .usage = "[MODEL] [--memory M | --expert-slots N[,N...]] [-c N]",
    .detail =
        "Reads headers only. A table of budgets goes from the least that works to everything in memory. Exit status 7: the budget is\n"
        "below that. docs/memory.md explains the figures. -v adds a table of layers.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Plan>(); },
};

}  // namespace moxie::cli::commands
