#include "server/settings_json.h"

#include <cmath>

#include "server/json_build.h"

namespace moxie::server {
namespace {

Json texts_json(const std::vector<std::string>& texts) {
  Json made = array();
  for (const std::string& text : texts) push(made, text);
  return made;
}

}  // namespace

Json settings_json(const GenerateOptions& options, uint64_t seed) {
  const SamplingOptions& sampling = options.sampling;
  Json biases = array();
  for (const auto& [id, bias] : sampling.logit_bias) {
    push(biases, array({id, std::isinf(bias) ? JsonPart(false) : JsonPart(static_cast<double>(bias))}));
  }
  const auto number = [](float value) { return JsonPart(static_cast<double>(value)); };
  return object({{"n_predict", options.max_tokens},
                 {"max_tokens", options.max_tokens},
                 {"n_keep", options.keep},
                 {"seed", seed},
                 {"temperature", number(sampling.temp)},
                 {"dynatemp_range", number(sampling.dynatemp_range)},
                 {"dynatemp_exponent", number(sampling.dynatemp_exponent)},
                 {"top_k", sampling.top_k},
                 {"top_p", number(sampling.top_p)},
                 {"min_p", number(sampling.min_p)},
                 {"typical_p", number(sampling.typical)},
                 {"top_n_sigma", number(sampling.top_nsigma)},
                 {"xtc_probability", number(sampling.xtc_probability)},
                 {"xtc_threshold", number(sampling.xtc_threshold)},
                 {"min_keep", sampling.min_keep},
                 {"repeat_last_n", sampling.repeat_last_n},
                 {"repeat_penalty", number(sampling.repeat_penalty)},
                 {"presence_penalty", number(sampling.presence_penalty)},
                 {"frequency_penalty", number(sampling.frequency_penalty)},
                 {"dry_multiplier", number(sampling.dry_multiplier)},
                 {"dry_base", number(sampling.dry_base)},
                 {"dry_allowed_length", sampling.dry_allowed_length},
                 {"dry_penalty_last_n", sampling.dry_penalty_last_n},
                 {"dry_sequence_breakers", texts_json(sampling.dry_sequence_breakers)},
                 {"mirostat", sampling.mirostat},
                 {"mirostat_tau", number(sampling.mirostat_ent)},
                 {"mirostat_eta", number(sampling.mirostat_lr)},
                 {"samplers", texts_json(sampling.samplers)},
                 {"stop", texts_json(options.stop)},
                 {"ignore_eos", sampling.ignore_eos},
                 {"logit_bias", std::move(biases)},
                 {"grammar", sampling.grammar},
                 {"json_schema", sampling.json_schema},
                 {"regex", sampling.regex}});
}

}  // namespace moxie::server
