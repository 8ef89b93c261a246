// tokenizer.json of Hugging Face: a BPE model and the steps around it, read as a TokenizerSpec. What is not known is refused by
// name, never skipped.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/fail.h"
#include "text/huggingface_json.h"
#include "text/token_table.h"
#include "text/tokenizer_spec.h"

namespace moxie {
namespace {

using nlohmann::json;

constexpr size_t kIdGapsMax = 1 << 16;  // ids that no token has

const json& member(const json& object, const char* name) {
  static const json null;
  if (!object.is_object()) return null;
  const auto found = object.find(name);
  return found == object.end() ? null : *found;
}
std::string text_of(const json& object, const char* name, std::string otherwise = {}) {
  const json& value = member(object, name);
  return value.is_string() ? value.get_ref<const std::string&>() : std::move(otherwise);
}
bool flag_of(const json& object, const char* name, bool otherwise) {
  const json& value = member(object, name);
  return value.is_boolean() ? value.get<bool>() : otherwise;
}

Result<void> read_vocabulary(const TokenizerJson& file, TokenizerSpec& spec) {
  const size_t ids_max = file.vocabulary.size() + kIdGapsMax;
  size_t size = 0;
  for (const auto& [text, id] : file.vocabulary) {
    if (id < 0 || static_cast<size_t>(id) >= ids_max) {
      return fail(ErrorCode::corrupt, "tokenizer.json: token '{}' has id {}, the vocabulary has {} tokens", text.substr(0, 80), id,
                  file.vocabulary.size());
    }
    size = std::max(size, static_cast<size_t>(id) + 1);
  }
  spec.texts.resize(size);
  spec.kinds.assign(size, TokenKind::unused);
  for (const auto& [text, id] : file.vocabulary) {
    spec.texts[static_cast<size_t>(id)] = text;
    spec.kinds[static_cast<size_t>(id)] =
        spec.byte_fallback && byte_token_value(text) >= 0 ? TokenKind::byte : TokenKind::normal;
  }
  return {};
}

// Merges whose parts or whole are no tokens can never apply; they are counted, not kept.
void read_merges(const TokenizerJson& file, TokenizerSpec& spec) {
  TokenTable table;
  table.reserve(spec.texts.size());
  for (size_t i = 0; i < spec.texts.size(); ++i) table.insert(spec.texts[i], static_cast<int32_t>(i));
  spec.merges.reserve(file.merges.size());
  std::string whole;
  size_t dropped = 0;
  for (const auto& [left, right] : file.merges) {
    whole.assign(left).append(right);
    const MergeRule rule = {table.find(left), table.find(right), table.find(whole)};
    if (rule.left < 0 || rule.right < 0 || rule.result < 0) {
      ++dropped;
    } else {
      spec.merges.push_back(rule);
    }
  }
  if (dropped > 0) {
    spec.notices.push_back(fmt::format("{} of {} merges name texts that are no tokens; they are ignored", dropped, file.merges.size()));
  }
}

Result<void> read_model(const TokenizerJson& file, TokenizerSpec& spec) {
  const json& model = member(file.rest, "model");
  const std::string type = text_of(model, "type", "BPE");  // old files name no type
  if (type != "BPE") {
    return fail(ErrorCode::unsupported, "tokenizer.json: the model is '{}'; moxie reads BPE", type);
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!text_of(model, name).empty()) {
      return fail(ErrorCode::unsupported, "tokenizer.json: model.{} '{}' is not supported", name, text_of(model, name));
    }
  }
  if (file.vocabulary.empty()) return fail(ErrorCode::corrupt, "tokenizer.json: model.vocab is missing or empty");
  spec.byte_fallback = flag_of(model, "byte_fallback", false);
  spec.fuse_unknown = flag_of(model, "fuse_unk", false);
  spec.ignore_merges = flag_of(model, "ignore_merges", false);
  MOXIE_TRY_VOID(read_vocabulary(file, spec));
  read_merges(file, spec);
  if (const std::string unknown = text_of(model, "unk_token"); !unknown.empty()) {
    const auto found = std::find(spec.texts.begin(), spec.texts.end(), unknown);
    if (found != spec.texts.end()) {
      spec.unknown = static_cast<int32_t>(found - spec.texts.begin());
      spec.kinds[static_cast<size_t>(spec.unknown)] = TokenKind::unknown;
    }
  }
  return {};
}

Result<void> read_added(const TokenizerJson& file, TokenizerSpec& spec) {
  const json& list = member(file.rest, "added_tokens");
  if (!list.is_array()) return {};
  const size_t ids_max = spec.texts.size() + list.size() + kIdGapsMax;
  for (const json& entry : list) {
    const json& id = member(entry, "id");
    const std::string content = text_of(entry, "content");
    if (!id.is_number_integer() || content.empty()) {
      return fail(ErrorCode::corrupt, "tokenizer.json: an added token without id or content");
    }
    const int64_t number = id.get<int64_t>();
    MOXIE_TRY_VOID(add_token(spec,
                             {.content = content,
                              .id = number < 0 || number > INT32_MAX ? -1 : static_cast<int32_t>(number),
                              .special = flag_of(entry, "special", false),
                              .lstrip = flag_of(entry, "lstrip", false),
                              .rstrip = flag_of(entry, "rstrip", false),
                              .single_word = flag_of(entry, "single_word", false),
                              .normalized = flag_of(entry, "normalized", !flag_of(entry, "special", false))},
                             ids_max));
  }
  return {};
}

// A pattern is {"String": text} or {"Regex": expression}.
Result<void> read_replace(const json& step, TokenizerSpec& spec) {
  const json& pattern = member(step, "pattern");
  if (const json& text = member(pattern, "String"); text.is_string()) {
    spec.normalizers.emplace_back(ReplaceText{text.get<std::string>(), text_of(step, "content")});
    return {};
  }
  if (const json& regex = member(pattern, "Regex"); regex.is_string()) {
    spec.normalizers.emplace_back(ReplaceRegex{regex.get<std::string>(), text_of(step, "content")});
    return {};
  }
  return fail(ErrorCode::corrupt, "tokenizer.json: a Replace step without a pattern");
}

Result<void> read_normalizer(const json& step, TokenizerSpec& spec) {
  if (step.is_null()) return {};
  const std::string type = text_of(step, "type");
  if (type == "Sequence") {
    const json& list = member(step, "normalizers");
    for (const json& inner : list.is_array() ? list : json::array()) MOXIE_TRY_VOID(read_normalizer(inner, spec));
    return {};
  }
  if (type == "Replace") return read_replace(step, spec);
  static constexpr std::pair<std::string_view, UnicodeForm> kForms[] = {
      {"NFC", UnicodeForm::nfc},   {"NFD", UnicodeForm::nfd},             {"NFKC", UnicodeForm::nfkc},
      {"NFKD", UnicodeForm::nfkd}, {"Lowercase", UnicodeForm::lowercase}, {"StripAccents", UnicodeForm::strip_accents}};
  for (const auto& [name, form] : kForms) {
    if (type != name) continue;
    spec.normalizers.emplace_back(form);
    return {};
  }
  if (type == "Prepend") {
    spec.normalizers.emplace_back(PrependText{text_of(step, "prepend")});
  } else if (type == "Strip") {
    spec.normalizers.emplace_back(StripSpaces{flag_of(step, "strip_left", true), flag_of(step, "strip_right", true)});
  } else {
    return fail(ErrorCode::unsupported, "tokenizer.json: normalizer '{}' is not supported", type);
  }
  return {};
}

Result<void> read_metaspace(const json& step, TokenizerSpec& spec) {
  Metaspace metaspace;
  metaspace.mark = text_of(step, "replacement", std::string(kSpaceMark));
  metaspace.split = flag_of(step, "split", true);
  if (metaspace.mark.empty()) return fail(ErrorCode::corrupt, "tokenizer.json: Metaspace with an empty replacement");
  // Old files have the flag add_prefix_space in place of prepend_scheme.
  const std::string scheme = text_of(step, "prepend_scheme", flag_of(step, "add_prefix_space", true) ? "always" : "never");
  if (scheme == "always") {
    metaspace.prepend = Metaspace::Prepend::always;
  } else if (scheme == "first") {
    metaspace.prepend = Metaspace::Prepend::first;
  } else if (scheme == "never") {
    metaspace.prepend = Metaspace::Prepend::never;
  } else {
    return fail(ErrorCode::unsupported, "tokenizer.json: prepend_scheme '{}' is none of always, first, never", scheme);
  }
  spec.pre_tokenizers.push_back(std::move(metaspace));
  return {};
}

Result<void> read_pre_tokenizer(const json& step, TokenizerSpec& spec) {
  if (step.is_null()) return {};
  const std::string type = text_of(step, "type");
  if (type == "Sequence") {
    const json& list = member(step, "pretokenizers");
    for (const json& inner : list.is_array() ? list : json::array()) MOXIE_TRY_VOID(read_pre_tokenizer(inner, spec));
    return {};
  }
  if (type == "Metaspace") return read_metaspace(step, spec);
  return fail(ErrorCode::unsupported, "tokenizer.json: pre-tokenizer '{}' is not supported", type);
}

int32_t id_of_special(const json& post, const std::string& name) {
  const json& ids = member(member(member(post, "special_tokens"), name.c_str()), "ids");
  return ids.is_array() && ids.size() == 1 && ids[0].is_number_integer() && ids[0].get<int64_t>() >= 0 &&
                 ids[0].get<int64_t>() <= INT32_MAX
             ? static_cast<int32_t>(ids[0].get<int64_t>())
             : -1;
}

// Where BOS and EOS go: what the template puts before and behind the text.
Result<void> read_post_processor(const json& post, TokenizerSpec& spec) {
  const std::string type = text_of(post, "type");
  if (type == "Sequence") {
    const json& list = member(post, "processors");
    for (const json& inner : list.is_array() ? list : json::array()) MOXIE_TRY_VOID(read_post_processor(inner, spec));
    return {};
  }
  if (type != "TemplateProcessing") return {};  // ByteLevel changes offsets only
  const json& single = member(post, "single");
  bool behind = false;
  for (const json& part : single.is_array() ? single : json::array()) {
    if (!member(part, "Sequence").is_null()) behind = true;
    const json& special = member(part, "SpecialToken");
    if (special.is_null()) continue;
    const int32_t id = id_of_special(post, text_of(special, "id"));
    if (id < 0 || id >= spec.size()) {
      return fail(ErrorCode::corrupt, "tokenizer.json: post_processor names token '{}', which has no id in the vocabulary",
                  text_of(special, "id").substr(0, 80));
    }
    (behind ? spec.suffix : spec.prefix).push_back(id);
  }
  return {};
}

// Does decoding drop the space at the very start?
bool strips_start(const json& decoder) {
  const std::string type = text_of(decoder, "type");
  if (type == "Metaspace") return text_of(decoder, "prepend_scheme", "always") != "never" && flag_of(decoder, "add_prefix_space", true);
  if (type == "Strip") {
    const json& start = member(decoder, "start");
    return start.is_number_integer() && start.get<int64_t>() > 0;
  }
  const json& list = member(decoder, "decoders");
  return list.is_array() && std::any_of(list.begin(), list.end(), strips_start);
}

}  // namespace

Result<TokenizerSpec> read_huggingface_tokenizer(std::string_view tokenizer_json) {
  MOXIE_TRY(const TokenizerJson file, parse_tokenizer_json(tokenizer_json));
  TokenizerSpec spec;
  MOXIE_TRY_VOID(read_model(file, spec));
  MOXIE_TRY_VOID(read_added(file, spec));
  MOXIE_TRY_VOID(read_normalizer(member(file.rest, "normalizer"), spec));
  MOXIE_TRY_VOID(read_pre_tokenizer(member(file.rest, "pre_tokenizer"), spec));
  MOXIE_TRY_VOID(read_post_processor(member(file.rest, "post_processor"), spec));
  spec.strip_leading_space = strips_start(member(file.rest, "decoder"));
  spec.scheme = "sentencepiece bpe";
  return spec;
}

}  // namespace moxie
