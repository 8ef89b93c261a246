#include "server/sampling_fields.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/fail.h"
#include "sample/chain.h"
#include "sample/sampler.h"

namespace moxie::server {
namespace {

constexpr double kAny = std::numeric_limits<double>::infinity();
constexpr size_t kStopsMax = 64, kStopBytesMax = 4096, kBiasesMax = 4096;
constexpr int64_t kIntMax = std::numeric_limits<int>::max();
constexpr uint64_t kRandom = 0xFFFFFFFFu;

void read_seed(Fields& fields, SamplingOptions& options) {
  const Json* value = fields.find("seed");
  if (value == nullptr) return;
  if (const auto* large = value->get_if<uint64_t>()) {
    options.seed = *large;
  } else if (const auto seed = value->integer()) {
    options.seed = *seed < 0 ? kRandom : static_cast<uint64_t>(*seed);
  } else {
    fields.refuse("seed", *value, "a whole number; -1: a random one");
  }
}

bool add_bias(SamplingOptions& options, const Json& key, const Json& bias, const EncodeText& encode) {
  float amount = 0;
  if (const bool* flag = bias.get_if<bool>(); flag != nullptr && !*flag) {
    amount = -std::numeric_limits<float>::infinity();
  } else if (const auto number = number_of(bias); number && std::abs(*number) <= std::numeric_limits<float>::max()) {
    amount = static_cast<float>(*number);
  } else {
    return false;
  }
  if (const auto id = key.integer()) {
    if (*id < 0 || *id > kIntMax) return false;
    options.logit_bias.emplace_back(static_cast<int32_t>(*id), amount);
    return true;
  }
  if (key.text() == nullptr) return false;
  int32_t id = 0;
  const char* end = key.text()->data() + key.text()->size();
  if (const auto [last, error] = std::from_chars(key.text()->data(), end, id); error == std::errc() && last == end) {
    options.logit_bias.emplace_back(id, amount);
    return true;
  }
  if (!encode) return false;
  for (const int32_t each : encode(*key.text())) options.logit_bias.emplace_back(each, amount);
  return true;
}

// OpenAI's {"15043": -100}, llama.cpp's [[15043, -100], ["text", false]].
void read_biases(Fields& fields, SamplingOptions& options, const EncodeText& encode) {
  const Json* value = fields.find("logit_bias");
  if (value == nullptr) return;
  const std::string_view wanted = R"(an object {"ID": BIAS} or a list of [ID, BIAS], with false for a banned token)";
  const size_t count = value->object() != nullptr  ? value->object()->size()
                       : value->array() != nullptr ? value->array()->size()
                                                   : kBiasesMax + 1;
  if (count > kBiasesMax) return fields.refuse("logit_bias", *value, wanted);
  if (value->object() != nullptr) {
    for (const auto& [key, bias] : *value->object()) {
      if (!add_bias(options, Json{key}, bias, encode)) return fields.refuse("logit_bias", *value, wanted);
    }
    return;
  }
  for (const Json& pair : *value->array()) {
    if (pair.array() == nullptr || pair.array()->size() != 2 ||
        !add_bias(options, (*pair.array())[0], (*pair.array())[1], encode)) {
      return fields.refuse("logit_bias", pair, wanted);
    }
  }
}

void read_samplers(Fields& fields, SamplingOptions& options) {
  const Json* value = fields.find("samplers");
  if (value == nullptr) return;
  if (value->text() == nullptr) return fields.texts("samplers", options.samplers);
  auto letters = samplers_from_letters(*value->text());
  if (!letters.ok())
    return fields.fail_with(fail(ErrorCode::invalid_argument, "'samplers': {}", letters.error().message));
  options.samplers = *std::move(letters);
}

void read_grammars(Fields& fields, SamplingOptions& options) {
  fields.text("grammar", options.grammar);
  fields.text("regex", options.regex);
  if (const Json* schema = fields.find("json_schema")) {
    if (schema->object() == nullptr && schema->get_if<bool>() == nullptr) {
      return fields.refuse("json_schema", *schema, "a JSON schema");
    }
    options.json_schema = to_text(*schema);
  }
}

}  // namespace

void read_sampling(Fields& fields, SamplingOptions& options, const EncodeText& encode) {
  fields.number("temperature", options.temp, -kAny, kAny);
  fields.number("dynatemp_range", options.dynatemp_range, 0, kAny);
  fields.number("dynatemp_exponent", options.dynatemp_exponent, 0, kAny);
  fields.integer("top_k", options.top_k, -kIntMax, kIntMax);
  fields.number("top_p", options.top_p, 0, 1);
  fields.number("min_p", options.min_p, 0, 1);
  fields.number("typical_p", options.typical, 0, 1);
  fields.number("top_n_sigma", options.top_nsigma, -kAny, kAny);
  fields.number("xtc_probability", options.xtc_probability, 0, 1);
  fields.number("xtc_threshold", options.xtc_threshold, 0, 1);
  fields.integer("min_keep", options.min_keep, 0, kIntMax);
  fields.integer("repeat_last_n", options.repeat_last_n, -1, kIntMax);
  fields.number("repeat_penalty", options.repeat_penalty, std::numeric_limits<float>::min(), kAny);
  fields.number("frequency_penalty", options.frequency_penalty, -kAny, kAny);
  fields.number("presence_penalty", options.presence_penalty, -kAny, kAny);
  fields.number("dry_multiplier", options.dry_multiplier, 0, kAny);
  fields.number("dry_base", options.dry_base, 1, kAny);
  fields.integer("dry_allowed_length", options.dry_allowed_length, 0, kIntMax);
  fields.integer("dry_penalty_last_n", options.dry_penalty_last_n, -1, kIntMax);
  fields.texts("dry_sequence_breakers", options.dry_sequence_breakers);
  fields.integer("mirostat", options.mirostat, 0, 2);
  fields.number("mirostat_eta", options.mirostat_lr, 0, kAny);
  fields.number("mirostat_tau", options.mirostat_ent, 0, kAny);
  fields.flag("ignore_eos", options.ignore_eos);
  read_seed(fields, options);
  read_biases(fields, options, encode);
  read_samplers(fields, options);
  read_grammars(fields, options);
  if (!fields.ok()) return;
  if (auto checked = check_sampling_options(options); !checked.ok()) fields.fail_with(std::move(checked).error());
}

void read_stops(Fields& fields, std::vector<std::string>& stops, std::string_view name) {
  std::vector<std::string> given;
  fields.texts(name, given);
  if (!fields.ok()) return;
  if (given.size() > kStopsMax) {
    return fields.fail_with(
        fail(ErrorCode::invalid_argument, "'{}' has {} texts; at most {} are taken", name, given.size(), kStopsMax));
  }
  for (const std::string& stop : given) {
    if (stop.size() > kStopBytesMax) {
      return fields.fail_with(fail(ErrorCode::invalid_argument, "'{}' has a text of {} bytes; at most {} are taken",
                                   name, stop.size(), kStopBytesMax));
    }
    if (!stop.empty()) stops.push_back(stop);  // an empty text stops nothing
  }
}

}  // namespace moxie::server
