// The mixture of experts: route every token, then compute expert by expert over the tokens that chose it, in the order
// in which the experts' weights are in memory, then sum each token's experts in router order (so the sum never depends
// on what was in memory first).
#include <algorithm>
#include <utility>

#include "core/fail.h"
#include "model/blocks/lossy_routing.h"
#include "model/blocks/router.h"
#include "model/forward.h"
#include "model/model.h"

namespace moxie {
namespace {

// How many layers ahead experts are guessed, at most.
constexpr int64_t kLookAheadLayers = 3;
// Choices per expert from which on a batch is taken to want every one.
constexpr int64_t kPromptChoices = 8;

// Router scores of `tokens` rows of `x` and what they choose.
void route(ForwardPass& pass, int64_t layer, Activations& x, int64_t tokens, int32_t* chosen, float* weights) {
  const RouterOptions& router = pass.hp.router;
  Workspace& ws = pass.ws;
  const Matrix& matrix = pass.model.matrix(Role::router, layer);
  ws.jobs.assign(1, {.weights = &matrix, .x = &x, .rows = tokens, .out = ws.scores, .out_stride = router.experts});
  pass.backend.matmul(ws.jobs);
  for (int64_t t = 0; t < tokens; ++t) {
    float* row = ws.scores + t * router.experts;
    pass.backend.softmax(row, router.experts);
    choose_experts({row, static_cast<size_t>(router.experts)}, router, chosen + t * router.used,
                   weights + t * router.used);
  }
}

// ws.active: the distinct ids that the (token, choice) pairs name; of one token in router order, else ascending.
void list_active(Workspace& ws, int64_t tokens, int64_t used, int64_t experts) {
  ws.active.clear();
  if (tokens == 1) {
    ws.active.assign(ws.chosen, ws.chosen + used);
    return;
  }
  std::fill(ws.group_begin.begin(), ws.group_begin.end(), 0);
  for (int64_t i = 0; i < tokens * used; ++i) ws.group_begin[static_cast<size_t>(ws.chosen[i])] = 1;
  for (int64_t e = 0; e < experts; ++e) {
    if (ws.group_begin[static_cast<size_t>(e)] != 0) ws.active.push_back(static_cast<int32_t>(e));
  }
}

// Groups the (token, choice) pairs by expert, experts in the order of ws.active: ws.grouped holds tokens expert after
// expert, ws.slots where each pair went, ws.group_begin where the rows of the i-th active expert start.
void group_by_expert(Workspace& ws, int64_t tokens, int64_t used, int64_t experts) {
  std::fill(ws.place.begin(), ws.place.begin() + experts, 0);
  for (int64_t i = 0; i < tokens * used; ++i) ++ws.place[static_cast<size_t>(ws.chosen[i])];
  int32_t begin = 0;
  for (size_t i = 0; i < ws.active.size(); ++i) {
    ws.group_begin[i] = begin;
    begin += std::exchange(ws.place[static_cast<size_t>(ws.active[i])], begin);
  }
  ws.group_begin[ws.active.size()] = begin;
  for (int64_t i = 0; i < tokens * used; ++i) {
    const int32_t slot = ws.place[static_cast<size_t>(ws.chosen[i])]++;
    ws.grouped[slot] = static_cast<int32_t>(i / used);
    ws.slots[i] = slot;
  }
}

// ws.gate from ws.gate and ws.up, for `rows` rows.
void activate(ForwardPass& pass, int64_t rows) {
  const Hyperparameters& hp = pass.hp;
  Workspace& ws = pass.ws;
  if (hp.swiglu_limit > 0) {
    pass.backend.clamped_swiglu(ws.gate, ws.up, hp.swiglu_alpha, hp.swiglu_limit, rows, hp.expert_ffn, ws.gate);
  } else {
    pass.backend.swiglu(ws.gate, ws.up, rows, hp.expert_ffn, ws.gate);
  }
}

// Computes `count` experts of the lease from `first` on over their rows. All rows at once where the workspace has room
// for them, else (then count is 1) in parts.
Result<void> compute_group(ForwardPass& pass, ExpertLease& lease, size_t first, size_t count) {
  Workspace& ws = pass.ws;
  const int64_t ffn = pass.hp.expert_ffn, hidden = pass.hp.hidden;
  const int64_t room = ws.chunk_tokens * pass.hp.router.used;
  const int64_t begin = ws.group_begin[first], end = ws.group_begin[first + count];
  for (int64_t part = begin; part < end; part += room) {
    const int64_t part_end = std::min(end, part + room);
    // Rows of expert i inside the part.
    const auto rows_of = [&](size_t i) {
      const int64_t from = std::max<int64_t>(part, ws.group_begin[i]),
                    to = std::min<int64_t>(part_end, ws.group_begin[i + 1]);
      return std::pair{from, to - from};
    };
    ws.jobs.clear();
    for (size_t i = first; i < first + count; ++i) {
      const auto [row, rows] = rows_of(i);
      const ExpertView& view = lease[i];
      for (const auto& [weights, out] : {std::pair{&view.gate, ws.gate}, std::pair{&view.up, ws.up}}) {
        ws.jobs.push_back({.weights = weights,
                           .x = &ws.normed_acts,
                           .rows = rows,
                           .gather = ws.grouped + row,
                           .out = out + (row - part) * ffn,
                           .out_stride = ffn});
      }
    }
    pass.backend.matmul(ws.jobs);
    activate(pass, part_end - part);

    if (part == begin) MOXIE_TRY_VOID(lease.wait_down(first, count));
    ws.gate_acts.set(ws.gate, part_end - part, ffn);
    ws.jobs.clear();
    for (size_t i = first; i < first + count; ++i) {
      const auto [row, rows] = rows_of(i);
      ws.jobs.push_back({.weights = &lease[i].down,
                         .x = &ws.gate_acts,
                         .rows = rows,
                         .first_row = row - part,
                         .out = ws.down + row * hidden,
                         .out_stride = hidden});
    }
    pass.backend.matmul(ws.jobs);
  }
  return {};
}

// Computes every expert of the lease, those in memory together, those that are still being read as they come.
Result<void> compute_experts(ForwardPass& pass, ExpertLease& lease) {
  Workspace& ws = pass.ws;
  const int64_t room = ws.chunk_tokens * pass.hp.router.used;
  for (size_t first = 0; first < lease.size() && !pass.stopped();) {
    MOXIE_TRY(size_t count, lease.wait(first));
    while (count > 1 && ws.group_begin[first + count] - ws.group_begin[first] > room) --count;
    MOXIE_TRY_VOID(compute_group(pass, lease, first, count));
    first += count;
    lease.release(first);
  }
  return {};
}

// Guesses what the next layers will want by their own routers, applied to the state before this layer's experts have
// been added. The last layer where it takes fewer tokens than the others: nothing, they are few.
void look_ahead(ForwardPass& pass, int64_t layer) {
  ExpertStore& experts = pass.model.experts();
  Workspace& ws = pass.ws;
  const int64_t end = pass.outputs < pass.tokens ? pass.layers() - 1 : pass.layers();
  if (pass.tokens * pass.hp.router.used >= kPromptChoices * pass.hp.router.experts) {
    // So many tokens want every expert of the next layer.
    if (!experts.wants_look_ahead(ExpertStore::Guess::prompt)) return;
    for (int64_t next = layer + 1; next < end; ++next) {
      if (!pass.model.matrix(Role::router, next)) continue;
      experts.look_ahead(next, ws.every_expert, ExpertStore::Guess::prompt);
      return;
    }
    return;
  }
  if (pass.tokens > Workspace::kGuessTokens || !experts.wants_look_ahead(ExpertStore::Guess::decode)) return;
  const int64_t last = std::min(end - 1, layer + kLookAheadLayers);
  for (int64_t next = layer + 1; next <= last; ++next) {
    if (!pass.model.matrix(Role::router, next)) continue;
    pass.backend.rms_norm(ws.x, pass.model.vector(Role::ffn_norm, next), pass.hp.norm_eps, pass.tokens, pass.hp.hidden,
                          ws.guess_normed);
    ws.guess_acts.set(ws.guess_normed, pass.tokens, pass.hp.hidden);
    route(pass, next, ws.guess_acts, pass.tokens, ws.guess, ws.guess_weights);
    if (experts.look_ahead(next, {ws.guess, static_cast<size_t>(pass.tokens * pass.hp.router.used)},
                           ExpertStore::Guess::decode) > 0) {
      return;
    }
  }
}

}  // namespace

void mixture_of_experts(ForwardPass& pass, int64_t layer) {
  if (pass.tokens == 0 || pass.stopped()) return;
  Workspace& ws = pass.ws;
  const RouterOptions& router = pass.hp.router;
  route(pass, layer, ws.normed_acts, pass.tokens, ws.chosen, ws.chosen_weights);
  int64_t used = router.used;
  if (pass.lossy != nullptr && pass.tokens == 1) {
    const std::span<const float> probabilities(ws.scores, static_cast<size_t>(router.experts));
    used = pass.lossy->apply(pass.model.experts(), layer, probabilities, router, ws.chosen, ws.chosen_weights);
  }
  const std::span<const int32_t> last_choice(ws.chosen + (pass.tokens - 1) * used, static_cast<size_t>(used));
  list_active(ws, pass.tokens, used, router.experts);
  const bool decoding = pass.tokens == 1 || pass.decoding;
  for (RoutingObserver* observer : pass.observers) {
    observer->on_choice({.layer = layer,
                         .tokens = pass.tokens,
                         .used = used,
                         .ids = ws.chosen,
                         .weights = ws.chosen_weights,
                         .distinct = ws.active,
                         .decoding = decoding});
  }
  if (pass.skip_experts) return;

  const ExpertRequest request = {.layer = layer,
                                 .ids = ws.active,
                                 .last_choice = decoding ? std::span<const int32_t>() : last_choice,
                                 .stop = pass.stop()};
  auto lease = pass.model.experts().lease(request);
  if (!lease.ok()) return pass.fail_with(std::move(lease).error());
  look_ahead(pass, layer);
  // What was left out is read meanwhile, as far as there is a free place: the next token may want it again.
  if (pass.lossy != nullptr) pass.model.experts().look_ahead(layer, pass.lossy->skipped(), ExpertStore::Guess::decode);
  group_by_expert(ws, pass.tokens, used, router.experts);
  if (auto computed = compute_experts(pass, lease.value()); !computed.ok())
    return pass.fail_with(std::move(computed).error());
  pass.backend.add_weighted(ws.x, ws.down, ws.slots, ws.chosen_weights, pass.tokens, static_cast<int>(used),
                            pass.hp.hidden);
}

}  // namespace moxie
