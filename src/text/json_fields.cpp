#include "text/json_fields.h"

#include "core/fail.h"

namespace moxie {

std::string text_field(const Json& object, std::string_view name, std::string otherwise) {
  const Json* value = object.find(name);
  if (value && value->text()) return *value->text();
  return otherwise;
}

bool flag_field(const Json& object, std::string_view name, bool otherwise) {
  const Json* value = object.find(name);
  const bool* flag = value ? value->get_if<bool>() : nullptr;
  return flag ? *flag : otherwise;
}

int64_t id_field(const Json& object, std::string_view name) {
  const Json* value = object.find(name);
  return value ? value->integer().value_or(-1) : -1;
}

Result<AddedToken> read_added_token(const Json& entry, std::string_view where, int64_t id) {
  AddedToken token;
  token.content = text_field(entry, "content");
  if (id < 0 || id > INT32_MAX || token.content.empty()) {
    return fail(ErrorCode::corrupt, "{}: a token '{}' with id {}; it needs a text and an id from 0", where,
                token.content.substr(0, 80), id);
  }
  token.id = static_cast<int32_t>(id);
  token.special = flag_field(entry, "special", false);
  token.lstrip = flag_field(entry, "lstrip", false);
  token.rstrip = flag_field(entry, "rstrip", false);
  token.single_word = flag_field(entry, "single_word", false);
  token.normalized = flag_field(entry, "normalized", !token.special);
  return token;
}

}  // namespace moxie
