// Fields of JSON objects that tokenizer files share. Internal to the readers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/json.h"
#include "moxie/error.h"
#include "text/tokenizer_spec.h"

namespace moxie {

std::string text_field(const Json& object, std::string_view name, std::string otherwise = {});
bool flag_field(const Json& object, std::string_view name, bool otherwise);
int64_t id_field(const Json& object, std::string_view name);  // -1 when missing or no whole number
// An entry of added_tokens or added_tokens_decoder. Errors: corrupt, without content or with an id that is none.
Result<AddedToken> read_added_token(const Json& entry, std::string_view where, int64_t id);

}  // namespace moxie
