// A report as JSON text, the same for the program and the server. Stateless, thread-safe.
#pragma once

#include <string>

#include "doctor/examine_model.h"

namespace moxie {

// {"model", "loads", "format", ..., "findings": [{"code", "severity", "title", "message", "found", "expected",
// "near_miss", "why", "remedy", "elsewhere"}]}, indented.
std::string report_json(const ModelReport& report);

}  // namespace moxie
