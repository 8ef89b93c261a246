#include "engine/expert_profile.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <set>
#include <utility>

#include "core/fail.h"
#include "core/json.h"
#include "core/printable.h"
#include "core/replace_file.h"
#include "text/json_fields.h"

namespace moxie {
namespace {

constexpr int64_t kProfileVersion = 1;
constexpr int64_t kTokensMax = int64_t{1} << 48;
constexpr uint64_t kProfileBytesMax = 64 << 20;
// Events that a profile counts for with a policy that never forgets: enough to rank by, few enough to be overruled by
// use.
constexpr double kEvents = 256;

// A line for each layer: readable, and a difference shows where it is.
template <typename T>
std::string rows_of(const std::vector<std::vector<T>>& table) {
  std::string text;
  for (const std::vector<T>& row : table) {
    std::string cells;
    for (const T cell : row) {
      if (!cells.empty()) cells += ',';
      if constexpr (std::is_integral_v<T>) {
        cells += fmt::format("{}", cell);
      } else {
        cells += fmt::format("{:.4f}", cell);
      }
    }
    text += fmt::format("{}[{}]", text.empty() ? "" : ",\n", cells);
  }
  return text;
}

std::optional<uint64_t> cell_of(const Json& json, int64_t tokens, uint64_t*) {
  const auto value = json.integer();
  if (!value || *value < 0 || *value > tokens) return std::nullopt;
  return static_cast<uint64_t>(*value);
}

// A weight is at most one.
std::optional<double> cell_of(const Json& json, int64_t tokens, double*) {
  const auto* real = json.get_if<double>();
  const auto* whole = json.get_if<int64_t>();
  const double value = real != nullptr ? *real : whole != nullptr ? static_cast<double>(*whole) : -1;
  if (!(value >= 0 && value <= static_cast<double>(tokens) * 1.001 + 1)) return std::nullopt;
  return value;
}

template <typename T>
Result<std::vector<std::vector<T>>> table_of(const Json& whole, const char* key, std::string_view what, int64_t tokens,
                                             const ModelIdentity& model) {
  const Json* json = whole.find(key);
  const Json::Array* rows = json != nullptr ? json->array() : nullptr;
  if (rows == nullptr || std::ssize(*rows) != model.layers) {
    return fail(ErrorCode::corrupt, "{}: \"{}\" is no list of {} layers", what, key, model.layers);
  }
  std::vector<std::vector<T>> table;
  for (const Json& row : *rows) {
    const Json::Array* cells = row.array();
    if (cells == nullptr || (!cells->empty() && std::ssize(*cells) != model.experts)) {
      return fail(ErrorCode::corrupt, "{}: \"{}\" of layer {} is no list of {} experts", what, key, table.size(),
                  model.experts);
    }
    std::vector<T>& into = table.emplace_back();
    for (const Json& cell : *cells) {
      const auto value = cell_of(cell, tokens, static_cast<T*>(nullptr));
      if (!value) {
        return fail(ErrorCode::corrupt, "{}: \"{}\" of expert {}:{} is {}, which {} tokens cannot give", what, key,
                    table.size() - 1, into.size(), printable(to_text(cell)), tokens);
      }
      into.push_back(*value);
    }
  }
  return table;
}

// "3:5" into two numbers.
std::optional<std::pair<int32_t, int32_t>> pair_of(std::string_view text) {
  std::pair<int32_t, int32_t> pair;
  const char* const end = text.data() + text.size();
  const auto [colon, error] = std::from_chars(text.data(), end, pair.first);
  if (error != std::errc() || colon == end || *colon != ':') return std::nullopt;
  const auto [last, second_error] = std::from_chars(colon + 1, end, pair.second);
  if (second_error != std::errc() || last != end) return std::nullopt;
  return pair;
}

bool looks_like_a_list(std::string_view text) {
  return text.find_first_not_of("0123456789:,-") == std::string_view::npos;
}

Result<std::vector<KnownExpert>> parse_pins(std::string_view text, const ModelIdentity& model,
                                            const std::vector<bool>& has_mixture) {
  std::set<std::pair<int32_t, int32_t>> pins;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(','));
    text.remove_prefix(std::min(one.size() + 1, text.size()));
    const auto pair = pair_of(one);
    if (!pair)
      return fail(ErrorCode::invalid_argument, "pin '{}' is no layer:expert; write 0:3,0:5,1:2, or name a profile",
                  printable(one));
    const auto [layer, id] = *pair;
    if (layer < 0 || layer >= model.layers) {
      return fail(ErrorCode::invalid_argument, "pin {}: there is no layer {}; '{}' has layers 0 to {}", one, layer,
                  printable(model.name), model.layers - 1);
    }
    if (!has_mixture[static_cast<size_t>(layer)]) {
      return fail(ErrorCode::invalid_argument, "pin {}: layer {} of '{}' has no experts", one, layer,
                  printable(model.name));
    }
    if (id < 0 || id >= model.experts) {
      return fail(ErrorCode::invalid_argument, "pin {}: there is no expert {}; a layer of '{}' has experts 0 to {}",
                  one, id, printable(model.name), model.experts - 1);
    }
    pins.insert(*pair);
  }
  std::vector<KnownExpert> all;
  for (const auto& [layer, id] : pins) all.push_back({.layer = layer, .id = id});
  return all;
}

}  // namespace

std::vector<int32_t> ExpertProfile::ranked(size_t layer) const {
  std::vector<int32_t> ids(uses[layer].size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
    const auto i = static_cast<size_t>(a), j = static_cast<size_t>(b);
    if (uses[layer][i] != uses[layer][j]) return uses[layer][i] > uses[layer][j];
    return mass[layer][i] > mass[layer][j];
  });
  return ids;
}

double ExpertProfile::share_of_top(size_t layer, size_t n) const {
  const std::vector<int32_t> ids = ranked(layer);
  uint64_t top = 0, all = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    const uint64_t count = uses[layer][static_cast<size_t>(ids[i])];
    all += count;
    if (i < n) top += count;
  }
  return all > 0 ? static_cast<double>(top) / static_cast<double>(all) : 0;
}

std::string profile_text(const ExpertProfile& profile) {
  return fmt::format(
      "{{\"moxie_profile\":{},\"model\":{},\"fingerprint\":\"{}\",\"routing\":\"{}\",\"tokens\":{},\"experts_used\":{},"
      "\n\"uses\":[\n{}],\n"
      "\"gate_mass\":[\n{}]}}\n",
      kProfileVersion, to_text(Json{profile.model}), profile.fingerprint, profile.router_only ? "router_only" : "exact",
      profile.tokens, profile.experts_used, rows_of(profile.uses), rows_of(profile.mass));
}

Result<ExpertProfile> parse_profile(std::string_view text, std::string_view what, const ModelIdentity& model) {
  MOXIE_TRY(const Json whole, parse_json(text, what, {.bytes_max = kProfileBytesMax}));
  const Json* version = whole.find("moxie_profile");
  if (version == nullptr || version->integer() != kProfileVersion) {
    return fail(ErrorCode::corrupt, "{}: is no profile of version {}; make one with `moxie profile`", what,
                kProfileVersion);
  }
  ExpertProfile profile = {.model = text_field(whole, "model"), .fingerprint = text_field(whole, "fingerprint")};
  if (profile.fingerprint != model.fingerprint) {
    return fail(ErrorCode::invalid_argument,
                "{}: is a profile of another model, '{}' ({}); this one is '{}' ({}); make one with `moxie profile`",
                what, printable(profile.model), printable(profile.fingerprint), printable(model.name),
                model.fingerprint);
  }
  const std::string routing = text_field(whole, "routing");
  if (routing != "exact" && routing != "router_only") {
    return fail(ErrorCode::corrupt, "{}: \"routing\" is '{}', neither exact nor router_only", what, printable(routing));
  }
  profile.router_only = routing == "router_only";
  const Json* tokens = whole.find("tokens");
  profile.tokens = tokens != nullptr ? tokens->integer().value_or(0) : 0;
  if (profile.tokens < 1 || profile.tokens > kTokensMax) {
    return fail(ErrorCode::corrupt, "{}: \"tokens\" is {}, no number of tokens", what,
                tokens != nullptr ? printable(to_text(*tokens)) : "absent");
  }
  profile.experts_used = model.used;
  MOXIE_TRY(profile.uses, table_of<uint64_t>(whole, "uses", what, profile.tokens, model));
  MOXIE_TRY(profile.mass, table_of<double>(whole, "gate_mass", what, profile.tokens, model));
  for (size_t layer = 0; layer < profile.uses.size(); ++layer) {
    if (profile.uses[layer].size() == profile.mass[layer].size()) continue;
    return fail(ErrorCode::corrupt, "{}: layer {} has {} experts in \"uses\" and {} in \"gate_mass\"", what, layer,
                profile.uses[layer].size(), profile.mass[layer].size());
  }
  return profile;
}

Result<ExpertProfile> read_profile(const std::string& path, const ModelIdentity& model) {
  MOXIE_TRY(const std::string text, read_small_file(path, kProfileBytesMax));
  return parse_profile(text, path, model);
}

// An expert that a share p of the tokens use was used 1 / p events ago on average, and its decayed count settles at p
// times the highest.
std::vector<KnownExpert> known_from(const ExpertProfile& profile, const PolicyEntry& policy) {
  const double events = std::min(policy.half_life > 0 ? 1 / (1 - decay(1, policy.half_life)) : kEvents, kEvents);
  std::vector<KnownExpert> known;
  for (size_t layer = 0; layer < profile.uses.size(); ++layer) {
    for (size_t id = 0; id < profile.uses[layer].size(); ++id) {
      const double share = static_cast<double>(profile.uses[layer][id]) / static_cast<double>(profile.tokens);
      if (share <= 0) continue;
      known.push_back({.layer = static_cast<int32_t>(layer),
                       .id = static_cast<int32_t>(id),
                       .count = share * events,
                       .age = static_cast<int64_t>(std::min(1 / share, 1e12))});
    }
  }
  return known;
}

Result<PinChoice> read_pins(const std::string& text, int top, const ModelIdentity& model,
                            const std::vector<bool>& has_mixture) {
  if (model.experts == 0)
    return fail(ErrorCode::invalid_argument, "pins are for experts, and '{}' has none", printable(model.name));
  PinChoice choice;
  if (looks_like_a_list(text)) {
    MOXIE_TRY(choice.pins, parse_pins(text, model, has_mixture));
    return choice;
  }
  if (top < 0 || top > model.experts) {
    return fail(ErrorCode::invalid_argument, "{} experts of each layer cannot be pinned: there are {}", top,
                model.experts);
  }
  MOXIE_TRY(choice.profile, read_profile(text, model));
  for (size_t layer = 0; layer < choice.profile->uses.size(); ++layer) {
    std::vector<int32_t> ids = choice.profile->ranked(layer);
    ids.resize(std::min(ids.size(), static_cast<size_t>(top)));
    for (const int32_t id : ids) choice.pins.push_back({.layer = static_cast<int32_t>(layer), .id = id});
  }
  return choice;
}

}  // namespace moxie
