#include "engine/warm_state.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>
#include <tuple>

#include "core/fail.h"
#include "core/folder.h"
#include "core/json.h"
#include "core/printable.h"
#include "core/replace_file.h"
#include "text/json_fields.h"

namespace moxie {
namespace {

constexpr int64_t kWarmStateVersion = 1;
constexpr double kCountMax = 1e15;
constexpr int64_t kAgeMax = int64_t{1} << 40;
constexpr uint64_t kBytesForTheRest = 64 << 10, kBytesPerExpert = 128;

uint64_t bytes_max(const ModelIdentity& model) {
  return kBytesForTheRest +
         kBytesPerExpert * static_cast<uint64_t>(model.layers) * static_cast<uint64_t>(model.experts);
}

std::optional<double> number(const Json& json) {
  if (const auto* whole = json.get_if<int64_t>()) return static_cast<double>(*whole);
  if (const auto* real = json.get_if<double>()) return *real;
  return std::nullopt;
}

// [layer, id, count, age, resident]; nullopt for anything else, and for what lies outside the model.
std::optional<KnownExpert> known_expert(const Json& json, const ModelIdentity& model) {
  const Json::Array* fields = json.array();
  if (fields == nullptr || fields->size() != 5) return std::nullopt;
  const auto layer = (*fields)[0].integer(), id = (*fields)[1].integer(), age = (*fields)[3].integer(),
             resident = (*fields)[4].integer();
  const auto count = number((*fields)[2]);
  if (!layer || *layer < 0 || *layer >= model.layers || !id || *id < 0 || *id >= model.experts) return std::nullopt;
  if (!count || !(*count >= 0 && *count <= kCountMax) || !age || *age < 0 || *age > kAgeMax) return std::nullopt;
  if (!resident || (*resident != 0 && *resident != 1)) return std::nullopt;
  return KnownExpert{.layer = static_cast<int32_t>(*layer),
                     .id = static_cast<int32_t>(*id),
                     .count = *count,
                     .age = *age,
                     .resident = *resident == 1};
}

}  // namespace

std::string warm_state_text(const ModelIdentity& model, const PolicyEntry& policy, std::span<const KnownExpert> known) {
  std::string experts;
  for (const KnownExpert& e : known) {
    fmt::format_to(std::back_inserter(experts), "{}[{},{},{:.6g},{},{:d}]", experts.empty() ? "" : ",\n", e.layer, e.id,
                   e.count, e.age, e.resident);
  }
  return fmt::format(
      "{{\"moxie_warm_state\":{},\"model\":{},\"fingerprint\":\"{}\",\"policy\":\"{}\",\"known\":[\n{}]}}\n",
      kWarmStateVersion, to_text(Json{model.name}), model.fingerprint, policy.name, experts);
}

Result<std::vector<KnownExpert>> parse_warm_state(std::string_view text, std::string_view what,
                                                  const ModelIdentity& model) {
  MOXIE_TRY(const Json whole, parse_json(text, what, {.bytes_max = bytes_max(model)}));
  const Json* version = whole.find("moxie_warm_state");
  const Json* known = whole.find("known");
  if (version == nullptr || version->integer() != kWarmStateVersion || known == nullptr || known->array() == nullptr) {
    return fail(ErrorCode::corrupt, "{}: holds no hot set of version {}", what, kWarmStateVersion);
  }
  if (const std::string fingerprint = text_field(whole, "fingerprint"); fingerprint != model.fingerprint) {
    return fail(ErrorCode::invalid_argument, "{}: holds the hot set of another model, '{}' ({}); this one is '{}' ({})",
                what, printable(text_field(whole, "model")), printable(fingerprint), printable(model.name),
                model.fingerprint);
  }
  std::vector<KnownExpert> all;
  for (const Json& entry : *known->array()) {
    const auto expert = known_expert(entry, model);
    if (!expert)
      return fail(ErrorCode::corrupt, "{}: entry {} is no expert of this model: {}", what, all.size(),
                  printable(to_text(entry)));
    all.push_back(*expert);
  }
  return all;
}

double highest_count(const PolicyEntry& policy) {
  return policy.half_life > 0 ? 1 / (1 - decay(1, policy.half_life)) : std::numeric_limits<double>::infinity();
}

std::vector<KnownExpert> best_first(std::vector<KnownExpert> known, const PolicyEntry& policy) {
  double highest = 0;
  for (const KnownExpert& expert : known) highest = std::max(highest, expert.count);
  if (const double limit = highest_count(policy); highest > limit) {
    for (KnownExpert& expert : known) expert.count *= limit / highest;
  }
  const auto rank = [&](const KnownExpert& e) {
    const double score = policy.score != nullptr ? policy.score({.count = e.count, .last_use = -e.age}, 1) : e.count;
    return std::tuple(e.layer, !e.resident, -score, e.age, e.id);
  };
  std::sort(known.begin(), known.end(), [&](const KnownExpert& a, const KnownExpert& b) { return rank(a) < rank(b); });
  for (KnownExpert& expert : known) expert.resident = expert.count > 0;
  return known;
}

WarmStart::WarmStart(const std::string& cache_folder, ModelIdentity model, const PolicyEntry& policy, Pace pace)
    : model_(std::move(model)),
      policy_(&policy),
      path_(join_path(join_path(cache_folder, "experts"), model_.fingerprint + ".json")),
      pace_(pace),
      saved_(pace.now()) {}

Result<std::vector<KnownExpert>> WarmStart::read() const {
  auto text = read_small_file(path_, bytes_max(model_));
  if (!text.ok() && text.error().code == ErrorCode::not_found) return std::vector<KnownExpert>();
  if (!text.ok()) return std::move(text).error();
  return parse_warm_state(*text, path_, model_);
}

bool WarmStart::is_due() {
  stale_ = true;
  return pace_.now() - saved_ >= pace_.pause;
}

Result<void> WarmStart::save(std::span<const KnownExpert> known) {
  // A failed try is not repeated sooner than any other.
  saved_ = pace_.now();
  stale_ = false;
  return replace_file(path_, warm_state_text(model_, *policy_, known));
}

}  // namespace moxie
