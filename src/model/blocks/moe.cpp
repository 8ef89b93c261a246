// The mixture of experts: route every token, then compute expert by expert over the tokens that chose it, then sum each token's
// experts in router order (so the sum never depends on what was in memory first).
#include <algorithm>

#include "model/blocks/router.h"
#include "model/forward.h"
#include "model/model.h"

namespace moxie {
namespace {

// Groups the (token, choice) pairs by expert: ws.grouped holds tokens expert after expert, ws.slots where each pair went,
// ws.active the experts that somebody chose, ws.group_begin where each expert's tokens start.
void group_by_expert(Workspace& ws, int64_t tokens, int64_t used, int64_t experts) {
  std::fill(ws.group_begin.begin(), ws.group_begin.end(), 0);
  for (int64_t i = 0; i < tokens * used; ++i) ++ws.group_begin[static_cast<size_t>(ws.chosen[i]) + 1];
  ws.active.clear();
  for (int64_t e = 0; e < experts; ++e) {
    if (ws.group_begin[static_cast<size_t>(e) + 1] > 0) ws.active.push_back(static_cast<int32_t>(e));
    ws.group_begin[static_cast<size_t>(e) + 1] += ws.group_begin[static_cast<size_t>(e)];
  }
  // Filling moves each begin to its end, which is the next one's begin: afterwards the array is shifted back by one place.
  for (int64_t i = 0; i < tokens * used; ++i) {
    const int32_t slot = ws.group_begin[static_cast<size_t>(ws.chosen[i])]++;
    ws.grouped[slot] = static_cast<int32_t>(i / used);
    ws.slots[i] = slot;
  }
  for (int64_t e = experts; e > 0; --e) ws.group_begin[static_cast<size_t>(e)] = ws.group_begin[static_cast<size_t>(e) - 1];
  ws.group_begin[0] = 0;
}

void compute_experts(ForwardPass& pass, const ExpertLease& lease) {
  Workspace& ws = pass.ws;
  const int64_t ffn = pass.hp.expert_ffn;
  ws.jobs.clear();
  for (size_t i = 0; i < lease.size(); ++i) {
    const size_t expert = static_cast<size_t>(ws.active[i]);
    const int64_t begin = ws.group_begin[expert], rows = ws.group_begin[expert + 1] - begin;
    const ExpertView& view = lease[i];
    for (const auto& [weights, out] : {std::pair{&view.gate, ws.gate}, std::pair{&view.up, ws.up}}) {
      ws.jobs.push_back({.weights = weights, .x = &ws.normed_acts, .rows = rows, .gather = ws.grouped + begin,
                         .out = out + begin * ffn, .out_stride = ffn});
    }
  }
  pass.backend.matmul(ws.jobs);

  const int64_t total = pass.tokens * pass.hp.router.used;
  pass.backend.swiglu(ws.gate, ws.up, total, ffn, ws.gate);
  ws.gate_acts.set(ws.gate, total, ffn);
  ws.jobs.clear();
  for (size_t i = 0; i < lease.size(); ++i) {
    const size_t expert = static_cast<size_t>(ws.active[i]);
    const int64_t begin = ws.group_begin[expert], rows = ws.group_begin[expert + 1] - begin;
    ws.jobs.push_back({.weights = &lease[i].down, .x = &ws.gate_acts, .rows = rows, .first_row = begin,
                       .out = ws.down + begin * pass.hp.hidden, .out_stride = pass.hp.hidden});
  }
  pass.backend.matmul(ws.jobs);
}

}  // namespace

void mixture_of_experts(ForwardPass& pass, int64_t layer) {
  if (pass.stopped()) return;
  Workspace& ws = pass.ws;
  const RouterOptions& router = pass.hp.router;
  const Matrix& scores = pass.model.matrix(Role::router, layer);
  ws.jobs.assign(1, {.weights = &scores, .x = &ws.normed_acts, .rows = pass.tokens, .out = ws.scores, .out_stride = router.experts});
  pass.backend.matmul(ws.jobs);
  for (int64_t t = 0; t < pass.tokens; ++t) {
    float* row = ws.scores + t * router.experts;
    pass.backend.softmax(row, router.experts);
    choose_experts({row, static_cast<size_t>(router.experts)}, router, ws.chosen + t * router.used, ws.chosen_weights + t * router.used);
  }
  if (pass.trace != nullptr) {
    const int32_t* last = ws.chosen + (pass.tokens - 1) * router.used;
    pass.trace->insert(pass.trace->end(), last, last + router.used);
  }
  group_by_expert(ws, pass.tokens, router.used, router.experts);

  auto lease = pass.model.experts().lease(layer, ws.active);
  if (!lease.ok()) return pass.fail_with(std::move(lease).error());
  compute_experts(pass, lease.value());
  pass.backend.add_weighted(ws.x, ws.down, ws.slots, ws.chosen_weights, pass.tokens, static_cast<int>(router.used), pass.hp.hidden);
}

}  // namespace moxie
