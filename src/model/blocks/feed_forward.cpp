// The gated feed-forward, SwiGLU (Shazeer, arXiv 2002.05202): plain, and as an expert that every token passes.
#include "model/forward.h"
#include "model/model.h"

namespace moxie {
namespace {

// ws.down = down(silu(gate(normed)) * up(normed)).
void gated(ForwardPass& pass, const Matrix& gate, const Matrix& up, const Matrix& down) {
  Workspace& ws = pass.ws;
  ws.jobs.clear();
  ws.jobs.push_back({.weights = &gate, .x = &ws.normed_acts, .rows = pass.tokens, .out = ws.gate, .out_stride = gate.rows});
  ws.jobs.push_back({.weights = &up, .x = &ws.normed_acts, .rows = pass.tokens, .out = ws.up, .out_stride = up.rows});
  pass.backend.matmul(ws.jobs);
  pass.backend.swiglu(ws.gate, ws.up, pass.tokens, gate.rows, ws.gate);
  ws.gate_acts.set(ws.gate, pass.tokens, gate.rows);
  ws.jobs.assign(1, {.weights = &down, .x = &ws.gate_acts, .rows = pass.tokens, .out = ws.down, .out_stride = down.rows});
  pass.backend.matmul(ws.jobs);
}

}  // namespace

void feed_forward(ForwardPass& pass, int64_t layer) {
  const Model& model = pass.model;
  gated(pass, model.matrix(Role::ffn_gate, layer), model.matrix(Role::ffn_up, layer), model.matrix(Role::ffn_down, layer));
  pass.backend.add(pass.ws.x, pass.ws.down, pass.tokens * pass.hp.hidden);
}

void shared_expert(ForwardPass& pass, int64_t layer) {
  if (pass.stopped()) return;
  const Model& model = pass.model;
  Workspace& ws = pass.ws;
  gated(pass, model.matrix(Role::shared_gate, layer), model.matrix(Role::shared_up, layer), model.matrix(Role::shared_down, layer));
  const Matrix& router = model.matrix(Role::shared_router, layer);
  ws.jobs.assign(1, {.weights = &router, .x = &ws.normed_acts, .rows = pass.tokens, .out = ws.scores, .out_stride = 1});
  pass.backend.matmul(ws.jobs);
  pass.backend.add_gated(ws.x, ws.down, ws.scores, pass.tokens, pass.hp.hidden);
}

}  // namespace moxie
