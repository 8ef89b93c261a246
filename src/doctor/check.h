// What doctor looks at in a model that opens: one file in checks/ for each subject, one line in checks.inc.
#pragma once

#include <string_view>

#include "doctor/finding.h"
#include "format/weight_file.h"
#include "model/model.h"

namespace moxie {

struct CheckInput {
  const WeightFiles& files;
  const ModelPlan* plan;  // null where the model cannot be run
};

struct ModelCheck {
  std::string_view name;
  void (*run)(const CheckInput& input, Findings& findings);
};

}  // namespace moxie
