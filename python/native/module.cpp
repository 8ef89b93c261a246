// moxie._native: the engine for Python, without comfort. Everything that computes or waits runs without the
// interpreter's lock and ends on Ctrl-C. The package around it (python/moxie) is what users see.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <limits>
#include <numeric>
#include <optional>

#include "doctor/diagnosis_table.h"
#include "engine/answer.h"
#include "grammar/grammar_cache.h"
#include "native.h"
#include "options.h"
#include "sample/chain.h"
#include "text/detokenizer.h"

namespace moxie::python {
namespace {

using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;
using TokenProbability = std::pair<int32_t, double>;
// Of one token: its log-probability and the likeliest ones, likeliest first.
using TokenChances = std::pair<double, std::vector<TokenProbability>>;

template <typename T>
py::array_t<T> to_array(const std::vector<T>& values, std::vector<py::ssize_t> shape) {
  py::array_t<T> out(std::move(shape));
  std::copy(values.begin(), values.end(), out.mutable_data());
  return out;
}

TokenChances chances_of(std::span<const float> logits, int32_t id, int top) {
  double highest = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const float logit : logits) highest = std::max<double>(highest, logit);
  for (const float logit : logits) sum += std::exp(logit - highest);
  const double base = highest + std::log(sum);
  TokenChances chances{logits[static_cast<size_t>(id)] - base, {}};
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto count = std::min(order.size(), static_cast<size_t>(std::max(0, top)));
  std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(count), order.end(),
                    [&](int32_t a, int32_t b) {
                      const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
                      return x != y ? x > y : a < b;
                    });
  for (size_t i = 0; i < count; ++i) {
    chances.second.emplace_back(order[i], logits[static_cast<size_t>(order[i])] - base);
  }
  return chances;
}

// Keeps what routers and layers say, for all tokens that are computed while it looks on.
class Capture final : public LayerObserver {
 public:
  Capture(bool routing, bool logits, std::vector<int64_t> layers)
      : routing_(routing), logits_(logits), layers_(std::move(layers)) {}

  void on_hidden(int64_t layer, int64_t first_position, std::span<const float> states) override {
    if (std::find(layers_.begin(), layers_.end(), layer) == layers_.end()) return;
    Kept& kept = kept_[layer];
    kept.states.insert(kept.states.end(), states.begin(), states.end());
    (void)first_position;
  }
  void on_routing(const LayerRouting& routing) override {
    if (!routing_) return;
    Kept& kept = kept_[routing.layer];
    kept.experts = routing.experts;
    for (int64_t t = 0; t < routing.tokens; ++t) kept.positions.push_back(routing.first_position + t);
    kept.used = std::max(kept.used, routing.used);
    for (int64_t t = 0; t < routing.tokens; ++t) {
      for (int64_t k = 0; k < kept.used; ++k) {
        kept.ids.push_back(k < routing.used ? routing.ids[t * routing.used + k] : -1);
        kept.weights.push_back(k < routing.used ? routing.weights[t * routing.used + k] : 0);
      }
    }
    if (logits_)
      kept.logits.insert(kept.logits.end(), routing.logits, routing.logits + routing.tokens * routing.experts);
  }

  // {layer: {"positions", "experts", "weights", "logits", "hidden"}} of what came since the last call.
  py::dict take(int64_t hidden) {
    py::dict out;
    for (const auto& [layer, kept] : kept_) {
      py::dict one;
      if (!kept.ids.empty()) {
        const auto tokens = static_cast<py::ssize_t>(kept.positions.size());
        const auto used = static_cast<py::ssize_t>(kept.ids.size()) / tokens;
        one["positions"] = to_array(kept.positions, {tokens});
        one["experts"] = to_array(kept.ids, {tokens, used});
        one["weights"] = to_array(kept.weights, {tokens, used});
        if (logits_) one["logits"] = to_array(kept.logits, {tokens, static_cast<py::ssize_t>(kept.experts)});
      }
      if (!kept.states.empty()) {
        one["hidden"] = to_array(kept.states, {static_cast<py::ssize_t>(kept.states.size()) / hidden, hidden});
      }
      out[py::int_(layer)] = one;
    }
    kept_.clear();
    return out;
  }

 private:
  struct Kept {
    int64_t experts = 0, used = 0;
    std::vector<int64_t> positions;
    std::vector<int32_t> ids;
    std::vector<float> weights, logits, states;
  };
  bool routing_, logits_;
  std::vector<int64_t> layers_;
  std::map<int64_t, Kept> kept_;
};

class PySampler {
 public:
  PySampler(const PyEngine& engine, const py::dict& options)
      : shared_(engine.share()), chain_(create(*shared_, sampling_options(options))) {}

  // None: the grammar's text is complete and nothing may follow.
  std::optional<int32_t> draw(std::span<const float> logits) {
    if (logits.size() != static_cast<size_t>(shared_->engine->model().vocabulary)) {
      throw py::value_error("there are " + std::to_string(logits.size()) + " logits; the vocabulary has " +
                            std::to_string(shared_->engine->model().vocabulary) + " tokens");
    }
    const int32_t id = chain_.sample(logits);
    if (id != SamplerChain::kNoToken) return id;
    taken(chain_.why_none());
    return std::nullopt;
  }
  void accept(int32_t id) { chain_.accept(id); }
  void remember(const std::vector<int32_t>& ids) {
    for (const int32_t id : ids) chain_.remember(id);
  }
  uint64_t seed() const { return chain_.seed(); }

 private:
  static SamplerChain create(SharedEngine& shared, const SamplingOptions& options) {
    if (!shared.impl().model) {
      throw Failure{
          {ErrorCode::invalid_argument, "the model was opened for its vocabulary only; nothing can be drawn"}};
    }
    py::gil_scoped_release release;
    return taken(make_chain(shared.impl(), options));
  }
  std::shared_ptr<SharedEngine> shared_;
  SamplerChain chain_;
};

class PySequence {
 public:
  explicit PySequence(const PyEngine& engine)
      : shared_(engine.share()), sequence_(taken(shared_->engine->new_sequence())) {}

  void append(const std::vector<int32_t>& ids) {
    run([&] { return get().append(ids); }, ids.size());
  }

  // (tokens, vocabulary): the logits after each of the ids.
  py::array append_all(const std::vector<int32_t>& ids) {
    const int64_t vocabulary = shared_->engine->model().vocabulary;
    py::array_t<float> out({static_cast<py::ssize_t>(ids.size()), static_cast<py::ssize_t>(vocabulary)});
    float* to = out.mutable_data();
    const std::function<void(int64_t, std::span<const float>)> each = [&](int64_t, std::span<const float> logits) {
      to = std::copy(logits.begin(), logits.end(), to);
    };
    run([&] { return get().append(ids, each); }, ids.size());
    return out;
  }
  // What the model thought of each id but the first, given those before it.
  std::vector<TokenChances> append_scored(const std::vector<int32_t>& ids, int top) {
    std::vector<TokenChances> scored;
    size_t at = 0;
    const std::function<void(int64_t, std::span<const float>)> each = [&](int64_t, std::span<const float> logits) {
      if (++at < ids.size()) scored.push_back(chances_of(logits, ids[at], top));
    };
    run([&] { return get().append(ids, each); }, ids.size());
    return scored;
  }
  std::span<const float> current() {
    const std::span<const float> logits = get().logits();
    if (logits.empty()) throw py::value_error("there are no logits yet: give the sequence tokens first");
    return logits;
  }
  py::array logits() {
    const std::span<const float> from = current();
    py::array_t<float> out(static_cast<py::ssize_t>(from.size()));
    std::copy(from.begin(), from.end(), out.mutable_data());
    return out;
  }
  TokenChances chances(int32_t id, int top) {
    const std::span<const float> logits = current();
    if (id < 0 || static_cast<size_t>(id) >= logits.size()) throw py::index_error("token " + std::to_string(id));
    return chances_of(logits, id, top);
  }
  std::optional<int32_t> draw(PySampler& sampler) {
    const std::span<const float> logits = current();
    py::gil_scoped_release release;
    return sampler.draw(logits);
  }
  std::vector<int32_t> ids() { return {get().ids().begin(), get().ids().end()}; }
  size_t size() { return get().ids().size(); }
  void truncate(int64_t tokens) {
    if (tokens < 0 || static_cast<size_t>(tokens) > size()) {
      throw py::value_error("cannot keep " + std::to_string(tokens) + " of " + std::to_string(size()) + " tokens");
    }
    py::gil_scoped_release release;
    taken(get().truncate(tokens));
  }
  void cancel() { get().cancel(); }
  py::bytes save() {
    Result<std::vector<std::byte>> saved = [&] {
      py::gil_scoped_release release;
      return get().save();
    }();
    const std::vector<std::byte> bytes = taken(std::move(saved));
    return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void restore(std::string_view saved) {
    py::gil_scoped_release release;
    taken(get().restore(std::as_bytes(std::span(saved))));
  }
  void watch(bool routing, bool logits, std::vector<int64_t> layers) {
    get().observe(nullptr);
    capture_ = std::make_unique<Capture>(routing, logits, std::move(layers));
    get().observe(capture_.get());
  }
  py::dict take_watched() { return capture_ ? capture_->take(shared_->engine->model().hidden) : py::dict(); }
  void unwatch() {
    get().observe(nullptr);
    capture_.reset();
  }
  void close() {
    py::gil_scoped_release release;
    sequence_.reset();
    shared_.reset();
  }

 private:
  Sequence& get() {
    if (!sequence_) throw Failure{{ErrorCode::invalid_argument, "the model is closed; open it again"}};
    return *sequence_;
  }
  // A single token comes soon, and Python looks for Ctrl-C between two of them; but where experts are read from a slow
  // drive it may take seconds.
  template <typename Work>
  void run(const Work& work, size_t tokens) {
    get();
    if (tokens == 1 && shared_->impl().model->streamed() == nullptr) {
      std::optional<Result<void>> result;
      {
        py::gil_scoped_release release;
        result = work();
      }
      return taken(std::move(*result));
    }
    taken(run_interruptible(work, [&] { sequence_->cancel(); }));
  }

  std::shared_ptr<SharedEngine> shared_;
  std::unique_ptr<Capture> capture_;
  std::unique_ptr<Sequence> sequence_;
};

// Token ids to whole characters, as they come.
class PyDetokenizer {
 public:
  PyDetokenizer(const PyEngine& engine, bool special, bool at_start)
      : shared_(engine.share()),
        detokenizer_(engine.tokenizer(), {.with_special = special, .at_start_of_text = at_start}) {}
  std::string push(int32_t id) { return detokenizer_.push(id); }
  std::string finish() { return detokenizer_.finish(); }

 private:
  std::shared_ptr<SharedEngine> shared_;
  Detokenizer detokenizer_;
};

py::dict model_facts(const PyEngine& engine) {
  const ModelInfo& m = engine.open().engine->model();
  const RuntimeInfo& r = engine.open().engine->runtime();
  const MemoryUse& use = engine.open().engine->memory();
  py::dict memory;
  memory["budget"] = use.budget;
  memory["dense"] = use.dense;
  memory["kv"] = use.kv;
  memory["activations"] = use.activations;
  memory["process"] = use.process;
  memory["reserve"] = use.reserve;
  memory["experts"] = use.experts;
  py::dict out;
  out["path"] = m.path;
  out["format"] = m.format;
  out["family"] = m.family;
  out["name"] = m.name;
  out["layers"] = m.layers;
  out["hidden"] = m.hidden;
  out["vocabulary"] = m.vocabulary;
  out["experts"] = m.experts;
  out["experts_used"] = m.experts_used;
  out["trained_context"] = m.trained_context;
  out["parameters"] = m.parameters;
  out["weight_bytes"] = m.weight_bytes;
  out["active_bytes_per_token"] = m.active_bytes_per_token;
  out["chat_template"] = m.chat_template;
  out["cpu_target"] = r.cpu_target;
  out["fast"] = r.fast;
  out["threads"] = r.threads;
  out["threads_why"] = r.threads_why;
  out["context_tokens"] = r.context_tokens;
  out["kv_bytes_per_token"] = r.kv_bytes_per_token;
  out["memory"] = memory;
  return out;
}

py::dict expert_stats(const PyEngine& engine) {
  ExpertStats stats;
  {
    SharedEngine& shared = engine.open();
    py::gil_scoped_release release;
    stats = shared.engine->expert_stats();
  }
  py::dict out;
  out["mode"] = stats.mode;
  out["streaming"] = stats.streaming;
  out["slots_per_layer"] = stats.slots_per_layer;
  out["hits"] = stats.hits;
  out["misses"] = stats.misses;
  out["bytes_read"] = stats.bytes_read;
  out["stall_seconds"] = stats.stall_seconds;
  out["disk_busy_seconds"] = stats.disk_busy_seconds;
  out["lookahead_useful"] = stats.lookahead_useful;
  out["lookahead_late"] = stats.lookahead_late;
  out["lookahead_wasted"] = stats.lookahead_wasted;
  out["layer_hits"] = stats.layer_hits;
  out["layer_misses"] = stats.layer_misses;
  out["lossy_accesses"] = stats.lossy_accesses;
  out["lossy_changed"] = stats.lossy_changed;
  out["lossy_weight_share"] = stats.lossy_weight_share;
  out["reads"] = stats.reads;
  return out;
}

py::dict expert_heat(const PyEngine& engine) {
  const ExpertHeat heat = engine.open().engine->expert_heat();
  const std::vector<py::ssize_t> shape = {static_cast<py::ssize_t>(heat.layers),
                                          static_cast<py::ssize_t>(heat.experts)};
  std::vector<uint8_t> states;
  for (const ExpertState state : heat.states) states.push_back(static_cast<uint8_t>(state));
  py::dict out;
  out["states"] = to_array(states, shape);
  out["uses"] = to_array(heat.uses, shape);
  out["pinned"] = to_array(heat.pinned, shape);
  out["tokens"] = heat.tokens;
  return out;
}

void check_grammar(const std::string& kind, const std::string& text) {
  using grammar::GrammarKind;
  const GrammarKind which = kind == "gbnf"          ? GrammarKind::gbnf
                            : kind == "json_schema" ? GrammarKind::json_schema
                                                    : GrammarKind::regex;
  // Names of tokens mean something beside a model only; any will do here.
  py::gil_scoped_release release;
  taken(grammar::compile_grammar(which, text, [](std::string_view) { return 0; }));
}

// What doctor knows of an error about a model, by the names of MoxieError's attributes; empty: nothing.
py::dict diagnosis_of(const Failure& failure) {
  py::dict out;
  if (!failure.error.diagnosis) return out;
  const Diagnosis& diagnosis = *failure.error.diagnosis;
  out["diagnosis"] = diagnosis.code;
  out["found"] = diagnosis.found;
  out["expected"] = diagnosis.expected;
  out["near_miss"] = diagnosis.near_miss;
  if (const DiagnosisRow* row = find_diagnosis(diagnosis.code)) {
    out["why"] = std::string(row->why);
    out["remedy"] = fill_remedy(row->remedy, failure.model, diagnosis.near_miss);
  }
  return out;
}

}  // namespace

PyEngine::PyEngine(const py::dict& given) : shared_(std::make_shared<SharedEngine>()) {
  EngineOptions options = engine_options(given);
  std::atomic<bool> cancelled{false};
  options.on_progress = [&](uint64_t, uint64_t) { return !cancelled.load(std::memory_order_relaxed); };
  options.on_log = [shared = shared_.get()](Severity severity, std::string_view text) {
    const std::lock_guard lock(shared->mutex);
    shared->said.push_back({severity, std::string(text)});
  };
  auto opened = run_interruptible([&] { return Engine::open(options); }, [&] { cancelled = true; });
  if (!opened.ok()) throw Failure{std::move(opened).error(), options.model};
  shared_->engine = std::move(opened).value();
}

PYBIND11_MODULE(_native, module) {
  module.doc() = "The native half of the package moxie; use the package.";
  module.attr("version") = MOXIE_VERSION;
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const Failure& failure) {
      const py::object made =
          py::module_::import("moxie.errors")
              .attr("make")(std::string(name(failure.error.code)), failure.error.message, diagnosis_of(failure));
      PyErr_SetObject(py::type::handle_of(made).ptr(), made.ptr());
    }
  });

  py::class_<PyEngine>(module, "Engine")
      .def(py::init<const py::dict&>())
      .def("close", &PyEngine::close)
      .def_property_readonly("closed", &PyEngine::closed)
      .def("facts", &model_facts)
      .def("expert_stats", &expert_stats)
      .def("expert_heat", &expert_heat)
      .def("notices", [](const PyEngine& e) { return e.open().engine->notices(); })
      .def("said",
           [](const PyEngine& e) {
             SharedEngine& shared = e.open();
             const std::lock_guard lock(shared.mutex);
             std::vector<std::pair<int, std::string>> out;
             for (const auto& said : shared.said) out.emplace_back(static_cast<int>(said.severity), said.text);
             shared.said.clear();
             return out;
           })
      .def("has_tokenizer", [](const PyEngine& e) { return e.open().engine->has_tokenizer(); })
      .def("tokenize",
           [](const PyEngine& e, std::string_view text, bool add_special, bool parse_special) {
             const Tokenizer& tokenizer = e.tokenizer();
             py::gil_scoped_release release;
             return tokenizer.encode(text, {.add_special = add_special, .parse_special = parse_special});
           })
      .def("token_bytes",
           [](const PyEngine& e, int32_t id, bool special) {
             const Tokenizer& tokenizer = e.tokenizer();
             if (id < 0 || id >= tokenizer.vocabulary_size()) {
               throw py::index_error("token " + std::to_string(id) + " is none; the vocabulary has ids 0 to " +
                                     std::to_string(tokenizer.vocabulary_size() - 1));
             }
             return py::bytes(tokenizer.bytes(id, special));
           })
      .def("token_text", [](const PyEngine& e, int32_t id) { return py::bytes(e.open().engine->token_text(id)); })
      .def("find_token", [](const PyEngine& e, std::string_view text) { return e.tokenizer().find(text); })
      .def("strips_leading_space", [](const PyEngine& e) { return e.tokenizer().strips_leading_space(); })
      .def("vocabulary_size", [](const PyEngine& e) { return e.tokenizer().vocabulary_size(); })
      .def("end_ids",
           [](const PyEngine& e) {
             const auto ids = e.open().engine->end_ids();
             return std::vector<int32_t>(ids.begin(), ids.end());
           })
      .def("bos", [](const PyEngine& e) { return e.open().engine->bos(); })
      .def("eos", [](const PyEngine& e) { return e.tokenizer().eos(); })
      .def("adds_bos", [](const PyEngine& e) { return e.open().engine->adds_bos(); })
      .def("adds_eos", [](const PyEngine& e) { return e.tokenizer().adds_eos(); });

  py::class_<PySampler>(module, "Sampler")
      .def(py::init<const PyEngine&, const py::dict&>())
      .def("draw",
           [](PySampler& sampler, const Floats& logits) {
             return sampler.draw({logits.data(), static_cast<size_t>(logits.size())});
           })
      .def("accept", &PySampler::accept)
      .def("remember", &PySampler::remember)
      .def_property_readonly("seed", &PySampler::seed);

  py::class_<PySequence>(module, "Sequence")
      .def(py::init<const PyEngine&>())
      .def("append", &PySequence::append)
      .def("append_all", &PySequence::append_all)
      .def("append_scored", &PySequence::append_scored)
      .def("logits", &PySequence::logits)
      .def("chances", &PySequence::chances)
      .def("draw", &PySequence::draw)
      .def("ids", &PySequence::ids)
      .def("__len__", &PySequence::size)
      .def("truncate", &PySequence::truncate)
      .def("cancel", &PySequence::cancel)
      .def("save", &PySequence::save)
      .def("restore", &PySequence::restore)
      .def("watch", &PySequence::watch)
      .def("take_watched", &PySequence::take_watched)
      .def("unwatch", &PySequence::unwatch)
      .def("close", &PySequence::close);

  py::class_<PyDetokenizer>(module, "Detokenizer")
      .def(py::init<const PyEngine&, bool, bool>())
      .def("push", [](PyDetokenizer& d, int32_t id) { return py::str(d.push(id)); })
      .def("finish", [](PyDetokenizer& d) { return py::str(d.finish()); });

  module.def("check_grammar", &check_grammar);
  bind_chat(module);
  bind_weights(module);
}

}  // namespace moxie::python
