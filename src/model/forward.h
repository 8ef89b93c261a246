// One forward pass over a batch: what families compose their forward function from. A pass belongs to one engine step.
#pragma once

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

class Model;

// Tokens of one sequence at consecutive positions, from its state's tokens() on.
struct BatchSegment {
  SequenceState* state;
  std::span<const int32_t> ids;
};

// Memory of a pass, sized once for the largest batch; nothing allocates between passes of that size.
class Workspace {
 public:
  static Result<Workspace> create(const Hyperparameters& hp, int64_t max_tokens);

  int64_t max_tokens = 0;
  float* x = nullptr;        // (tokens, hidden): the residual stream
  float* normed = nullptr;   // (tokens, hidden)
  float* q = nullptr;        // (tokens, heads, head_dim)
  float* k = nullptr;        // (tokens, kv_heads, head_dim)
  float* v = nullptr;        // likewise
  float* mixed = nullptr;    // (tokens, heads, head_dim): attention's output
  float* gate = nullptr;     // (rows, ffn): rows = tokens, or tokens * K for experts
  float* up = nullptr;       // likewise
  float* down = nullptr;     // (rows, hidden)
  float* scores = nullptr;   // (tokens, E)
  float* chosen_weights = nullptr;   // (tokens, K)
  int32_t* chosen = nullptr;         // (tokens, K): expert ids, heaviest first
  int32_t* slots = nullptr;          // (tokens, K): row of each choice in `down`
  int32_t* grouped = nullptr;        // (tokens * K): token of each row, grouped by expert
  Activations normed_acts, mixed_acts, gate_acts;
  std::vector<MatmulJob> jobs;
  std::vector<int32_t> group_begin;  // (E + 1)
  std::vector<int32_t> active;       // ids of the experts that some token chose
  std::vector<AttentionJob> attention_jobs;
  RopeTable rope;

  uint64_t bytes() const { return memory_.bytes(); }

 private:
  Buffer memory_;
};

class ForwardPass {
 public:
  ForwardPass(const Model& model, Backend& backend, Workspace& workspace, std::span<const BatchSegment> segments,
              const std::atomic<bool>* stop);

  const Model& model;
  const Hyperparameters& hp;
  Backend& backend;
  Workspace& ws;
  std::span<const BatchSegment> segments;
  int64_t tokens = 0;
  Error error;                 // why the pass stopped, if it did
  std::vector<int32_t>* trace = nullptr;  // where given: chosen ids of the last token, layer after layer

  int64_t layers() const { return hp.layers; }
  // True once the caller gave up or a block failed: forward returns, results are void.
  bool stopped();
  void fail_with(Error reason);

 private:
  const std::atomic<bool>* stop_;
  bool failed_ = false;
};

enum class QkNorm : uint8_t { none, per_head, full_width };

struct AttentionOptions {
  QkNorm qk_norm = QkNorm::none;
};

// Shared blocks (blocks/*.cpp). Each adds its result to ws.x, except embed (sets it) and norm (writes ws.normed).
void embed(ForwardPass& pass);
void norm(ForwardPass& pass, Role role, int64_t layer);
void attention(ForwardPass& pass, int64_t layer, const AttentionOptions& options);
void feed_forward(ForwardPass& pass, int64_t layer);
void mixture_of_experts(ForwardPass& pass, int64_t layer);
void shared_expert(ForwardPass& pass, int64_t layer);  // after mixture_of_experts, on the same ws.normed
void final_norm(ForwardPass& pass);

}  // namespace moxie
