// Grouped-query attention over cached keys and values (Ainslie et al., arXiv 2305.13245), with rotary positions.
#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "model/forward.h"
#include "model/kv_cache.h"
#include "model/model.h"

namespace moxie {
namespace {

// Part of the batch: `count` tokens from row `first` on.
struct Chunk {
  int64_t first, count;
};

void project_qkv(ForwardPass& pass, int64_t layer, Chunk chunk) {
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
  add(Role::attn_q, ws.q);
  add(Role::attn_k, ws.k);
  add(Role::attn_v, ws.v);
  pass.backend.matmul(ws.jobs);
}

void clamp(float* x, int64_t n, float limit) {
  for (int64_t i = 0; i < n; ++i) x[i] = std::clamp(x[i], -limit, limit);
}

void norm_qk(ForwardPass& pass, int64_t layer, QkNorm kind, int64_t tokens) {
  const Hyperparameters& hp = pass.hp;
  const bool per_head = kind == QkNorm::per_head;
  const int64_t q_rows = per_head ? tokens * hp.heads : tokens;
  const int64_t k_rows = per_head ? tokens * hp.kv_heads : tokens;
  const int64_t q_width = per_head ? hp.head_dim : hp.heads * hp.head_dim;
  const int64_t k_width = per_head ? hp.head_dim : hp.kv_heads * hp.head_dim;
  pass.backend.rms_norm(pass.ws.q, pass.model.vector(Role::attn_q_norm, layer), hp.norm_eps, q_rows, q_width,
                        pass.ws.q);
  pass.backend.rms_norm(pass.ws.k, pass.model.vector(Role::attn_k_norm, layer), hp.norm_eps, k_rows, k_width,
                        pass.ws.k);
}

void store_and_attend(ForwardPass& pass, int64_t layer, Chunk chunk) {
  const Hyperparameters& hp = pass.hp;
  Workspace& ws = pass.ws;
  const int64_t q_width = hp.heads * hp.head_dim, kv_width = hp.kv_heads * hp.head_dim;
  ws.attention_jobs.clear();
  int64_t segment_row = 0;  // of the batch
  for (const BatchSegment& segment : pass.segments) {
    const int64_t segment_tokens = static_cast<int64_t>(segment.ids.size());
    // What of the segment lies in the chunk.
    const int64_t begin = std::max(segment_row, chunk.first),
                  end = std::min(segment_row + segment_tokens, chunk.first + chunk.count);
    const int64_t first_in_segment = begin - segment_row, row = begin - chunk.first, count = end - begin;
    segment_row += segment_tokens;
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
                                 .k_offset = layout.k_offset(layer),
                                 .v_offset = layout.v_offset(layer),
                                 .head_bytes_k = layout.head_bytes(),
                                 .head_bytes_v = layout.head_bytes(),
                                 .kv_type = layout.type,
                                 .scale = 1.0f / std::sqrt(static_cast<float>(hp.head_dim)),
                                 .sinks = pass.model.vector(Role::attn_sinks, layer)});
    pass.backend.store_kv(ws.attention_jobs.back(), ws.k + row * kv_width, ws.v + row * kv_width);
  }
  pass.backend.attention(ws.attention_jobs);
}

void attend(ForwardPass& pass, int64_t layer, const AttentionOptions& options, Chunk chunk) {
  const Hyperparameters& hp = pass.hp;
  Workspace& ws = pass.ws;
  const int64_t tokens = chunk.count;
  project_qkv(pass, layer, chunk);
  if (options.qk_norm != QkNorm::none) norm_qk(pass, layer, options.qk_norm, tokens);
  if (hp.clamp_qkv > 0) {
    clamp(ws.q, tokens * hp.heads * hp.head_dim, static_cast<float>(hp.clamp_qkv));
    clamp(ws.k, tokens * hp.kv_heads * hp.head_dim, static_cast<float>(hp.clamp_qkv));
    clamp(ws.v, tokens * hp.kv_heads * hp.head_dim, static_cast<float>(hp.clamp_qkv));
  }
  pass.backend.rope(ws.q, tokens, static_cast<int>(hp.heads), static_cast<int>(hp.head_dim), ws.rope, chunk.first);
  pass.backend.rope(ws.k, tokens, static_cast<int>(hp.kv_heads), static_cast<int>(hp.head_dim), ws.rope, chunk.first);
  store_and_attend(pass, layer, chunk);

  const Matrix& output = pass.model.matrix(Role::attn_output, layer);
  ws.mixed_acts.set(ws.mixed, tokens, hp.heads * hp.head_dim);
  ws.jobs.assign(1, {.weights = &output, .x = &ws.mixed_acts, .rows = tokens, .out = ws.down, .out_stride = hp.hidden});
  pass.backend.matmul(ws.jobs);
  pass.backend.add(ws.x + chunk.first * hp.hidden, ws.down, tokens * hp.hidden);
}

}  // namespace

void attention(ForwardPass& pass, int64_t layer, const AttentionOptions& options) {
  pass.each_chunk([&](int64_t first, int64_t count) { attend(pass, layer, options, {first, count}); });
}

}  // namespace moxie
