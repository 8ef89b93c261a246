// Grouped-query attention over cached keys and values (Ainslie et al., arXiv 2305.13245), with rotary positions.
#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "model/forward.h"
#include "model/kv_cache.h"
#include "model/model.h"

namespace moxie {
namespace {

void project_qkv(ForwardPass& pass, int64_t layer) {
  Workspace& ws = pass.ws;
  ws.jobs.clear();
  const auto add = [&](Role role, float* out) {
    const Matrix& weights = pass.model.matrix(role, layer);
    ws.jobs.push_back({.weights = &weights, .x = &ws.normed_acts, .rows = pass.tokens, .out = out, .out_stride = weights.rows});
  };
  add(Role::attn_q, ws.q);
  add(Role::attn_k, ws.k);
  add(Role::attn_v, ws.v);
  pass.backend.matmul(ws.jobs);
}

void clamp(float* x, int64_t n, float limit) {
  for (int64_t i = 0; i < n; ++i) x[i] = std::clamp(x[i], -limit, limit);
}

void norm_qk(ForwardPass& pass, int64_t layer, QkNorm kind) {
  const Hyperparameters& hp = pass.hp;
  const bool per_head = kind == QkNorm::per_head;
  const int64_t q_rows = per_head ? pass.tokens * hp.heads : pass.tokens;
  const int64_t k_rows = per_head ? pass.tokens * hp.kv_heads : pass.tokens;
  const int64_t q_width = per_head ? hp.head_dim : hp.heads * hp.head_dim;
  const int64_t k_width = per_head ? hp.head_dim : hp.kv_heads * hp.head_dim;
  pass.backend.rms_norm(pass.ws.q, pass.model.vector(Role::attn_q_norm, layer), hp.norm_eps, q_rows, q_width, pass.ws.q);
  pass.backend.rms_norm(pass.ws.k, pass.model.vector(Role::attn_k_norm, layer), hp.norm_eps, k_rows, k_width, pass.ws.k);
}

void store_and_attend(ForwardPass& pass, int64_t layer) {
  const Hyperparameters& hp = pass.hp;
  Workspace& ws = pass.ws;
  const int64_t q_width = hp.heads * hp.head_dim, kv_width = hp.kv_heads * hp.head_dim;
  ws.attention_jobs.clear();
  int64_t row = 0;
  for (const BatchSegment& segment : pass.segments) {
    KvCache* cache = segment.state->kv();
    MOXIE_CHECK(cache != nullptr);
    const KvLayout& layout = cache->layout();
    const int64_t count = static_cast<int64_t>(segment.ids.size());
    const int kv_heads = static_cast<int>(hp.kv_heads);
    for (int64_t t = 0; t < count; ++t) {
      const int64_t position = cache->tokens() + t;
      pass.backend.store_kv(ws.k + (row + t) * kv_width, kv_heads, hp.head_dim, layout.type, cache->key(layer, position), layout.head_bytes());
      pass.backend.store_kv(ws.v + (row + t) * kv_width, kv_heads, hp.head_dim, layout.type, cache->value(layer, position), layout.head_bytes());
    }
    ws.attention_jobs.push_back({.q = ws.q + row * q_width,
                                 .out = ws.mixed + row * q_width,
                                 .tokens = count,
                                 .first_position = cache->tokens(),
                                 .window = hp.window[static_cast<size_t>(layer)],
                                 .heads = static_cast<int>(hp.heads),
                                 .kv_heads = kv_heads,
                                 .head_dim = static_cast<int>(hp.head_dim),
                                 .value_dim = static_cast<int>(hp.head_dim),
                                 .blocks = cache->blocks(),
                                 .k_offset = layout.k_offset(layer),
                                 .v_offset = layout.v_offset(layer),
                                 .head_bytes_k = layout.head_bytes(),
                                 .head_bytes_v = layout.head_bytes(),
                                 .kv_type = layout.type,
                                 .block_tokens = KvLayout::kBlockTokens,
                                 .scale = 1.0f / std::sqrt(static_cast<float>(hp.head_dim))});
    row += count;
  }
  pass.backend.attention(ws.attention_jobs);
}

}  // namespace

void attention(ForwardPass& pass, int64_t layer, const AttentionOptions& options) {
  const Hyperparameters& hp = pass.hp;
  Workspace& ws = pass.ws;
  project_qkv(pass, layer);
  if (options.qk_norm != QkNorm::none) norm_qk(pass, layer, options.qk_norm);
  if (hp.clamp_qkv > 0) {
    clamp(ws.q, pass.tokens * hp.heads * hp.head_dim, static_cast<float>(hp.clamp_qkv));
    clamp(ws.k, pass.tokens * hp.kv_heads * hp.head_dim, static_cast<float>(hp.clamp_qkv));
    clamp(ws.v, pass.tokens * hp.kv_heads * hp.head_dim, static_cast<float>(hp.clamp_qkv));
  }
  pass.backend.rope(ws.q, pass.tokens, static_cast<int>(hp.heads), static_cast<int>(hp.head_dim), ws.rope);
  pass.backend.rope(ws.k, pass.tokens, static_cast<int>(hp.kv_heads), static_cast<int>(hp.head_dim), ws.rope);
  store_and_attend(pass, layer);

  const Matrix& output = pass.model.matrix(Role::attn_output, layer);
  ws.mixed_acts.set(ws.mixed, pass.tokens, hp.heads * hp.head_dim);
  ws.jobs.assign(1, {.weights = &output, .x = &ws.mixed_acts, .rows = pass.tokens, .out = ws.down, .out_stride = hp.hidden});
  pass.backend.matmul(ws.jobs);
  pass.backend.add(ws.x, ws.down, pass.tokens * hp.hidden);
}

}  // namespace moxie
