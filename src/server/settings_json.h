// Settings of a generation as llama.cpp's responses name them. Pure function.
#pragma once

#include "core/json.h"
#include "moxie/options.h"

namespace moxie::server {

Json settings_json(const GenerateOptions& options, uint64_t seed);

}  // namespace moxie::server
