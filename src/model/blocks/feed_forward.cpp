// The gated feed-forward, SwiGLU (Shazeer, arXiv 2002.05202): plain, and as an expert that every token passes.
#include <utility>

#include "model/forward.h"
#include "model/model.h"

namespace moxie {
namespace {

// ws.down = down(silu(gate(normed)) * up(normed)) for `count` tokens from `first` on.
void gated(ForwardPass& pass, const Matrix& gate, const Matrix& up, const Matrix& down, int64_t first, int64_t count) {
  Workspace& ws = pass.ws;
  ws.jobs.clear();
  for (const auto& [weights, out] : {std::pair{&gate, ws.gate}, std::pair{&up, ws.up}}) {
    ws.jobs.push_back({.weights = weights,
                       .x = &ws.normed_acts,
                       .rows = count,
                       .first_row = first,
                       .out = out,
                       .out_stride = weights->rows});
  }
  pass.backend.matmul(ws.jobs);
  pass.backend.swiglu(ws.gate, ws.up, count, gate.rows, ws.gate);
  ws.gate_acts.set(ws.gate, count, gate.rows);
  ws.jobs.assign(1, {.weights = &down, .x = &ws.gate_acts, .rows = count, .out = ws.down, .out_stride = down.rows});
  pass.backend.matmul(ws.jobs);
}

}  // namespace

void feed_forward(ForwardPass& pass, int64_t layer) {
  const Model& model = pass.model;
  const Matrix &gate = model.matrix(Role::ffn_gate, layer), &up = model.matrix(Role::ffn_up, layer);
  const Matrix& down = model.matrix(Role::ffn_down, layer);
  pass.each_chunk([&](int64_t first, int64_t count) {
    gated(pass, gate, up, down, first, count);
    pass.backend.add(pass.ws.x + first * pass.hp.hidden, pass.ws.down, count * pass.hp.hidden);
  });
}

void shared_expert(ForwardPass& pass, int64_t layer) {
  if (pass.tokens == 0 || pass.stopped()) return;
  const Model& model = pass.model;
  Workspace& ws = pass.ws;
  const Matrix &gate = model.matrix(Role::shared_gate, layer), &up = model.matrix(Role::shared_up, layer);
  const Matrix& down = model.matrix(Role::shared_down, layer);
  const Matrix& router = model.matrix(Role::shared_router, layer);
  ws.jobs.assign(1, {.weights = &router, .x = &ws.normed_acts, .rows = pass.tokens, .out = ws.scores, .out_stride = 1});
  pass.backend.matmul(ws.jobs);
  pass.each_chunk([&](int64_t first, int64_t count) {
    gated(pass, gate, up, down, first, count);
    pass.backend.add_gated(ws.x + first * pass.hp.hidden, ws.down, ws.scores + first, count, pass.hp.hidden);
  });
}

}  // namespace moxie
