// How experts are stored, where other programs find it otherwise.
#include <fmt/format.h>

#include <set>

#include "doctor/check.h"

namespace moxie::checks {
namespace {

// The first layer whose experts differ in the type of a projection; -1: none.
int64_t mixed_layer(const ModelPlan& plan, std::string& types) {
  for (size_t layer = 0; layer < plan.experts.experts.size(); ++layer) {
    std::set<std::string> of_down;
    for (const ExpertRecord& expert : plan.experts.experts[layer]) of_down.insert(expert.down.tensor->dtype);
    if (of_down.size() < 2) continue;
    for (const std::string& type : of_down) types += (types.empty() ? "" : ", ") + type;
    return static_cast<int64_t>(layer);
  }
  return -1;
}

void run(const CheckInput& input, Findings& findings) {
  if (input.plan == nullptr || input.plan->experts.experts.empty()) return;
  const bool gguf = input.files.scheme == NameScheme::gguf;
  const std::string& layout = input.plan->experts.layout;
  if (gguf && layout == "one tensor per expert") {
    findings.add({.code = "split-experts",
                  .found = fmt::format("blk.0.ffn_down.0.weight to .{}.weight", input.plan->hp.router.experts - 1),
                  .expected = "blk.0.ffn_down_exps.weight elsewhere"});
    std::string types;
    if (const int64_t layer = mixed_layer(*input.plan, types); layer >= 0) {
      findings.add({.code = "mixed-expert-types",
                    .found = fmt::format("{} in layer {}", types, layer),
                    .expected = "one type in a layer elsewhere"});
    }
  }
  if (!gguf && layout == "gate and up fused") {
    findings.add({.code = "fused-experts",
                  .found = "model.layers.0.mlp.experts.gate_up_proj",
                  .expected = "a tensor for each expert elsewhere"});
  }
}

}  // namespace

extern constinit const ModelCheck experts = {.name = "experts", .run = run};

}  // namespace moxie::checks
