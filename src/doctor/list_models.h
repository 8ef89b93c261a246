// Every model of this machine and whether it will load: what stores hold, each examined as doctor would. Reads headers
// only. Thread-safe.
#pragma once

#include <functional>
#include <vector>

#include "doctor/examine_model.h"
#include "hub/model_store.h"

namespace moxie {

struct ListedModel {
  StoredModel stored;
  ModelReport report;

  bool loads() const { return stored.problem.empty() && report.loads; }
  std::string why_not() const;  // a few words; empty where it loads
};

// `on_model` hears of each as it is found, in order; false ends the list.
std::vector<ListedModel> examine_models(const std::vector<StoredModel>& models,
                                        const std::function<bool(const ListedModel&)>& on_model = {});

}  // namespace moxie
