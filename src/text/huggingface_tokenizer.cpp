// tokenizer.json of Hugging Face: a BPE model and the steps around it, read as a TokenizerSpec. What is not known is
// refused by name, never skipped.
#include <algorithm>

#include "core/fail.h"
#include "core/json.h"
#include "text/json_fields.h"
#include "text/pre_tokenizers.h"
#include "text/tokenizer_spec.h"

namespace moxie {
namespace {

// Ids that no token has: enough for real files, few enough that a small file cannot ask for much memory.
Result<void> read_vocabulary(const Json::Object& vocabulary, TokenizerSpec& spec) {
  const size_t ids_max = vocabulary.size() + kIdGapsMax;
  size_t size = 0;
  for (const auto& [text, value] : vocabulary) {
    const int64_t id = value.integer().value_or(-1);
    if (id < 0 || static_cast<size_t>(id) >= ids_max) {
      return fail(ErrorCode::corrupt,
                  "tokenizer.json: token '{}' has no id between 0 and {} (the vocabulary has {} tokens)",
                  text.substr(0, 80), ids_max - 1, vocabulary.size());
    }
    size = std::max(size, static_cast<size_t>(id) + 1);
  }
  spec.texts.resize(size);
  spec.kinds.assign(size, TokenKind::unused);
  for (const auto& [text, value] : vocabulary) {
    const size_t id = static_cast<size_t>(*value.integer());
    spec.texts[id] = text;
    spec.kinds[id] = spec.byte_fallback && byte_token_value(text) >= 0 ? TokenKind::byte : TokenKind::normal;
  }
  return {};
}

// A merge is "a b" or, in newer files, ["a", "b"].
Result<void> read_merges(const Json& list, TokenizerSpec& spec) {
  const Json::Array* merges = list.array();
  if (merges == nullptr) return fail(ErrorCode::corrupt, "tokenizer.json: model.merges is no list");
  MergeReader reader(spec);
  spec.merges.reserve(merges->size());
  for (const Json& merge : *merges) {
    if (const std::string* text = merge.text()) {
      const size_t space = text->find(' ', 1);
      if (space != std::string::npos) {
        reader.add(std::string_view(*text).substr(0, space), std::string_view(*text).substr(space + 1));
        continue;
      }
    }
    const Json::Array* parts = merge.array();
    if (parts == nullptr || parts->size() != 2 || !(*parts)[0].text() || !(*parts)[1].text()) {
      return fail(ErrorCode::corrupt, "tokenizer.json: an entry of model.merges is not two tokens");
    }
    reader.add(*(*parts)[0].text(), *(*parts)[1].text());
  }
  reader.finish();
  return {};
}

Result<void> read_model(const Json& model, TokenizerSpec& spec) {
  const std::string type = text_field(model, "type", "BPE");  // old files name no type
  if (type != "BPE") {
    return fail(ErrorCode::unsupported, "tokenizer.json: the model is '{}'; moxie reads BPE", type.substr(0, 80));
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (const std::string value = text_field(model, name); !value.empty()) {
      return fail(ErrorCode::unsupported, "tokenizer.json: model.{} '{}' is not supported", name, value.substr(0, 80));
    }
  }
  const Json* vocabulary = model.find("vocab");
  if (vocabulary == nullptr || vocabulary->object() == nullptr || vocabulary->object()->empty()) {
    return fail(ErrorCode::corrupt, "tokenizer.json: model.vocab is missing or empty");
  }
  spec.byte_fallback = flag_field(model, "byte_fallback", false);
  spec.fuse_unknown = flag_field(model, "fuse_unk", false);
  spec.ignore_merges = flag_field(model, "ignore_merges", false);
  MOXIE_TRY_VOID(read_vocabulary(*vocabulary->object(), spec));
  if (const Json* merges = model.find("merges")) MOXIE_TRY_VOID(read_merges(*merges, spec));
  if (const std::string unknown = text_field(model, "unk_token"); !unknown.empty()) {
    const auto found = std::find(spec.texts.begin(), spec.texts.end(), unknown);
    if (found != spec.texts.end()) {
      spec.unknown = static_cast<int32_t>(found - spec.texts.begin());
      spec.kinds[static_cast<size_t>(spec.unknown)] = TokenKind::unknown;
    }
  }
  return {};
}

Result<void> read_added(const Json& list, TokenizerSpec& spec) {
  const Json::Array* entries = list.array();
  if (entries == nullptr) return {};
  const size_t ids_max = spec.texts.size() + entries->size() + kIdGapsMax;
  for (const Json& entry : *entries) {
    MOXIE_TRY(AddedToken token, read_added_token(entry, "tokenizer.json: added_tokens", id_field(entry, "id")));
    MOXIE_TRY_VOID(add_token(spec, std::move(token), ids_max));
  }
  return {};
}

// A pattern is {"String": text} or {"Regex": expression}.
struct Pattern {
  std::string text;
  bool is_regex = false;
};

Result<Pattern> read_pattern(const Json& step) {
  const Json* pattern = step.find("pattern");
  for (const char* kind : {"String", "Regex"}) {
    const Json* text = pattern ? pattern->find(kind) : nullptr;
    if (text && text->text()) return Pattern{*text->text(), std::string_view(kind) == "Regex"};
  }
  return fail(ErrorCode::corrupt, "tokenizer.json: a {} step without a pattern",
              text_field(step, "type").substr(0, 40));
}

std::string quoted(std::string_view literal) {
  std::string pattern;
  for (const char c : literal) {
    if (std::string_view("\\^$.[]|()?*+{}-&").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

// Reads a step, or each of a sequence of them.
template <typename Read>
Result<void> each_step(const Json& step, const char* list_name, TokenizerSpec& spec, Read read) {
  if (step.is_null()) return {};
  if (text_field(step, "type") != "Sequence") return read(step, spec);
  const Json* list = step.find(list_name);
  if (list == nullptr || list->array() == nullptr) {
    return fail(ErrorCode::corrupt, "tokenizer.json: a Sequence without {}", list_name);
  }
  // Depth is bounded by the JSON reader.
  for (const Json& inner : *list->array()) MOXIE_TRY_VOID(each_step(inner, list_name, spec, read));
  return {};
}

Result<void> read_normalizer(const Json& step, TokenizerSpec& spec) {
  static constexpr std::pair<std::string_view, UnicodeForm> kForms[] = {{"NFC", UnicodeForm::nfc},
                                                                        {"NFD", UnicodeForm::nfd},
                                                                        {"NFKC", UnicodeForm::nfkc},
                                                                        {"NFKD", UnicodeForm::nfkd},
                                                                        {"Lowercase", UnicodeForm::lowercase},
                                                                        {"StripAccents", UnicodeForm::strip_accents}};
  const std::string type = text_field(step, "type");
  for (const auto& [name, form] : kForms) {
    if (type != name) continue;
    spec.normalizers.emplace_back(form);
    return {};
  }
  if (type == "Replace") {
    MOXIE_TRY(const Pattern pattern, read_pattern(step));
    const std::string content = text_field(step, "content");
    if (pattern.is_regex) {
      spec.normalizers.emplace_back(ReplaceRegex{pattern.text, content});
    } else {
      spec.normalizers.emplace_back(ReplaceText{pattern.text, content});
    }
  } else if (type == "Prepend") {
    spec.normalizers.emplace_back(PrependText{text_field(step, "prepend")});
  } else if (type == "Strip") {
    spec.normalizers.emplace_back(
        StripSpaces{flag_field(step, "strip_left", true), flag_field(step, "strip_right", true)});
  } else {
    return fail(ErrorCode::unsupported, "tokenizer.json: normalizer '{}' is not supported", type.substr(0, 80));
  }
  return {};
}

Result<void> read_metaspace(const Json& step, TokenizerSpec& spec) {
  Metaspace metaspace;
  metaspace.mark = text_field(step, "replacement", std::string(kSpaceMark));
  metaspace.split = flag_field(step, "split", true);
  if (metaspace.mark.empty()) return fail(ErrorCode::corrupt, "tokenizer.json: Metaspace with an empty replacement");
  // Old files have the flag add_prefix_space in place of prepend_scheme.
  const std::string scheme =
      text_field(step, "prepend_scheme", flag_field(step, "add_prefix_space", true) ? "always" : "never");
  if (scheme == "always") {
    metaspace.prepend = Metaspace::Prepend::always;
  } else if (scheme == "first") {
    metaspace.prepend = Metaspace::Prepend::first;
  } else if (scheme == "never") {
    metaspace.prepend = Metaspace::Prepend::never;
  } else {
    return fail(ErrorCode::unsupported, "tokenizer.json: prepend_scheme '{}' is none of always, first, never",
                scheme.substr(0, 40));
  }
  spec.pre_tokenizers.emplace_back(std::move(metaspace));
  return {};
}

Result<SplitBehavior> read_behavior(const Json& step, std::string otherwise) {
  static constexpr std::pair<std::string_view, SplitBehavior> kBehaviors[] = {
      {"Removed", SplitBehavior::removed},
      {"Isolated", SplitBehavior::isolated},
      {"MergedWithPrevious", SplitBehavior::merged_with_previous},
      {"MergedWithNext", SplitBehavior::merged_with_next},
      {"Contiguous", SplitBehavior::contiguous}};
  const std::string name = text_field(step, "behavior", std::move(otherwise));
  for (const auto& [known, behavior] : kBehaviors) {
    if (name == known) return behavior;
  }
  return fail(ErrorCode::unsupported, "tokenizer.json: split behavior '{}' is not supported", name.substr(0, 80));
}

Result<void> read_pre_tokenizer(const Json& step, TokenizerSpec& spec) {
  const std::string type = text_field(step, "type");
  const auto split = [&spec](std::string_view pattern, SplitBehavior behavior, bool invert) {
    spec.pre_tokenizers.emplace_back(SplitRegex{std::string(pattern), behavior, invert});
  };
  if (type == "Metaspace") return read_metaspace(step, spec);
  if (type == "Split") {
    MOXIE_TRY(const Pattern pattern, read_pattern(step));
    MOXIE_TRY(const SplitBehavior behavior, read_behavior(step, "Isolated"));
    split(pattern.is_regex ? pattern.text : quoted(pattern.text), behavior, flag_field(step, "invert", false));
  } else if (type == "ByteLevel") {
    spec.byte_level = spec.byte_symbols = true;
    if (flag_field(step, "add_prefix_space", true)) spec.pre_tokenizers.emplace_back(PrependSpace{});
    if (flag_field(step, "use_regex", true)) split(kGpt2Pattern, SplitBehavior::isolated, false);
  } else if (type == "Digits") {
    const bool each = flag_field(step, "individual_digits", false);
    split("\\p{N}", each ? SplitBehavior::isolated : SplitBehavior::contiguous, false);
  } else if (type == "Punctuation") {
    MOXIE_TRY(const SplitBehavior behavior, read_behavior(step, "Isolated"));
    split(R"([\p{P}$+<=>^`|~])", behavior, false);
  } else if (type == "Whitespace") {
    split(R"(\w+|[^\w\s]+)", SplitBehavior::removed, true);
  } else if (type == "WhitespaceSplit") {
    split(R"(\s)", SplitBehavior::removed, false);
  } else {
    return fail(ErrorCode::unsupported, "tokenizer.json: pre-tokenizer '{}' is not supported", type.substr(0, 80));
  }
  return {};
}

// Where BOS and EOS go: what the template puts before and behind the text.
Result<void> read_post_processor(const Json& post, TokenizerSpec& spec) {
  if (text_field(post, "type") != "TemplateProcessing") return {};  // ByteLevel only moves offsets
  const Json* single = post.find("single");
  const Json* specials = post.find("special_tokens");
  if (single == nullptr || single->array() == nullptr) return {};
  bool behind = false;
  for (const Json& part : *single->array()) {
    if (part.find("Sequence") != nullptr) behind = true;
    const Json* special = part.find("SpecialToken");
    if (special == nullptr) continue;
    const std::string name = text_field(*special, "id");
    const Json* entry = specials ? specials->find(name) : nullptr;
    const Json* ids = entry ? entry->find("ids") : nullptr;
    const bool one = ids && ids->array() && ids->array()->size() == 1;
    const int64_t id = one ? ids->array()->front().integer().value_or(-1) : -1;
    if (id < 0 || id >= spec.size()) {
      return fail(ErrorCode::corrupt,
                  "tokenizer.json: post_processor names token '{}', which has no id in the vocabulary",
                  name.substr(0, 80));
    }
    (behind ? spec.suffix : spec.prefix).push_back(static_cast<int32_t>(id));
  }
  return {};
}

// Does decoding drop the space at the very start?
Result<void> read_decoder(const Json& decoder, TokenizerSpec& spec) {
  const std::string type = text_field(decoder, "type");
  if (type == "Metaspace") {
    spec.strip_leading_space =
        text_field(decoder, "prepend_scheme", "always") != "never" && flag_field(decoder, "add_prefix_space", true);
  } else if (type == "Strip") {
    const Json* start = decoder.find("start");
    if (start && start->integer().value_or(0) > 0) spec.strip_leading_space = true;
  }
  return {};
}

}  // namespace

Result<TokenizerSpec> read_huggingface_tokenizer(std::string_view tokenizer_json) {
  MOXIE_TRY(const Json file, parse_json(tokenizer_json, "tokenizer.json"));
  const Json null;
  const auto part = [&](const char* name) -> const Json& {
    const Json* found = file.find(name);
    return found ? *found : null;
  };
  TokenizerSpec spec;
  MOXIE_TRY_VOID(read_model(part("model"), spec));
  MOXIE_TRY_VOID(read_added(part("added_tokens"), spec));
  MOXIE_TRY_VOID(each_step(part("normalizer"), "normalizers", spec, read_normalizer));
  MOXIE_TRY_VOID(each_step(part("pre_tokenizer"), "pretokenizers", spec, read_pre_tokenizer));
  MOXIE_TRY_VOID(each_step(part("post_processor"), "processors", spec, read_post_processor));
  MOXIE_TRY_VOID(each_step(part("decoder"), "decoders", spec, read_decoder));
  spec.scheme = spec.byte_level ? "byte-level bpe" : "sentencepiece bpe";
  return spec;
}

}  // namespace moxie
