#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/model_options.h"
#include "cli/table.h"
#include "core/fail.h"
#include "core/memory_info.h"
#include "engine/model_facts.h"

namespace moxie::cli::commands {
namespace {

constexpr int64_t kDefaultContext = 4096;

class Plan final : public Command {
 public:
  void flags(FlagSet& flags) override {
    model_.add_flags(flags);
    flags.group("output");
    flags.toggle("json", json_);
  }

  Result<int> run() override {
    MOXIE_TRY_VOID(settle(model_));
    MOXIE_TRY(const WeightFiles files, open_weights(model_.engine.model));
    MOXIE_TRY(facts_, read_model_facts(files, model_.engine.arch));
    for (const std::string& notice : facts_.notices) note(notice);
    context_ = model_.engine.ctx_size;
    const int64_t trained = facts_.trained_context > 0 ? facts_.trained_context : kDefaultContext;
    if (context_ < 0) context_ = std::min(trained, kDefaultContext);
    if (context_ == 0) context_ = trained;
    MOXIE_TRY(needs_,
              memory_needs(files, model_.engine.arch, context_, model_.engine.ubatch_size, model_.engine.cache_type));
    total_ = facts_.weight_bytes + needs_.kv_bytes + needs_.activation_bytes;
    memory_ = read_memory_info();
    MOXIE_TRY_VOID(print(json_ ? as_json(files) : as_text(files)));
    return 0;
  }

 private:
  std::string as_text(const WeightFiles& files) const {
    std::string out = fmt::format("{}: {}, {}, {} parameters\n\n", files.path, files.format, facts_.family,
                                  human_count(facts_.parameters));
    Table sums({"part", ">bytes", ">share", "of it"});
    const auto add = [&](const std::string& name, uint64_t bytes, const std::string& remark) {
      sums.row({name, human_bytes(bytes),
                fmt::format("{:.1f} %", 100.0 * static_cast<double>(bytes) / static_cast<double>(total_)), remark});
    };
    for (const PartFacts& part : facts_.parts) {
      std::string types;
      for (const auto& [type, count] : part.tensors_by_type)
        types += fmt::format("{}{} x {}", types.empty() ? "" : ", ", count, type);
      add(part.name, part.bytes, types);
    }
    add("weights", facts_.weight_bytes,
        fmt::format("{} read for each decoded token", human_bytes(facts_.active_bytes_per_token)));
    add("KV cache", needs_.kv_bytes, fmt::format("{} tokens, {}", context_, model_.engine.cache_type));
    add("activations", needs_.activation_bytes,
        fmt::format("batches of {} tokens", std::min(model_.engine.ubatch_size, context_)));
    add("total", total_, machine_line());
    out += sums.text() + "\n";

    Table layers({">layer", ">attention", ">router", ">feed-forward", ">experts", ">one expert", "types"});
    for (size_t i = 0; i < facts_.layers.size(); ++i) {
      const LayerFacts& layer = facts_.layers[i];
      layers.row({fmt::format("{}", i), human_bytes(layer.attention_bytes), human_bytes(layer.router_bytes),
                  human_bytes(layer.dense_bytes), human_bytes(layer.expert_bytes), human_bytes(layer.one_expert_bytes),
                  layer.expert_types});
    }
    return out + layers.text();
  }

  std::string machine_line() const {
    const auto room = memory_.room_bytes();
    if (!room) return "how much memory is free is not known here";
    return fmt::format("{}: {} of memory are free", total_ <= *room ? "fits" : "does not fit", human_bytes(*room));
  }

  std::string as_json(const WeightFiles& files) const {
    nlohmann::ordered_json bytes;
    for (const PartFacts& part : facts_.parts) bytes[part.name] = part.bytes;
    bytes["weights"] = facts_.weight_bytes;
    bytes["kv"] = needs_.kv_bytes;
    bytes["activations"] = needs_.activation_bytes;
    bytes["total"] = total_;
    nlohmann::ordered_json layers = nlohmann::ordered_json::array();
    for (const LayerFacts& layer : facts_.layers) {
      layers.push_back({{"attention", layer.attention_bytes},
                        {"router", layer.router_bytes},
                        {"feed-forward", layer.dense_bytes},
                        {"experts", layer.expert_bytes},
                        {"one_expert", layer.one_expert_bytes},
                        {"expert_types", layer.expert_types}});
    }
    nlohmann::ordered_json object = {{"model", files.path},
                                     {"format", files.format},
                                     {"family", facts_.family},
                                     {"parameters", facts_.parameters},
                                     {"experts", facts_.experts},
                                     {"experts_used", facts_.experts_used},
                                     {"active_bytes_per_token", facts_.active_bytes_per_token},
                                     {"context_tokens", context_},
                                     {"cache_type", model_.engine.cache_type},
                                     {"bytes", bytes},
                                     {"layers", layers}};
    if (const auto room = memory_.room_bytes()) {
      object["available_bytes"] = *room;
      object["fits"] = total_ <= *room;
    }
    return object.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }

  ModelOptions model_;
  bool json_ = false;
  int64_t context_ = 0;
  ModelFacts facts_;
  MemoryNeeds needs_;
  uint64_t total_ = 0;
  MemoryInfo memory_;
};

}  // namespace

extern const CommandEntry plan = {
    .name = "plan",
    .summary = "show where a model's bytes go, and whether they fit, before anything is read",
    .usage = "[MODEL] [-c N]",
    .detail = "Reads headers only. Activations are the memory that one batch of --ubatch-size tokens takes.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Plan>(); },
};

}  // namespace moxie::cli::commands
