// Grouped-query attention over cached keys and values (Ainslie et al., arXiv 2305.13245), with rotary positions.
#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "model/forward.h"
#include "model/kv_cache.h"
#include "model/model.h"

namespace moxie {
namespace {

// Part of the batch: `count` tokens from row `first` on; and what to compute of them.
struct Chunk {
  int64_t first, count;
  bool queries, keys_values;
};

void project_qkv(ForwardPass& pass, int64_t layer, const Chunk& chunk) {
  Workspace& ws = pass.ws;
  ws.jobs.clear();
  const auto add = [&](Role role, float* out) {
    const Matrix& weights = pass.model.matrix(role, layer);
    ws.jobs.push_back({.weights = &weights,
                       .x = &ws.normed_acts,
                       .rows = chunk.count,
                       .first_row = chunk.first,
                       .out = out,
                       .out_stride = weights.rows});
  };
  if (chunk.queries) add(Role::attn_q, ws.q);
  if (chunk.keys_values) {
    add(Role::attn_k, ws.k);
    add(Role::attn_v, ws.v);
  }
  pass.backend.matmul(ws.jobs);
}

void clamp(float* x, int64_t n, float limit) {
  for (int64_t i = 0; i < n; ++i) x[i] = std::clamp(x[i], -limit, limit);
}

// The norm of queries or keys: (tokens, heads, head_dim).
void norm_heads(ForwardPass& pass, Role role, int64_t layer, QkNorm kind, int64_t tokens, int64_t heads, float* x) {
  const Hyperparameters& hp = pass.hp;
  const bool per_head = kind == QkNorm::per_head;
  pass.backend.rms_norm(x, pass.model.vector(role, layer), hp.norm_eps, per_head ? tokens * heads : tokens,
                        per_head ? hp.head_dim : heads * hp.head_dim, x);
}

void store_and_attend(ForwardPass& pass, int64_t layer, const Chunk& chunk) {
  const Hyperparameters& hp = pass.hp;
  Workspace& ws = pass.ws;
  const int64_t q_width = hp.heads * hp.head_dim, kv_width = hp.kv_heads * hp.head_dim;
  ws.attention_jobs.clear();
  int64_t segment_row = 0;  // of the batch
  for (const BatchSegment& segment : pass.segments) {
    const int64_t segment_rows = pass.rows_of(segment);
    // What of the segment lies in the chunk.
    const int64_t begin = std::max(segment_row, chunk.first),
                  end = std::min(segment_row + segment_rows, chunk.first + chunk.count);
    const int64_t row = begin - chunk.first, count = end - begin;
    const int64_t first_in_segment = pass.tokens_before(segment) + begin - segment_row;
    segment_row += segment_rows;
    if (count <= 0) continue;
    KvCache* cache = segment.state->kv();
    MOXIE_CHECK(cache != nullptr);
    const KvLayout& layout = cache->layout();
    ws.attention_jobs.push_back({.q = ws.q + row * q_width,
                                 .out = ws.mixed + row * q_width,
                                 .tokens = count,
                                 .first_position = cache->tokens() + first_in_segment,
                                 .window = hp.window[static_cast<size_t>(layer)],
                                 .heads = static_cast<int>(hp.heads),
                                 .kv_heads = static_cast<int>(hp.kv_heads),
                                 .head_dim = static_cast<int>(hp.head_dim),
                                 .value_dim = static_cast<int>(hp.head_dim),
                                 .blocks = cache->blocks(),
                                 .offset = layout.offset(layer),
                                 .key_bytes = layout.key_bytes(),
                                 .head_bytes = layout.head_bytes(),
                                 .kv_type = layout.type,
                                 .scale = 1.0f / std::sqrt(static_cast<float>(hp.head_dim)),
                                 .sinks = pass.model.vector(Role::attn_sinks, layer)});
    if (!chunk.keys_values) continue;
    pass.backend.store_kv(ws.attention_jobs.back(), ws.k + row * kv_width, ws.v + row * kv_width);
  }
  if (chunk.queries) pass.backend.attention(ws.attention_jobs);
}

void attend(ForwardPass& pass, int64_t layer, const AttentionOptions& options, const Chunk& chunk) {
  const Hyperparameters& hp = pass.hp;
  Workspace& ws = pass.ws;
  const int64_t tokens = chunk.count;
  project_qkv(pass, layer, chunk);
  const auto prepare = [&](float* x, int64_t heads, Role norm) {
    if (options.qk_norm != QkNorm::none) norm_heads(pass, norm, layer, options.qk_norm, tokens, heads, x);
    if (hp.clamp_qkv > 0) clamp(x, tokens * heads * hp.head_dim, static_cast<float>(hp.clamp_qkv));
    pass.backend.rope(x, tokens, static_cast<int>(heads), static_cast<int>(hp.head_dim), ws.rope, chunk.first);
  };
  if (chunk.queries) prepare(ws.q, hp.heads, Role::attn_q_norm);
  if (chunk.keys_values) {
    prepare(ws.k, hp.kv_heads, Role::attn_k_norm);
    if (hp.clamp_qkv > 0) clamp(ws.v, tokens * hp.kv_heads * hp.head_dim, static_cast<float>(hp.clamp_qkv));
  }
  store_and_attend(pass, layer, chunk);
  if (!chunk.queries) return;

  const Matrix& output = pass.model.matrix(Role::attn_output, layer);
  ws.mixed_acts.set(ws.mixed, tokens, hp.heads * hp.head_dim);
  ws.jobs.assign(1, {.weights = &output, .x = &ws.mixed_acts, .rows = tokens, .out = ws.down, .out_stride = hp.hidden});
  pass.backend.matmul(ws.jobs);
  pass.backend.add(ws.x + chunk.first * hp.hidden, ws.down, tokens * hp.hidden);
}

}  // namespace

void attention(ForwardPass& pass, int64_t layer, const AttentionOptions& options) {
  const auto each_chunk = [&](bool queries, bool keys_values) {
    pass.each_chunk([&](int64_t first, int64_t count) {
      attend(pass, layer, options, {first, count, queries, keys_values});
    });
  };
  if (!pass.ends_with_outputs(layer)) return each_chunk(true, true);
  each_chunk(false, true);
  pass.keep_outputs();
  each_chunk(true, false);
}

}  // namespace moxie
