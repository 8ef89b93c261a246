// The small files beside a Hugging Face tokenizer: names of BOS and EOS, whether they are added, tokens of fine-tunes.
#include <algorithm>
#include <charconv>

#include "core/fail.h"
#include "core/json.h"
#include "text/json_fields.h"
#include "text/tokenizer_spec.h"

namespace moxie {
namespace {

// Null when there is no such file.
Result<Json> parse_file(const TokenizerSource& source, const char* name) {
  const auto file = source.files.find(name);
  if (file == source.files.end()) return Json();
  MOXIE_TRY(Json parsed, parse_json(file->second, name));
  if (parsed.object() == nullptr) return fail(ErrorCode::corrupt, "{}: not a JSON object", name);
  return parsed;
}

// "bos_token" is a string or {"content": string}.
std::string token_name(const Json& settings, const char* name) {
  const Json* value = settings.find(name);
  if (value == nullptr) return {};
  return value->text() ? *value->text() : text_field(*value, "content");
}

int32_t find_token(const TokenizerSpec& spec, const std::string& text) {
  for (size_t i = spec.texts.size(); i-- > 0;) {
    if (spec.texts[i] == text) return static_cast<int32_t>(i);
  }
  return -1;
}

bool already_added(const TokenizerSpec& spec, int64_t id, const std::string& content) {
  if (id < 0 || id >= spec.size() || spec.texts[static_cast<size_t>(id)] != content) return false;
  return std::any_of(spec.added.begin(), spec.added.end(),
                     [&](const AddedToken& token) { return token.id == id && token.content == content; });
}

Result<void> add_decoder_tokens(const Json& config, TokenizerSpec& spec) {
  const Json* list = config.find("added_tokens_decoder");
  if (list == nullptr || list->object() == nullptr) return {};
  const size_t ids_max = spec.texts.size() + list->object()->size() + kIdGapsMax;
  for (const auto& [key, entry] : *list->object()) {
    int64_t id = -1;
    const auto parsed = std::from_chars(key.data(), key.data() + key.size(), id);
    if (parsed.ec != std::errc() || parsed.ptr != key.data() + key.size()) id = -1;
    MOXIE_TRY(AddedToken token, read_added_token(entry, "tokenizer_config.json: added_tokens_decoder", id));
    if (already_added(spec, id, token.content)) continue;
    MOXIE_TRY_VOID(add_token(spec, std::move(token), ids_max));
  }
  return {};
}

// added_tokens.json: {text: id}. Says nothing of kinds; texts in angle or square brackets are control tokens by habit.
Result<void> add_plain_tokens(const Json& list, TokenizerSpec& spec) {
  if (list.object() == nullptr) return {};
  const size_t ids_max = spec.texts.size() + list.object()->size() + kIdGapsMax;
  for (const auto& [content, value] : *list.object()) {
    const int64_t id = value.integer().value_or(-1);
    if (id < 0 || id > INT32_MAX || content.empty()) {
      return fail(ErrorCode::corrupt, "added_tokens.json: token '{}' has no id from 0", content.substr(0, 80));
    }
    if (already_added(spec, id, content)) continue;
    const bool special =
        (content.front() == '<' && content.back() == '>') || (content.front() == '[' && content.back() == ']');
    MOXIE_TRY_VOID(add_token(spec, {.content = content, .id = static_cast<int32_t>(id), .special = special}, ids_max));
  }
  return {};
}

void add_configured_ends(const Json& config, TokenizerSpec& spec) {
  const Json* ends = config.find("eos_token_id");
  if (ends == nullptr) return;
  if (const auto id = ends->integer()) spec.end_ids.push_back(*id);
  if (ends->array() == nullptr) return;
  for (const Json& id : *ends->array()) spec.end_ids.push_back(id.integer().value_or(-1));
}

// add_bos_token and add_eos_token decide. Without them it is as the tokenizer itself does, and by classes that always
// add BOS.
void apply_adding(const Json& config, TokenizerSpec& spec) {
  const auto apply = [&config](const char* key, int32_t id, std::vector<int32_t>& where) {
    const Json* value = config.find(key);
    const bool* flag = value ? value->get_if<bool>() : nullptr;
    if (flag == nullptr) return false;
    std::erase(where, id);
    if (*flag && id >= 0) where.insert(where.begin(), id);
    return true;
  };
  const bool told = apply("add_bos_token", spec.bos, spec.prefix);
  apply("add_eos_token", spec.eos, spec.suffix);
  const std::string tokenizer_class = text_field(config, "tokenizer_class");
  const bool adds_by_class = tokenizer_class.starts_with("Llama") || tokenizer_class.starts_with("CodeLlama") ||
                             tokenizer_class.starts_with("Gemma");
  if (!told && adds_by_class && spec.prefix.empty() && spec.bos >= 0) spec.prefix = {spec.bos};
}

}  // namespace

Result<void> apply_side_files(const TokenizerSource& source, TokenizerSpec& spec) {
  MOXIE_TRY(const Json config, parse_file(source, "tokenizer_config.json"));
  MOXIE_TRY(const Json added, parse_file(source, "added_tokens.json"));
  MOXIE_TRY(const Json special_map, parse_file(source, "special_tokens_map.json"));
  MOXIE_TRY(const Json generation, parse_file(source, "generation_config.json"));
  MOXIE_TRY_VOID(add_decoder_tokens(config, spec));
  MOXIE_TRY_VOID(add_plain_tokens(added, spec));
  for (const auto& [key, id] :
       {std::pair{"bos_token", &spec.bos}, {"eos_token", &spec.eos}, {"unk_token", &spec.unknown}}) {
    for (const Json* settings : {&config, &special_map}) {
      const std::string name = token_name(*settings, key);
      const int32_t found = name.empty() ? -1 : find_token(spec, name);
      if (found < 0) continue;
      *id = found;
      break;
    }
  }
  if (spec.bos < 0 && spec.prefix.size() == 1) spec.bos = spec.prefix[0];
  if (spec.eos < 0 && spec.suffix.size() == 1) spec.eos = spec.suffix[0];
  apply_adding(config, spec);
  add_configured_ends(generation, spec);
  return {};
}

}  // namespace moxie
