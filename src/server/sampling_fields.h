// The fields of requests that say how to sample, with llama.cpp's names and those of OpenAI. Pure function.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "moxie/options.h"
#include "server/fields.h"

namespace moxie::server {

// Texts that the fields take, to ids; without it, ids alone are taken.
using EncodeText = std::function<std::vector<int32_t>(std::string_view)>;

// Everything but stops and lengths. `options` begins as the defaults.
void read_sampling(Fields& fields, SamplingOptions& options, const EncodeText& encode = {});
// "stop", at most so many, none of them empty.
void read_stops(Fields& fields, std::vector<std::string>& stops, std::string_view name = "stop");

}  // namespace moxie::server
