// Whole-text changes by Unicode's tables (utf8proc). Bytes that are no UTF-8 stay as they are. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer_spec.h"

namespace moxie {

std::string apply_form(UnicodeForm form, std::string_view text);

}  // namespace moxie
