#include "engine/memory_plan.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "core/fail.h"
#include "core/log.h"
#include "engine/context_length.h"
#include "store/policy.h"
#include "store/replay.h"

namespace moxie {
namespace {

constexpr int kMaxSteps = 8;  // of the ladder, from the experts that a token uses to all of them

// For 8 experts, 2 used, by experts kept. Anchored at 4 of 8 (0.56 to 0.60 for LRU on recorded C4 text), elsewhere from
// a model of Mixtral's routing fitted to the repetitions in table 5 of "Mixtral of Experts" (arXiv 2401.04088).
constexpr double kMixtralHitRates[] = {0, 0.125, 0.33, 0.45, 0.58, 0.69, 0.80, 0.90, 1};

// Hit rates of a layer, expected or replayed.
class HitRates {
 public:
  explicit HitRates(int used) : used_(used) {}
  HitRates(int used, RoutingTrace trace, const PolicyEntry& policy)
      : used_(used), trace_(std::move(trace)), policy_(&policy) {}

  double of(size_t layer, int kept, int experts) {
    if (kept >= experts) return 1;
    if (!trace_) return expected_hit_rate(kept, experts, used_);
    auto found = replayed_.find(kept);
    if (found == replayed_.end()) found = replayed_.emplace(kept, replay(*trace_, *policy_, kept)).first;
    const LayerCounts& counts = found->second[layer];
    const bool decoded = counts.decode.hits + counts.decode.misses > 0;
    const CacheCounts& events = decoded ? counts.decode : counts.prefill;
    const uint64_t all = events.hits + events.misses;
    return all > 0 ? static_cast<double>(events.hits) / static_cast<double>(all) : 0;
  }

  std::string in_words() const {
    if (trace_) return fmt::format("measured: {} through policy {}", trace_->name, policy_->name);
    return "expected, not measured: planning values; --trace FILE measures";
  }

 private:
  int used_;
  std::optional<RoutingTrace> trace_;
  const PolicyEntry* policy_ = nullptr;
  std::map<int, std::vector<LayerCounts>> replayed_{};
};

Result<HitRates> hit_rates(const ModelPlan& plan, const PlanSettings& settings) {
  const auto used = static_cast<int>(plan.hp.router.used);
  if (settings.trace.empty()) return HitRates(used);
  MOXIE_TRY(RoutingTrace trace, read_routing_trace(settings.trace));
  if (trace.shape.layers != plan.hp.layers || trace.shape.experts != plan.hp.router.experts ||
      trace.shape.top_k != used) {
    return fail(ErrorCode::invalid_argument,
                "{}: is of a model with {} layers of {} experts, {} used; this one has {} layers of {}, {} used; give "
                "a trace of this model",
                settings.trace, trace.shape.layers, trace.shape.experts, trace.shape.top_k, plan.hp.layers,
                plan.hp.router.experts, used);
  }
  const PolicyEntry* policy = settings.policy.empty() ? &default_policy() : find_policy(settings.policy);
  if (policy == nullptr) {
    return fail(ErrorCode::invalid_argument, "policy '{}' is not known; there are {}", settings.policy, policy_names());
  }
  return HitRates(used, std::move(trace), *policy);
}

PlanRow row_of(const ModelPlan& plan, std::string name, MemoryLedger ledger, HitRates& rates) {
  PlanRow row{.name = std::move(name), .ledger = std::move(ledger)};
  const PoolLayout& pool = row.ledger.pool;
  row.kept_mean = pool.kept_per_layer();
  row.kept_min = static_cast<int>(plan.hp.router.experts);
  double mixtures = 0, hits = 0, uniform = 0;
  for (size_t layer = 0; layer < pool.kept.size(); ++layer) {
    const std::vector<ExpertRecord>& experts = plan.experts.experts[layer];
    if (experts.empty()) continue;
    const int kept = pool.kept[layer];
    const double rate = rates.of(layer, kept, static_cast<int>(experts.size()));
    uint64_t bytes = 0;
    for (const ExpertRecord& expert : experts) bytes += expert.bytes();
    const double mean_bytes = static_cast<double>(bytes) / static_cast<double>(experts.size());
    row.disk_bytes_per_token += (1 - rate) * static_cast<double>(plan.hp.router.used) * mean_bytes;
    row.kept_min = std::min(row.kept_min, kept);
    row.kept_max = std::max(row.kept_max, kept);
    hits += rate;
    uniform += static_cast<double>(kept) / static_cast<double>(experts.size());
    ++mixtures;
  }
  if (mixtures == 0) return row;
  row.hit_rate = hits / mixtures;
  row.uniform_hit_rate = uniform / mixtures;
  return row;
}

// Numbers of experts per layer that are worth a row.
std::vector<int64_t> steps(int experts, int used) {
  std::vector<int64_t> all;
  if (experts - used < kMaxSteps) {
    for (int kept = used; kept <= experts; ++kept) all.push_back(kept);
    return all;
  }
  all.push_back(used);
  for (int step = 1; step <= kMaxSteps; ++step) {
    if (const int kept = experts * step / kMaxSteps; kept > used) all.push_back(kept);
  }
  return all;
}

struct Planner {
  const ModelPlan& plan;
  const PlanSettings& settings;
  LedgerSettings ledger;  // without budget
  HitRates rates;

  int experts() const { return static_cast<int>(plan.hp.router.experts); }

  Result<PlanRow> row(std::string name, const LedgerSettings& wanted) {
    MOXIE_TRY(MemoryLedger made, make_ledger(plan, wanted));
    return row_of(plan, std::move(name), std::move(made), rates);
  }
  Result<PlanRow> with_slots(int64_t slots) {
    LedgerSettings wanted = ledger;
    wanted.expert_slots = slots;
    return row(slots >= experts() ? std::string("all resident") : fmt::format("{} of {}", slots, experts()), wanted);
  }
  Result<PlanRow> with_budget(std::string name, uint64_t bytes, bool all_resident = false) {
    LedgerSettings wanted = ledger;
    wanted.budget_bytes = bytes;
    wanted.all_resident = all_resident;
    return row(std::move(name), wanted);
  }

  Result<void> add_ladder(MemoryPlan& out) {
    MOXIE_TRY(PlanRow everything, with_budget("all resident", kNoBudget));
    const uint64_t minimum = everything.ledger.minimum_bytes;
    if (experts() > 0) {
      MOXIE_TRY(PlanRow least, with_budget("minimum", minimum));
      out.ladder.push_back(std::move(least));
      for (const int64_t slots : steps(experts(), static_cast<int>(plan.hp.router.used))) {
        if (slots == experts()) continue;
        MOXIE_TRY(PlanRow next, with_slots(slots));
        // The slots through which experts pass can take more than the experts that are not kept.
        if (next.ledger.total_bytes() < everything.ledger.total_bytes()) out.ladder.push_back(std::move(next));
      }
    }
    out.ladder.push_back(std::move(everything));
    return {};
  }

  Result<void> choose(MemoryPlan& out, const MemoryInfo& machine) {
    const bool asked = !settings.memory.empty();
    auto budget = parse_memory(asked ? settings.memory : "auto", machine, BudgetFor::any_machine);
    if (!budget.ok() && asked) return budget.error();
    if (!budget.ok()) {  // nothing is asked and nothing is known: everything resident is what is planned
      out.budget = budget.error().message;
      out.ladder.back().chosen = true;
      out.chosen = out.ladder.back();
      return {};
    }
    out.budget = budget->explanation;
    auto row = with_budget(asked ? "--memory " + settings.memory : "free here", budget->bytes,
                           budget->kind == MemoryBudget::Kind::everything);
    if (row.ok()) {
      out.chosen = std::move(row).value();
      out.chosen.chosen = true;
      if (out.chosen.ledger.pool.complete) {
        out.ladder.back().chosen = true;
        return {};
      }
      const auto place = std::upper_bound(
          out.ladder.begin(), out.ladder.end(), out.chosen,
          [](const PlanRow& a, const PlanRow& b) { return a.ledger.total_bytes() < b.ledger.total_bytes(); });
      out.ladder.insert(place, out.chosen);
      return {};
    }
    if (asked || row.error().code != ErrorCode::out_of_memory) return std::move(row).error();
    out.refused = std::move(row).error();
    return {};
  }
};

}  // namespace

double expected_hit_rate(int kept, int experts, int used) {
  if (experts <= 0 || kept >= experts) return 1;
  if (kept <= 0) return 0;
  if (experts == 8 && used == 2) return kMixtralHitRates[kept];
  const double share = static_cast<double>(kept) / static_cast<double>(experts);
  const double doublings = std::clamp(std::log2(static_cast<double>(experts) / 8), 0.0, 2.0);
  return 1 - std::pow(1 - share, 1.25 + 0.875 * doublings);
}

double PlanRow::tokens_per_second_bound(double disk_bandwidth, double memory_bandwidth, uint64_t active_bytes) const {
  const double seconds =
      std::max(disk_bytes_per_token / disk_bandwidth, static_cast<double>(active_bytes) / memory_bandwidth);
  return seconds > 0 ? 1 / seconds : 0;
}

Result<MemoryPlan> plan_memory(const WeightFiles& files, const PlanSettings& settings, const MemoryInfo& machine) {
  if (!settings.memory.empty() && !settings.expert_slots.empty()) {
    return fail(ErrorCode::invalid_argument,
                "--memory {} and --expert-slots are two ways to say one thing; give one of them", settings.memory);
  }
  Log log;
  MOXIE_TRY(const ModelPlan plan, plan_model(files, settings.arch, log));
  MOXIE_TRY(HitRates rates, hit_rates(plan, settings));
  MOXIE_TRY(const KvType cache_type, parse_cache_type(settings.cache_type, plan.hp));
  MemoryPlan out{.context_tokens = context_length(settings.ctx_size, plan.hp.trained_context),
                 .hit_rates = rates.in_words()};
  Planner planner{.plan = plan,
                  .settings = settings,
                  .ledger = {.mmap = settings.mmap,
                             .context_tokens = out.context_tokens,
                             .batch_size = settings.batch_size,
                             .ubatch_size = settings.ubatch_size,
                             .cache_type = cache_type,
                             .process_bytes = estimated_process_bytes(plan.hp, settings.threads, machine)},
                  .rates = std::move(rates)};
  if (settings.expert_slots.empty() || planner.experts() == 0) {
    MOXIE_TRY_VOID(planner.add_ladder(out));
    MOXIE_TRY_VOID(planner.choose(out, machine));
    return out;
  }
  for (const int64_t slots : settings.expert_slots) {
    if (slots < 0) return fail(ErrorCode::invalid_argument, "{} experts per layer are none; give 0 or more", slots);
    MOXIE_TRY(PlanRow row, planner.with_slots(slots));
    out.ladder.push_back(std::move(row));
  }
  out.ladder.front().chosen = true;
  out.chosen = out.ladder.front();
  out.budget = fmt::format("{} experts in every layer, as asked", settings.expert_slots.front());
  return out;
}

}  // namespace moxie
