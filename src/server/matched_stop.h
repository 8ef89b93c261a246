// Which stop text ended an answer. Pure function.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace moxie::server {

// `ids`: the answer's, with those of the stop text; `text`: the answer without it. Empty: none of `stops`.
std::string matched_stop(const Tokenizer& tokenizer, std::span<const int32_t> ids, std::string_view text, bool special,
                         const std::vector<std::string>& stops);

}  // namespace moxie::server
