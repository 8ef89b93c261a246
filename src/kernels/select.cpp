#include "kernels/select.h"

#include <string>

#include "core/cpu_features.h"
#include "core/fail.h"

#define MOXIE_CPU_TARGET(name, needs, supported) \
  namespace moxie::name {                        \
  extern const Kernels kernels;                  \
  }
#include "kernels/targets.inc"
#undef MOXIE_CPU_TARGET

namespace moxie {
namespace {

constexpr CpuTarget kTargets[] = {
#define MOXIE_CPU_TARGET(name, needs, condition) {#name, needs, []() -> bool { return condition; }, &name::kernels},
#include "kernels/targets.inc"
#undef MOXIE_CPU_TARGET
};

std::string names() {
  std::string list;
  for (const CpuTarget& target : kTargets) {
    if (!list.empty()) list += ", ";
    list += target.name;
  }
  return list;
}

}  // namespace

std::span<const CpuTarget> cpu_targets() {
  return kTargets;
}

Result<const CpuTarget*> select_cpu_target(std::string_view name) {
  for (const CpuTarget& target : kTargets) {
    if (name.empty() && target.supported()) return &target;
    if (target.name != name) continue;
    if (target.supported()) return &target;
    return fail(ErrorCode::unsupported,
                "cpu target {}: this CPU lacks some of: {}; leave the choice to moxie or name another of {}", name,
                target.requires_, names());
  }
  if (name.empty()) {
    return fail(ErrorCode::unsupported, "this CPU has none of the instruction sets moxie is built for; the least is {}",
                kTargets[std::size(kTargets) - 1].requires_);
  }
  return fail(ErrorCode::invalid_argument, "unknown cpu target {}; this build has {}", name, names());
}

}  // namespace moxie
