// One forward pass over a batch: what families compose their forward function from. A pass belongs to one engine step.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "core/buffer.h"
#include "model/hyperparameters.h"
#include "model/roles.h"
#include "model/sequence_state.h"
#include "moxie/error.h"

namespace moxie {

class LossyRouting;
class Model;

// Tokens of one sequence at consecutive positions, from its state's tokens() on.
struct BatchSegment {
  SequenceState* state;
  std::span<const int32_t> ids;
  int64_t outputs;  // how many of its last tokens go to the output; the others only leave keys and values behind
};

// Memory of a pass, sized once for the largest batch; nothing allocates between passes of that size. What lives from
// block to block has a row for each token of the batch; what lives inside a block has rows for a chunk of it: blocks
// work chunk by chunk, so that a batch can be a whole prompt (each layer's experts are then wanted once for all of it)
// without memory for the widest rows of all its tokens.
class Workspace {
 public:
  static Result<Workspace> create(const Hyperparameters& hp, int64_t max_tokens, int64_t chunk_tokens);
  // Bytes of such a workspace, with the quantized copies of its rows.
  static uint64_t bytes_for(const Hyperparameters& hp, int64_t max_tokens, int64_t chunk_tokens);

  static constexpr int64_t kGuessTokens = 4;  // batches for which later layers' experts are guessed

  int64_t max_tokens = 0;  // of a batch
  int64_t chunk_tokens = 0;
  float* x = nullptr;               // (tokens, hidden): the residual stream
  float* normed = nullptr;          // (tokens, hidden)
  float* q = nullptr;               // (chunk, heads, head_dim)
  float* k = nullptr;               // (chunk, kv_heads, head_dim)
  float* v = nullptr;               // likewise
  float* mixed = nullptr;           // (chunk, heads, head_dim): attention's output
  float* gate = nullptr;            // (rows, ffn): rows = chunk, or chunk * K for experts
  float* up = nullptr;              // likewise
  float* down = nullptr;            // (chunk, hidden), or (tokens * K, hidden) for experts
  float* scores = nullptr;          // (tokens, E)
  float* chosen_weights = nullptr;  // (tokens, K)
  int32_t* chosen = nullptr;        // (tokens, K): expert ids, heaviest first
  int32_t* slots = nullptr;         // (tokens, K): row of each choice in `down`
  int32_t* grouped = nullptr;       // (tokens * K): token of each row, grouped by expert
  float* guess_normed = nullptr;    // (a few tokens, hidden): state for a look at a later layer's router
  float* guess_weights = nullptr;   // (a few tokens, K)
  int32_t* guess = nullptr;         // (a few tokens, K)
  Activations normed_acts, mixed_acts, gate_acts, guess_acts;
  std::vector<MatmulJob> jobs;
  std::vector<int32_t> group_begin;   // (E + 1): first row of the i-th active expert
  std::vector<int32_t> place;         // (E): scratch while grouping
  std::vector<int32_t> every_expert;  // 0 .. E - 1
  std::vector<int32_t> active;        // ids of the experts that some token chose, in the order they are computed
  std::vector<AttentionJob> attention_jobs;
  RopeTable rope;

  uint64_t bytes() const { return memory_.bytes(); }

 private:
  Buffer memory_;
};

// Told what each layer's router chose (and a lossy mode left of it), on the thread that computes, before the experts
// are fetched.
class RoutingObserver {
 public:
  struct Choice {
    int64_t layer = 0, tokens = 0, used = 0;
    const int32_t* ids = nullptr;       // (tokens, used), heaviest first
    const float* weights = nullptr;     // likewise
    std::span<const int32_t> distinct;  // of one token in router order, of several ascending
    bool decoding = false;              // one token, or one step of several sequences; else tokens of prompts
  };
  virtual ~RoutingObserver() = default;
  virtual void on_choice(const Choice& choice) = 0;
};

class ForwardPass;

// Called between two layers, on the thread that computes, while the pass holds nothing but its own workspace: the
// place to take sequences out that nobody waits for any more, and to compute a short step of others.
class LayerVisitor {
 public:
  virtual ~LayerVisitor() = default;
  virtual void on_layer(ForwardPass& pass, int64_t layer) = 0;
};

class ForwardPass {
 public:
  // The segments are changed by drop_segment().
  ForwardPass(const Model& model, Backend& backend, Workspace& workspace, std::span<BatchSegment> segments,
              const std::atomic<bool>* stop);

  const Model& model;
  const Hyperparameters& hp;
  Backend& backend;
  Workspace& ws;
  std::span<BatchSegment> segments;
  int64_t tokens = 0;   // rows: all of the segments', then those that go to the output (keep_outputs)
  int64_t outputs = 0;  // tokens that go to the output
  Error error;          // why the pass stopped, if it did
  LayerVisitor* visitor = nullptr;
  bool decoding = false;  // every segment is a decode step, for what the experts' store learns from it
  std::span<RoutingObserver* const> observers;
  bool skip_experts = false;      // routers choose, but the chosen experts add nothing
  LossyRouting* lossy = nullptr;  // of a single-token step, where it was asked for

  int64_t layers() const { return hp.layers; }
  // Families go `for (layer = 0; pass.enter(layer); ++layer)`: false after the last layer, or once the pass is stopped.
  bool enter(int64_t layer);
  // Takes a segment out of the batch; the rows of the others stay what they are. Only from LayerVisitor::on_layer. The
  // last one cannot leave: stop the pass.
  void drop_segment(size_t index);
  // Whether keep_outputs() is due in this layer, once its keys and values are stored: nothing that comes after them
  // there is seen by another token.
  bool ends_with_outputs(int64_t layer) const { return layer + 1 == layers() && outputs < tokens; }
  // Leaves of each segment the rows that go to the output, which may be none.
  void keep_outputs();
  // A segment's rows, and how many of its tokens come before them.
  int64_t rows_of(const BatchSegment& segment) const { return std::ssize(segment.ids) - tokens_before(segment); }
  int64_t tokens_before(const BatchSegment& segment) const {
    return only_outputs_ ? std::ssize(segment.ids) - segment.outputs : 0;
  }
  // True once the caller gave up or a block failed: forward returns, results are void.
  bool stopped();
  void fail_with(Error reason);
  const std::atomic<bool>* stop() const { return stop_; }
  // Calls body(first, count) for one chunk of the batch's tokens after the other, until the pass is stopped.
  template <typename Body>
  void each_chunk(const Body& body) {
    for (int64_t first = 0; first < tokens && !stopped(); first += ws.chunk_tokens) {
      body(first, std::min(ws.chunk_tokens, tokens - first));
    }
  }

 private:
  // Moves rows [from, end) of what lives from block to block to `to` and on.
  void move_rows(int64_t from, int64_t end, int64_t to);
  void set_rows(int64_t rows);

  const std::atomic<bool>* stop_;
  bool failed_ = false;
  bool only_outputs_ = false;
};

enum class QkNorm : uint8_t { none, per_head, full_width };

struct AttentionOptions {
  QkNorm qk_norm = QkNorm::none;
};

// Shared blocks (blocks/*.cpp). Each adds its result to ws.x, except embed (sets it) and norm (writes ws.normed). The
// last layer's attention keeps only the rows that go to the output.
void embed(ForwardPass& pass);
void norm(ForwardPass& pass, Role role, int64_t layer);
void attention(ForwardPass& pass, int64_t layer, const AttentionOptions& options);
void feed_forward(ForwardPass& pass, int64_t layer);
void mixture_of_experts(ForwardPass& pass, int64_t layer);
void shared_expert(ForwardPass& pass, int64_t layer);  // after mixture_of_experts, on the same ws.normed
void final_norm(ForwardPass& pass);

}  // namespace moxie
