// The small files beside a Hugging Face tokenizer: names of BOS and EOS, whether they are added, tokens of fine-tunes.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/fail.h"
#include "text/tokenizer_spec.h"

namespace moxie {
namespace {

using nlohmann::json;

constexpr size_t kIdGapsMax = 1 << 16;

// Null when there is no such file.
Result<json> parse_file(const TokenizerSource& source, const char* name) {
  const auto file = source.files.find(name);
  if (file == source.files.end()) return json();
  json parsed = json::parse(file->second, nullptr, false);
  if (!parsed.is_object()) return fail(ErrorCode::corrupt, "{}: not a JSON object", name);
  return parsed;
}

bool flag_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

// "bos_token" is a string or {"content": string}.
std::string token_name(const json& settings, const char* name) {
  if (!settings.is_object()) return {};
  auto value = settings.find(name);
  if (value == settings.end()) return {};
  if (value->is_object()) {
    const auto content = value->find("content");
    return content != value->end() && content->is_string() ? content->get<std::string>() : std::string();
  }
  return value->is_string() ? value->get<std::string>() : std::string();
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

Result<void> add_decoder_tokens(const json& config, TokenizerSpec& spec) {
  if (!config.is_object()) return {};
  const auto list = config.find("added_tokens_decoder");
  if (list == config.end() || !list->is_object()) return {};
  const size_t ids_max = spec.texts.size() + list->size() + kIdGapsMax;
  for (const auto& [key, entry] : list->items()) {
    char* end = nullptr;
    const long long id = std::strtoll(key.c_str(), &end, 10);
    const std::string content = token_name(json{{"t", entry}}, "t");
    if (key.empty() || *end != '\0' || id < 0 || id > INT32_MAX || content.empty()) {
      return fail(ErrorCode::corrupt, "tokenizer_config.json: added_tokens_decoder has no valid token at '{}'", key.substr(0, 40));
    }
    if (already_added(spec, id, content)) continue;
    MOXIE_TRY_VOID(add_token(spec,
                             {.content = content,
                              .id = static_cast<int32_t>(id),
                              .special = flag_of(entry, "special"),
                              .lstrip = flag_of(entry, "lstrip"),
                              .rstrip = flag_of(entry, "rstrip"),
                              .single_word = flag_of(entry, "single_word"),
                              .normalized = flag_of(entry, "normalized")},
                             ids_max));
  }
  return {};
}

// added_tokens.json: {text: id}. Says nothing of kinds; texts in angle or square brackets are control tokens by habit.
Result<void> add_plain_tokens(const json& list, TokenizerSpec& spec) {
  if (!list.is_object()) return {};
  const size_t ids_max = spec.texts.size() + list.size() + kIdGapsMax;
  for (const auto& [content, id] : list.items()) {
    if (!id.is_number_integer() || content.empty()) {
      return fail(ErrorCode::corrupt, "added_tokens.json: token '{}' has no id", content.substr(0, 80));
    }
    const int64_t number = id.get<int64_t>();
    if (already_added(spec, number, content)) continue;
    const bool special = (content.front() == '<' && content.back() == '>') || (content.front() == '[' && content.back() == ']');
    MOXIE_TRY_VOID(add_token(
        spec, {.content = content, .id = number < 0 || number > INT32_MAX ? -1 : static_cast<int32_t>(number), .special = special},
        ids_max));
  }
  return {};
}

void add_configured_ends(const json& config, TokenizerSpec& spec) {
  if (!config.is_object()) return;
  const auto ends = config.find("eos_token_id");
  if (ends == config.end()) return;
  for (const json& id : ends->is_array() ? *ends : json::array({*ends})) {
    if (id.is_number_integer()) spec.end_ids.push_back(id.get<int64_t>());
  }
}

// BOS is added as add_bos_token says; without it as the tokenizer itself does, and by classes that always do.
void apply_adding(const json& config, TokenizerSpec& spec) {
  const auto apply = [&](const char* key, int32_t id, std::vector<int32_t>& where) {
    const auto value = config.find(key);
    if (value == config.end() || !value->is_boolean()) return false;
    std::erase(where, id);
    if (value->get<bool>() && id >= 0) where.insert(where.begin(), id);
    return true;
  };
  if (!config.is_object()) return;
  const bool told = apply("add_bos_token", spec.bos, spec.prefix);
  apply("add_eos_token", spec.eos, spec.suffix);
  const std::string tokenizer_class = token_name(config, "tokenizer_class");
  const bool adds_by_class = tokenizer_class.starts_with("Llama") || tokenizer_class.starts_with("CodeLlama") ||
                             tokenizer_class.starts_with("Gemma");
  if (!told && adds_by_class && spec.prefix.empty() && spec.bos >= 0) spec.prefix = {spec.bos};
}

}  // namespace

Result<void> apply_side_files(const TokenizerSource& source, TokenizerSpec& spec) {
  MOXIE_TRY(const json config, parse_file(source, "tokenizer_config.json"));
  MOXIE_TRY(const json added, parse_file(source, "added_tokens.json"));
  MOXIE_TRY(const json special_map, parse_file(source, "special_tokens_map.json"));
  MOXIE_TRY(const json generation, parse_file(source, "generation_config.json"));
  MOXIE_TRY_VOID(add_decoder_tokens(config, spec));
  MOXIE_TRY_VOID(add_plain_tokens(added, spec));
  for (const auto& [key, id] : {std::pair{"bos_token", &spec.bos}, {"eos_token", &spec.eos}, {"unk_token", &spec.unknown}}) {
    for (const json* settings : {&config, &special_map}) {
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
