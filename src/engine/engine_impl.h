// What an engine and its sequences share inside the library.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "chat/chat_template.h"
#include "core/disappearing_file.h"
#include "core/log.h"
#include "engine/lookahead_trial.h"
#include "engine/routing_recorder.h"
#include "engine/use_counter.h"
#include "engine/warm_state.h"
#include "grammar/grammar_cache.h"
#include "model/blocks/lossy_routing.h"
#include "model/forward.h"
#include "model/kv_cache.h"
#include "model/model.h"
#include "moxie/engine.h"
#include "text/tokenizer.h"

namespace moxie {

struct Engine::Impl {
  EngineOptions options;
  Log log;
  ModelInfo model_info;
  std::optional<DisappearingFile> quantized;  // with options.quantize: outlives what reads it
  std::vector<std::string> weight_paths;      // of the model that was asked for
  RuntimeInfo runtime;
  std::unique_ptr<Tokenizer> tokenizer;  // null: the model carries none
  Error tokenizer_error;                 // why not
  std::vector<int32_t> end_ids;
  std::vector<ModelTemplate> chat_templates;  // best first
  // REQUIRES: a tokenizer and a model, when it is asked.
  grammar::GrammarCache grammars{[this] { return make_token_trie(); },
                                 [this](std::string_view text) { return tokenizer->find(text); }};

  // Null with options.vocab_only.
  std::unique_ptr<Model> model;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<KvPool> kv_pool;
  Workspace workspace;
  Activations logits_acts;
  std::vector<float> logits;  // (kLogitRows, vocabulary)
  MemoryUse memory;
  LookaheadTrial lookahead_trial;
  std::unique_ptr<UseCounter> uses;
  std::unique_ptr<RoutingRecorder> recorder;  // with options.trace_routing
  std::unique_ptr<WarmStart> warm;            // where experts stream and something is kept between runs
  WarmStart::Pace warm_pace;                  // tests: another
  std::vector<KnownExpert> pins;              // that have an effect
  std::unique_ptr<LossyRouting> lossy;        // null: exact
  bool lookahead_auto = false;
  bool skip_experts = false;                              // the next steps' routers choose, nothing comes of it
  std::vector<RoutingObserver*> observers;                // of every step; the first place is for the sequence's own
  std::mutex step;                                        // one step at a time
  uint64_t checked_bytes = 0;                             // read from files that had not changed by then
  std::function<void(DiskReaderOptions&)> adjust_reader;  // tests: a drive that fails, blocks of another size

  // Positions whose logits are computed at once.
  static constexpr int64_t kLogitRows = 32;

  explicit Impl(EngineOptions opts);
  ~Impl();
  static Result<std::unique_ptr<Engine>> open(const EngineOptions& options,
                                              std::function<void(DiskReaderOptions&)> adjust_reader,
                                              WarmStart::Pace warm_pace = {});
  Result<void> load();

  // Tokens of any number of sequences through the model, in rows of the workspace.
  struct Step {
    std::span<BatchSegment> segments;  // afterwards those that nobody took out
    Workspace* workspace = nullptr;
    const std::atomic<bool>* stop = nullptr;
    LayerVisitor* visitor = nullptr;
    bool decoding = false;                        // see ForwardPass
    std::vector<int32_t>* last_choice = nullptr;  // of the last token, see Sequence::last_experts
  };
  // How many of `count` tokens go to the output where `wanted` of them are asked for: a lossy mode goes on from what a
  // prompt left in memory, in the last layer too.
  int64_t outputs(int64_t count, int64_t wanted) const { return lossy != nullptr ? count : wanted; }
  // Afterwards workspace->normed has a row for each token that goes to the output (BatchSegment); nothing is committed.
  // REQUIRES: step is held, states have reserved.
  Result<void> run(Step& step);
  // `rows` of at most kLogitRows rows of normed states to `logits`. Errors: those of Model::check_mappings. REQUIRES:
  // step is held.
  Result<void> compute_logits(const float* normed, int64_t rows);
  // REQUIRES: step is held, and no lease lives: between steps, or between two layers of one.
  ExpertStats expert_stats() const;

  // Tokens of one sequence, at most ubatch_size, and what is wanted of them.
  struct Batch {
    SequenceState& state;
    std::span<const int32_t> ids;
    std::vector<float>* last = nullptr;                                          // gets the logits of the last token
    const std::function<void(int64_t, std::span<const float>)>* each = nullptr;  // those of every token, in order
    LayerObserver* observer = nullptr;
    bool whole = false;  // the last layer is computed for every token, for others who watch
    const std::atomic<bool>* stop = nullptr;
    std::vector<int32_t>* last_choice = nullptr;  // see Step; complete with `last` or `each`
  };
  // Computes it and commits it to the sequence's state. REQUIRES: step is held.
  Result<void> compute(const Batch& batch);

 private:
  std::shared_ptr<const grammar::TokenTrie> make_token_trie() const;
  Result<void> check_files();
  void say_if_failed(const Result<void>& result);
  Result<void> quantize(WeightFiles& files);
  Result<void> load_tokenizer(const WeightFiles& files);
  Result<void> choose_context(const Hyperparameters& hp);
  Result<void> load_model(const WeightFiles& files, ModelPlan plan, const CpuTarget& target, KvType kv_type);
  void describe(const WeightFiles& files, const ModelPlan& plan);
  Result<void> start_experts(const PolicyEntry& policy);
  void save_warm_state();
};

// For what is compiled with the library and needs more than the public API (the Python module).
struct EngineInternals {
  static Engine::Impl& of(Engine& engine) { return *engine.impl_; }
};

}  // namespace moxie
