// One step of a sequence as its LayerObserver sees it. Belongs to the thread that computes.
#pragma once

#include <vector>

#include "model/forward.h"
#include "model/model.h"
#include "moxie/engine.h"

namespace moxie {

class ObservedStep final : public RoutingObserver, public LayerVisitor {
 public:
  ObservedStep(LayerObserver& observer, const Model& model, Backend& backend, Workspace& workspace,
               int64_t first_position)
      : observer_(observer), model_(model), backend_(backend), ws_(workspace), first_position_(first_position) {}

  void on_layer(ForwardPass& pass, int64_t layer) override { give(layer, ws_.x, pass.tokens); }
  void on_end(int64_t tokens) { give(model_.hp().layers, ws_.normed, tokens); }

  // The workspace holds the router's probabilities; its logits are computed once more, for observers alone.
  void on_choice(const Choice& choice) override {
    const int64_t experts = model_.hp().router.experts;
    logits_.resize(static_cast<size_t>(choice.tokens * experts));
    const MatmulJob job = {.weights = &model_.matrix(Role::router, choice.layer),
                           .x = &ws_.normed_acts,
                           .rows = choice.tokens,
                           .out = logits_.data(),
                           .out_stride = experts};
    backend_.matmul({&job, 1});
    observer_.on_routing({.layer = choice.layer,
                          .first_position = first_position_,
                          .tokens = choice.tokens,
                          .experts = experts,
                          .used = choice.used,
                          .logits = logits_.data(),
                          .ids = choice.ids,
                          .weights = choice.weights});
  }

 private:
  void give(int64_t layer, const float* rows, int64_t tokens) {
    observer_.on_hidden(layer, first_position_, {rows, static_cast<size_t>(tokens * model_.hp().hidden)});
  }

  LayerObserver& observer_;
  const Model& model_;
  Backend& backend_;
  Workspace& ws_;
  int64_t first_position_;
  std::vector<float> logits_;  // (tokens, experts)
};

}  // namespace moxie
