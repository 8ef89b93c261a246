#include "options.h"

#include <pybind11/stl.h>

#include <functional>
#include <map>
#include <string>

namespace moxie::python {
namespace {

namespace py = pybind11;

template <typename Options>
using Setters = std::map<std::string, std::function<void(Options&, const py::handle&)>>;

template <typename Options, typename Value>
std::function<void(Options&, const py::handle&)> setter(Value Options::*field) {
  return [field](Options& options, const py::handle& value) { options.*field = value.cast<Value>(); };
}

template <typename Options>
Options read(const py::dict& given, const Setters<Options>& setters) {
  Options options;
  for (const auto& [key, value] : given) {
    const auto name = py::cast<std::string>(key);
    const auto found = setters.find(name);
    if (found == setters.end()) throw py::type_error("there is no option '" + name + "'");
    try {
      found->second(options, value);
    } catch (const py::cast_error&) {
      throw py::type_error("option '" + name + "' cannot be " + py::cast<std::string>(py::repr(value)));
    }
  }
  return options;
}

}  // namespace

EngineOptions engine_options(const py::dict& given) {
  using O = EngineOptions;
  static const Setters<O> setters = {
      {"model", setter(&O::model)},
      {"arch", setter(&O::arch)},
      {"ctx_size", setter(&O::ctx_size)},
      {"threads", setter(&O::threads)},
      {"cpu_target", setter(&O::cpu_target)},
      {"cache_type", setter(&O::cache_type)},
      {"batch_size", setter(&O::batch_size)},
      {"ubatch_size", setter(&O::ubatch_size)},
      {"parallel", setter(&O::parallel)},
      {"mmap", setter(&O::mmap)},
      {"memory", setter(&O::memory)},
      {"expert_slots", setter(&O::expert_slots)},
      {"policy", setter(&O::policy)},
      {"lookahead", setter(&O::lookahead)},
      {"io_backend", setter(&O::io_backend)},
      {"io_depth", setter(&O::io_depth)},
      {"direct_io", setter(&O::direct_io)},
      {"warm", setter(&O::warm)},
      {"cache_folder", setter(&O::cache_folder)},
      {"pin", setter(&O::pin)},
      {"pin_top", setter(&O::pin_top)},
      {"fast", setter(&O::fast)},
      {"skip_missing", setter(&O::skip_missing)},
      {"cache_prior", setter(&O::cache_prior)},
      {"top1_threshold", setter(&O::top1_threshold)},
      {"verify", setter(&O::verify)},
      {"trace_routing", setter(&O::trace_routing)},
      {"vocab_only", setter(&O::vocab_only)},
      {"quantize", setter(&O::quantize)},
      {"quantize_cache", setter(&O::quantize_cache)},
      {"io_piece", setter(&O::io_piece)},
  };
  return read<O>(given, setters);
}

SamplingOptions sampling_options(const py::dict& given) {
  using O = SamplingOptions;
  static const Setters<O> setters = {
      {"seed", setter(&O::seed)},
      {"samplers", setter(&O::samplers)},
      {"temp", setter(&O::temp)},
      {"dynatemp_range", setter(&O::dynatemp_range)},
      {"dynatemp_exponent", setter(&O::dynatemp_exponent)},
      {"top_k", setter(&O::top_k)},
      {"top_p", setter(&O::top_p)},
      {"min_p", setter(&O::min_p)},
      {"typical", setter(&O::typical)},
      {"top_nsigma", setter(&O::top_nsigma)},
      {"xtc_probability", setter(&O::xtc_probability)},
      {"xtc_threshold", setter(&O::xtc_threshold)},
      {"min_keep", setter(&O::min_keep)},
      {"repeat_last_n", setter(&O::repeat_last_n)},
      {"repeat_penalty", setter(&O::repeat_penalty)},
      {"frequency_penalty", setter(&O::frequency_penalty)},
      {"presence_penalty", setter(&O::presence_penalty)},
      {"dry_multiplier", setter(&O::dry_multiplier)},
      {"dry_base", setter(&O::dry_base)},
      {"dry_allowed_length", setter(&O::dry_allowed_length)},
      {"dry_penalty_last_n", setter(&O::dry_penalty_last_n)},
      {"dry_sequence_breakers", setter(&O::dry_sequence_breakers)},
      {"mirostat", setter(&O::mirostat)},
      {"mirostat_lr", setter(&O::mirostat_lr)},
      {"mirostat_ent", setter(&O::mirostat_ent)},
      {"logit_bias", setter(&O::logit_bias)},
      {"ignore_eos", setter(&O::ignore_eos)},
      {"grammar", setter(&O::grammar)},
      {"json_schema", setter(&O::json_schema)},
      {"regex", setter(&O::regex)},
      {"structure", setter(&O::structure)},
  };
  return read<O>(given, setters);
}

}  // namespace moxie::python
