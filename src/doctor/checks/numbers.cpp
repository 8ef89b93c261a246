// What the description says that matters to the answer or to memory.
#include <fmt/format.h>

#include "core/memory_info.h"
#include "core/printable.h"
#include "doctor/check.h"

namespace moxie::checks {
namespace {

void run(const CheckInput& input, Findings& findings) {
  if (input.plan == nullptr) return;
  const Metadata& metadata = input.files.metadata;
  const ModelPlan& plan = *input.plan;
  const bool gguf = input.files.scheme == NameScheme::gguf;
  const std::string arch = architecture(input.files);
  const bool mixture = plan.hp.router.experts > 0;
  if (const auto window = metadata.integer(gguf ? arch + ".attention.sliding_window" : "sliding_window");
      window && *window > 0 && plan.family->name == "mixtral") {
    findings.add({.code = "window-ignored", .found = fmt::format("{} tokens", *window), .expected = "none"});
  }
  const bool has_base = gguf ? metadata.has(arch + ".rope.freq_base")
                             : metadata.has("rope_theta") || metadata.has("rope_parameters.rope_theta");
  if (!has_base && mixture) {
    findings.add({.code = "rope-base-assumed",
                  .found = gguf ? "no " + arch + ".rope.freq_base" : "no rope_theta",
                  .expected = fmt::format("{} is assumed", plan.hp.rope.base)});
  }
  const auto limit = read_memory_info().limit_bytes();
  if (limit && plan.dense_bytes + plan.expert_bytes > *limit) {
    findings.add({.code = "larger-than-memory",
                  .found = human_bytes(plan.dense_bytes + plan.expert_bytes),
                  .expected = human_bytes(*limit)});
  }
}

}  // namespace

extern constinit const ModelCheck numbers = {.name = "numbers", .run = run};

}  // namespace moxie::checks
