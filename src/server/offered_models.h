// The models that a server offers and how one is opened, as the program hands them over; and which of them a name
// means. Plain data and a pure function.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "doctor/finding.h"
#include "moxie/engine.h"
#include "moxie/error.h"

namespace moxie::server {

struct OfferedModel {
  std::string id;       // what requests name: "ollama:mixtral:8x7b"
  std::string path;     // what is opened
  std::string problem;  // why it will not load; empty: it will
  std::string family, types;
  uint64_t parameters = 0, bytes = 0;
  int64_t experts = 0, experts_used = 0;
  std::vector<Finding> findings;  // what doctor says about it
};

struct ModelSource {
  // One: it is opened at the start and answers every request. Several, or `look` given: they are opened on request.
  std::vector<OfferedModel> models;
  // What there is now; null: that does not change, and there is one.
  std::function<std::vector<OfferedModel>()> look;
  // `stop` becoming true gives up. Errors: those of Engine::open.
  std::function<Result<std::unique_ptr<Engine>>(const OfferedModel& model, const std::atomic<bool>& stop)> open;
};

// By its id; without regard to case; or by an end of it that no other has: "mixtral:8x7b", "model" for
// "folder/model.gguf". Errors: invalid_argument for a name that several have; not_found with the nearest there is, or
// with the reason why that model does not load.
Result<OfferedModel> find_offered(const std::vector<OfferedModel>& models, std::string_view name);

}  // namespace moxie::server
