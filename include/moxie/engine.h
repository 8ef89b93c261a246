// The public API: open a model, start sequences, generate. Engine is thread-safe but computes one step at a time; a
// Sequence belongs to one thread at a time, except cancel().
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moxie/error.h"
#include "moxie/options.h"

namespace moxie {

struct ModelInfo {
  std::string path, format, family, name;
  int64_t layers = 0, hidden = 0, vocabulary = 0, experts = 0, experts_used = 0;
  int64_t trained_context = 0;
  uint64_t parameters = 0;
  uint64_t weight_bytes = 0;            // all tensors
  uint64_t active_bytes_per_token = 0;  // weights one decoded token reads
  // Multiply-adds of one token: with weights, by the arithmetic they are computed in; and for each position it sees.
  uint64_t integer_products = 0, float_products = 0, bf16_products = 0, attention_products = 0;
  // Of those what only tokens take whose logits are wanted, as the last one of a prompt: the last layer, but for its
  // keys and values, and the output matrix.
  uint64_t output_integer_products = 0, output_float_products = 0, output_bf16_products = 0,
           output_attention_products = 0;
  std::string chat_template;  // Jinja source; empty: none
};

struct RuntimeInfo {
  std::string cpu_target;
  bool fast = false;  // EngineOptions::fast was asked for and makes a difference
  int threads = 0;
  std::string threads_why;  // one line
  int64_t context_tokens = 0;
  uint64_t kv_bytes_per_token = 0;
};

// Where memory goes, in bytes; together at most `budget`.
struct MemoryUse {
  uint64_t budget = 0;  // 0: none was set and everything fits
  uint64_t dense = 0, kv = 0, activations = 0, process = 0, reserve = 0, experts = 0;
  uint64_t total() const { return dense + kv + activations + process + reserve + experts; }
};

// What one lossy mode did.
struct LossyUse {
  std::string mode;         // "skip-missing"
  uint64_t changed = 0;     // choices dropped or exchanged
  double weight_share = 0;  // of the choices' weight, what was on those
};

// How experts fared since the engine was opened. Counts of reads are zero while every expert is mapped.
struct ExpertStats {
  std::string mode = "exact";         // or the lossy modes by name: "cache-prior=0.5,skip-missing"
  uint64_t lossy_accesses = 0;        // choices of routers that a lossy mode could have changed
  uint64_t lossy_changed = 0;         // those whose expert was not computed
  double lossy_weight_share = 0;      // of all those choices' weight, what was on the changed ones
  std::vector<LossyUse> lossy_modes;  // each by itself
  bool streaming = false;             // experts come and go
  double slots_per_layer = 0;         // experts kept, mean over layers
  uint64_t hits = 0, misses = 0;      // accesses: one for each layer, step and distinct expert
  uint64_t bytes_read = 0;            // from files, for experts and dense weights
  double stall_seconds = 0;           // computing waited for the disk
  double disk_busy_seconds = 0;       // at least one read was in flight
  uint64_t lookahead_useful = 0, lookahead_late = 0, lookahead_wasted = 0;
  std::vector<uint64_t> layer_hits, layer_misses;  // by layer
  std::string reads;                               // how files are read, one line
};

enum class ExpertState : uint8_t { absent, reading, resident };

// A snapshot of every expert, (layers, experts), layer after layer.
struct ExpertHeat {
  int64_t layers = 0, experts = 0;
  std::vector<ExpertState> states;                // absent where a layer has no mixture
  std::vector<uint64_t> uses;                     // tokens it was computed for
  std::vector<uint8_t> last;                      // 1: the last token used it
  std::vector<uint8_t> pinned;                    // 1: it never gives way
  std::vector<uint8_t> mixtures;                  // by layer; 0: it has no experts
  uint64_t tokens = 0;                            // that the first mixture was computed for
  uint64_t hits = 0, misses = 0, bytes_read = 0;  // as in ExpertStats
  double stall_seconds = 0, disk_busy_seconds = 0;
  uint64_t lookahead_useful = 0, lookahead_late = 0, lookahead_wasted = 0;
};

class Sequence;

class Engine {
 public:
  static Result<std::unique_ptr<Engine>> open(const EngineOptions& options);
  ~Engine();

  const ModelInfo& model() const;
  const RuntimeInfo& runtime() const;
  const MemoryUse& memory() const;
  ExpertStats expert_stats() const;          // waits for a running step
  ExpertHeat expert_heat() const;            // at any time, also while a step runs
  std::vector<std::string> notices() const;  // every fallback, clamp and ignored setting so far

  bool has_tokenizer() const;
  // Errors: unsupported when the model carries no tokenizer.
  Result<std::vector<int32_t>> tokenize(std::string_view text, bool add_special, bool parse_special) const;
  std::string detokenize(std::span<const int32_t> ids, bool special = false) const;
  std::string token_text(int32_t id) const;  // as the vocabulary writes it
  std::span<const int32_t> end_ids() const;
  int32_t bos() const;  // -1: none
  bool adds_bos() const;

  Result<std::unique_ptr<Sequence>> new_sequence();

  struct Impl;

 private:
  friend class ChatPrompts;       // inside the library
  friend class Conversation;      // likewise
  friend struct EngineInternals;  // likewise
  friend class Profiler;          // likewise
  friend class Scheduler;         // likewise
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

enum class StopReason { none, end_token, stop_text, length, context_full, cancelled, caller };

// A piece of the answer: whole characters. ids that ended it (end tokens) give no text.
struct TokenEvent {
  int32_t id;
  std::string_view text;
};

struct GenerateResult {
  StopReason reason = StopReason::none;
  std::vector<int32_t> ids;  // generated, without the end token
  std::string text;
  uint64_t seed = 0;          // the seed in use
  int64_t prompt_tokens = 0;  // computed by this call
  double prompt_seconds = 0, first_token_seconds = 0, generate_seconds = 0;
  int64_t context_shifts = 0;
};

// What one layer's router did with tokens at consecutive positions.
struct LayerRouting {
  int64_t layer = 0, first_position = 0, tokens = 0;
  int64_t experts = 0, used = 0;
  const float* logits = nullptr;   // (tokens, experts), before the softmax
  const int32_t* ids = nullptr;    // (tokens, used), heaviest first
  const float* weights = nullptr;  // likewise: what the experts' outputs were multiplied by
};

// Told what happens inside the model while a sequence is computed, on the thread that computes. Spans are valid during
// the call. It must not call the engine.
class LayerObserver {
 public:
  virtual ~LayerObserver() = default;
  // (tokens, hidden): what enters layer `layer`; 0: the embeddings, the number of layers: the final norm's output.
  virtual void on_hidden(int64_t /*layer*/, int64_t /*first_position*/, std::span<const float> /*states*/) {}
  virtual void on_routing(const LayerRouting& /*routing*/) {}
};

class Sequence {
 public:
  ~Sequence();

  // Adds ids and computes them; afterwards logits() are those after the last one. Errors: context full (names both
  // numbers), an id outside the vocabulary, cancelled.
  Result<void> append(std::span<const int32_t> ids);
  // As append, and hands out the logits of every added position in order.
  Result<void> append(std::span<const int32_t> ids,
                      const std::function<void(int64_t position, std::span<const float>)>& each);
  std::span<const float> logits() const;  // (vocabulary); empty before the first append, or after one failed half-way

  // append(prompt), then samples until an end. on_token may return false to stop. REQUIRES: prompt or earlier tokens
  // exist.
  Result<GenerateResult> generate(std::span<const int32_t> prompt, const GenerateOptions& options,
                                  const std::function<bool(const TokenEvent&)>& on_token = {});

  std::span<const int32_t> ids() const;   // everything in the context
  Result<void> truncate(int64_t tokens);  // forget all but the first `tokens`
  void cancel();  // from any thread: the running call, or the next append, ends as cancelled; later ones work
  // For the model's router at each layer: ids chosen for the last token (layers x experts_used); -1 for one that a
  // lossy mode left out. Empty after an append() that failed half-way.
  std::span<const int32_t> last_experts() const;
  // Null: nobody looks on. It must outlive the calls that compute.
  void observe(LayerObserver* observer);

  // The context as bytes, for a sequence of this or another run over the same model and type of KV cache. restore()
  // replaces the context; where it fails, the context is empty. Errors: corrupt, invalid_argument (another model's,
  // another cache type, longer than the context).
  Result<std::vector<std::byte>> save() const;
  Result<void> restore(std::span<const std::byte> saved);

  struct Impl;
  explicit Sequence(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace moxie
