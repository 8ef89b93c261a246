#include "format/config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "core/byte_reader.h"
#include "core/fail.h"
#include "core/folder.h"
#include "core/json.h"
#include "format/messages.h"
#include "format/sniff.h"

namespace moxie {
namespace {

constexpr uint64_t kConfigBytesMax = uint64_t{16} << 20;
constexpr uint64_t kTokenizerBytesMax = uint64_t{64} << 20;
constexpr size_t kConfigDepthMax = 32;
constexpr size_t kConfigValuesMax = 1'000'000;
constexpr size_t kKeyBytesMax = 4096;

constexpr std::array<std::string_view, 9> kTokenizerFiles = {
    "tokenizer.json",    "tokenizer.model",         "tokenizer_config.json",
    "added_tokens.json", "special_tokens_map.json", "generation_config.json",
    "tekken.json",       "chat_template.jinja",     "chat_template.json",
};

template <typename T>
std::optional<std::vector<T>> all_of_kind(const Json::Array& array) {
  std::vector<T> values;
  for (const Json& item : array) {
    const T* value = item.get_if<T>();
    if (value == nullptr) return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

std::optional<std::vector<double>> all_numbers(const Json::Array& array) {
  std::vector<double> values;
  for (const Json& item : array) {
    if (const auto* whole = item.get_if<int64_t>()) {
      values.push_back(static_cast<double>(*whole));
    } else if (const auto* natural = item.get_if<uint64_t>()) {
      values.push_back(static_cast<double>(*natural));
    } else if (const auto* real = item.get_if<double>()) {
      values.push_back(*real);
    } else {
      return std::nullopt;
    }
  }
  return values;
}

MetadataValue array_value(const Json& json) {
  const Json::Array& array = *json.array();
  if (auto whole = all_of_kind<int64_t>(array)) return std::move(*whole);
  if (auto numbers = all_numbers(array)) return std::move(*numbers);
  if (auto texts = all_of_kind<std::string>(array)) return std::move(*texts);
  if (auto flags = all_of_kind<bool>(array)) return std::move(*flags);
  return to_text(json);
}

// Depth is bounded by the parser.
Result<void> flatten(const Json& json, const std::string& key, std::string_view what, Metadata& into) {
  if (key.size() > kKeyBytesMax) {
    return fail(ErrorCode::corrupt, "{}: a key is longer than {} bytes; correct the file or download it again", what,
                kKeyBytesMax);
  }
  if (const Json::Object* members = json.object()) {
    for (const JsonMember& member : *members) {
      MOXIE_TRY_VOID(flatten(member.value, key.empty() ? member.key : key + "." + member.key, what, into));
    }
    return {};
  }
  if (json.is_null()) return {};
  if (json.array() != nullptr) {
    into.set(key, array_value(json));
  } else if (const auto* flag = json.get_if<bool>()) {
    into.set(key, *flag);
  } else if (const auto* whole = json.get_if<int64_t>()) {
    into.set(key, *whole);
  } else if (const auto* natural = json.get_if<uint64_t>()) {
    into.set(key, *natural);
  } else if (const auto* real = json.get_if<double>()) {
    into.set(key, *real);
  } else {
    into.set(key, *json.text());
  }
  return {};
}

Result<std::string> read_side_file(const std::string& folder, std::string_view name, uint64_t limit) {
  const std::string path = join_path(folder, name);
  MOXIE_TRY_VOID(check_exists(path));
  MOXIE_TRY(std::string text, read_text_file(path, limit));
  // Git without LFS leaves pointers in place of tokenizer.model and the like.
  if (auto error = diagnose_bytes(path, std::string_view(text).substr(0, kSniffBytes), text.size()))
    return std::move(*error);
  return text;
}

// "tokenizer.model.v3" where there is no plain tokenizer.model: the highest version.
std::string versioned_tokenizer(const std::vector<std::string>& names) {
  constexpr std::string_view kPrefix = "tokenizer.model.v";
  std::string best;
  int best_version = -1;
  for (const std::string& name : names) {
    int version = 0;
    if (!name.starts_with(kPrefix)) continue;
    const auto [end, error] = std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), version);
    if (error == std::errc() && version > best_version) {
      best_version = version;
      best = name;
    }
  }
  return best;
}

void add_end_ids(const Metadata& config, std::vector<int64_t>& ids) {
  for (const int64_t id : config.integers("eos_token_id").value_or(std::vector<int64_t>{})) {
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
}

Result<void> read_named_templates(const std::string& folder, TokenizerSource& source) {
  const std::string templates = join_path(folder, "additional_chat_templates");
  if (!is_folder(templates)) return {};
  MOXIE_TRY(const std::vector<std::string> names, list_files(templates));
  constexpr std::string_view kEnding = ".jinja";
  for (const std::string& name : names) {
    if (!name.ends_with(kEnding) || name.size() == kEnding.size()) continue;
    MOXIE_TRY(source.chat_templates[name.substr(0, name.size() - kEnding.size())],
              read_side_file(templates, name, kConfigBytesMax));
  }
  return {};
}

// A template by itself, or a list of them with names, of which "default" is the one to take unasked.
void add_templates(const Json& found, TokenizerSource& source) {
  if (const std::string* text = found.text()) source.chat_templates.try_emplace("", *text);
  const Json::Array* list = found.array();
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    const Json *name = (*list)[i].find("name"), *content = (*list)[i].find("template");
    if (name == nullptr || content == nullptr || name->text() == nullptr || content->text() == nullptr) continue;
    source.chat_templates.try_emplace(*name->text() == "default" ? "" : *name->text(), *content->text());
  }
}

// From the files of their own first, which newer tools write, then from the configuration of the tokenizer.
Result<void> read_templates(const std::string& folder, TokenizerSource& source) {
  MOXIE_TRY_VOID(read_named_templates(folder, source));
  if (const auto plain = source.files.find("chat_template.jinja"); plain != source.files.end()) {
    source.chat_templates[""] = plain->second;
  }
  for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
    const auto file = source.files.find(name);
    if (file == source.files.end()) continue;
    auto json = parse_json(file->second, join_path(folder, name));
    if (!json.ok()) return add_remedy(std::move(json).error(), "correct the file or download it again");
    if (const Json* found = json->find("chat_template")) add_templates(*found, source);
  }
  return {};
}

}  // namespace

Result<Metadata> parse_config(std::string_view text, std::string_view what) {
  const JsonLimits limits{.bytes_max = kConfigBytesMax, .depth_max = kConfigDepthMax, .values_max = kConfigValuesMax};
  constexpr std::string_view kRemedy = "correct the file or download it again";
  auto json = parse_json(text, what, limits);
  if (!json.ok()) {
    return diagnosed({.code = "damaged-config", .found = "no valid JSON", .expected = "an object"},
                     add_remedy(std::move(json).error(), kRemedy));
  }
  if (json->object() == nullptr)
    return fail(Diagnosis{.code = "damaged-config", .found = "JSON of another kind", .expected = "an object"},
                ErrorCode::corrupt, "{}: is no JSON object; {}", what, kRemedy);
  Metadata config;
  MOXIE_TRY_VOID(flatten(*json, "", what, config));
  return config;
}

Result<std::string> read_config(const std::string& folder) {
  const std::string path = join_path(folder, "config.json");
  if (!is_file(path) && !is_broken_link(path)) {
    return fail(
        Diagnosis{.code = "no-config", .found = "no config.json", .expected = "config.json beside the safetensors"},
        ErrorCode::not_found,
        "{}: config.json is missing; safetensors hold only tensors, the model's family and sizes stand there: "
        "download it into the "
        "same folder",
        folder);
  }
  return read_side_file(folder, "config.json", kConfigBytesMax);
}

Result<TokenizerSource> read_tokenizer_files(const std::string& folder, const Metadata& config) {
  TokenizerSource source;
  MOXIE_TRY(const std::vector<std::string> names, list_files(folder));
  for (const std::string_view name : kTokenizerFiles) {
    if (!std::binary_search(names.begin(), names.end(), name)) continue;
    MOXIE_TRY(source.files[std::string(name)], read_side_file(folder, name, kTokenizerBytesMax));
  }
  if (const std::string versioned = versioned_tokenizer(names);
      !versioned.empty() && !source.files.contains("tokenizer.model")) {
    MOXIE_TRY(source.files["tokenizer.model"], read_side_file(folder, versioned, kTokenizerBytesMax));
  }
  MOXIE_TRY_VOID(read_templates(folder, source));
  MOXIE_TRY_VOID(add_configured_tokens(config, folder, source));
  return source;
}

Result<void> add_configured_tokens(const Metadata& config, const std::string& folder, TokenizerSource& source) {
  source.configured_vocab_size =
      config.integer("vocab_size").value_or(config.integer("text_config.vocab_size").value_or(0));
  add_end_ids(config, source.configured_eos_ids);
  if (const auto generation = source.files.find("generation_config.json"); generation != source.files.end()) {
    MOXIE_TRY(const Metadata values, parse_config(generation->second, join_path(folder, "generation_config.json")));
    add_end_ids(values, source.configured_eos_ids);
  }
  return {};
}

}  // namespace moxie
