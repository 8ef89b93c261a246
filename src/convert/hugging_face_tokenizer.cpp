#include "convert/hugging_face_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "text/pre_tokenizers.h"
#include "text/tokenizer_spec.h"
#include "text/utf8.h"

namespace moxie {
namespace {

using Json = nlohmann::json;  // sorted: the ordered one looks through all keys for each that is added

// Kinds of tokens, which are numbered alike in GGUF and SentencePiece.
constexpr int32_t kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6;

int32_t kind(const GgufVocabulary& vocabulary, size_t id) {
  return vocabulary.types.empty() ? kNormal : vocabulary.types[id];
}

int64_t special(const GgufVocabulary& vocabulary, const char* name) {
  const auto found = vocabulary.special_ids.find(name);
  return found == vocabulary.special_ids.end() || found->second >= std::ssize(vocabulary.tokens) ? -1 : found->second;
}

// ---- SentencePiece: a message of the protocol buffers' wire form ----

void put_varint(std::string& to, uint64_t value) {
  for (; value >= 0x80; value >>= 7) to += static_cast<char>(value | 0x80);
  to += static_cast<char>(value);
}
void put_number(std::string& to, uint32_t field, int64_t value) {
  put_varint(to, uint64_t{field} << 3);
  put_varint(to, static_cast<uint64_t>(value));
}
void put_bytes(std::string& to, uint32_t field, std::string_view bytes) {
  put_varint(to, uint64_t{field} << 3 | 2);
  put_varint(to, bytes.size());
  to += bytes;
}
void put_float(std::string& to, uint32_t field, float value) {
  put_varint(to, uint64_t{field} << 3 | 5);
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  to.append(bytes, sizeof value);
}

// Field numbers are those of sentencepiece_model.proto.
std::string sentencepiece_model(const GgufVocabulary& vocabulary) {
  constexpr uint32_t kPieces = 1, kTrainer = 2, kNormalizer = 3;
  constexpr int64_t kBpe = 2;
  std::string model;
  bool bytes = false;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    std::string piece;
    put_bytes(piece, 1, vocabulary.tokens[id]);
    put_float(piece, 2, vocabulary.scores.empty() ? 0.0f : vocabulary.scores[id]);
    put_number(piece, 3, kind(vocabulary, id));
    put_bytes(model, kPieces, piece);
    bytes = bytes || kind(vocabulary, id) == kByte;
  }
  std::string trainer, normalizer;
  put_number(trainer, 3, kBpe);
  put_number(trainer, 4, static_cast<int64_t>(vocabulary.tokens.size()));
  if (bytes) put_number(trainer, 35, 1);
  for (const auto& [field, name] : {std::pair{40u, "unknown"}, {41u, "bos"}, {42u, "eos"}, {43u, "padding"}})
    put_number(trainer, field, special(vocabulary, name));
  put_bytes(model, kTrainer, trainer);
  put_bytes(normalizer, 1, "identity");
  put_number(normalizer, 3, vocabulary.add_space_prefix.value_or(true) ? 1 : 0);
  put_number(normalizer, 4, 0);
  put_number(normalizer, 5, 1);
  put_bytes(model, kNormalizer, normalizer);
  return model;
}

// ---- byte-level ----

Json added_token(size_t id, const std::string& text, bool is_special) {
  return {{"id", id},        {"content", text},     {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", is_special}};
}

// Byte-level first splits by patterns, then spells by bytes.
Json pre_tokenizer(const PreTokenizerEntry& entry) {
  Json steps = Json::array();
  for (const std::string_view pattern : entry.patterns) {
    steps.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  }
  steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}});
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

Json post_processor(const GgufVocabulary& vocabulary, bool adds_bos) {
  const int64_t bos = special(vocabulary, "bos");
  if (!adds_bos || bos < 0) return nullptr;
  const std::string& text = vocabulary.tokens[static_cast<size_t>(bos)];
  const auto start = [&](int type) { return Json{{"SpecialToken", {{"id", text}, {"type_id", type}}}}; };
  const auto sequence = [](const char* name, int type) {
    return Json{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  Json single = Json::array({start(0), sequence("A", 0)});
  Json pair = Json::array({start(0), sequence("A", 0), start(1), sequence("B", 1)});
  Json token;
  token[text] = {{"id", text}, {"ids", Json::array({bos})}, {"tokens", Json::array({text})}};
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", token}};
}

bool all_valid(const GgufVocabulary& vocabulary) {
  for (const std::string& token : vocabulary.tokens) {
    for (size_t at = 0; at < token.size();) {
      const Utf8Char next = utf8_at(token, at);
      if (!next.valid) return false;
      at += next.bytes;
    }
  }
  return true;
}

// What the kinds of tokenizer have in common: the vocabulary, and the tokens that are cut out of a text first.
struct Tokens {
  Json added = Json::array(), vocabulary = Json::object();
};

Tokens tokens_of(const GgufVocabulary& vocabulary, bool with_unused) {
  Tokens tokens;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const int32_t type = kind(vocabulary, id);
    if (type == kUnused && !with_unused) continue;
    if (type == kControl || type == kUserDefined || type == kUnknown)
      tokens.added.push_back(added_token(id, vocabulary.tokens[id], type != kUserDefined));
    tokens.vocabulary[vocabulary.tokens[id]] = id;
  }
  return tokens;
}

Json bpe_model(Json vocabulary, std::vector<std::string> merges, const char* unknown) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", unknown == nullptr ? Json() : Json(unknown)},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", false},
          {"vocab", std::move(vocabulary)},
          {"merges", std::move(merges)}};
}

std::string tokenizer_json(Json added, Json normalizer, Json pre, Json post, Json decoder, Json model) {
  const Json all = {{"version", "1.0"},
                    {"truncation", nullptr},
                    {"padding", nullptr},
                    {"added_tokens", std::move(added)},
                    {"normalizer", std::move(normalizer)},
                    {"pre_tokenizer", std::move(pre)},
                    {"post_processor", std::move(post)},
                    {"decoder", std::move(decoder)},
                    {"model", std::move(model)}};
  return all.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string byte_level_json(const GgufVocabulary& vocabulary, const PreTokenizerEntry& entry, bool adds_bos) {
  Tokens tokens = tokens_of(vocabulary, false);
  Json model = bpe_model(std::move(tokens.vocabulary), vocabulary.merges, nullptr);
  model["ignore_merges"] = entry.ignore_merges;
  Json decoder = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  Json post = post_processor(vocabulary, adds_bos);
  if (post.is_null())
    post = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", false}, {"use_regex", true}};
  return tokenizer_json(std::move(tokens.added), nullptr, pre_tokenizer(entry), std::move(post), std::move(decoder),
                        std::move(model));
}

// Scores as an order of merges: every two tokens that make a third, the third with the best score first.
std::vector<std::string> merges_from_scores(const GgufVocabulary& vocabulary) {
  std::unordered_map<std::string_view, size_t> ids;
  constexpr size_t kBytesMax = 4096;  // a damaged file may hold one of megabytes, whose cuts would take hours
  const auto merges_with_others = [&](size_t id) {
    const int32_t type = kind(vocabulary, id);
    return (type == kNormal || type == kUserDefined) && vocabulary.tokens[id].size() <= kBytesMax;
  };
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (merges_with_others(id)) ids.emplace(vocabulary.tokens[id], id);
  }
  struct Merge {
    size_t left, right, whole;
  };
  std::vector<Merge> found;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (!merges_with_others(id)) continue;
    const std::string_view whole = vocabulary.tokens[id];
    for (size_t cut = 1; cut < whole.size(); ++cut) {
      const auto left = ids.find(whole.substr(0, cut)), right = ids.find(whole.substr(cut));
      if (left != ids.end() && right != ids.end()) found.push_back({left->second, right->second, id});
    }
  }
  std::stable_sort(found.begin(), found.end(), [&](const Merge& a, const Merge& b) {
    return vocabulary.scores[a.whole] > vocabulary.scores[b.whole];
  });
  std::vector<std::string> merges;
  for (const Merge& merge : found)
    merges.push_back(vocabulary.tokens[merge.left] + " " + vocabulary.tokens[merge.right]);
  return merges;
}

std::string sentencepiece_json(const GgufVocabulary& vocabulary, bool adds_bos) {
  const std::string space(kSpaceMark);
  const int64_t unknown = special(vocabulary, "unknown");
  Tokens tokens = tokens_of(vocabulary, true);
  Json model = bpe_model(std::move(tokens.vocabulary), merges_from_scores(vocabulary),
                         unknown < 0 ? nullptr : vocabulary.tokens[static_cast<size_t>(unknown)].c_str());
  model["fuse_unk"] = true;
  model["byte_fallback"] = true;
  const Json replace = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", space}};
  Json steps = Json::array();
  if (vocabulary.add_space_prefix.value_or(true)) steps.push_back({{"type", "Prepend"}, {"prepend", space}});
  steps.push_back(replace);
  Json back = Json::array();
  back.push_back({{"type", "Replace"}, {"pattern", {{"String", space}}}, {"content", " "}});
  back.push_back({{"type", "ByteFallback"}});
  back.push_back({{"type", "Fuse"}});
  if (vocabulary.add_space_prefix.value_or(true))
    back.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return tokenizer_json(std::move(tokens.added), {{"type", "Sequence"}, {"normalizers", steps}}, nullptr,
                        post_processor(vocabulary, adds_bos), {{"type", "Sequence"}, {"decoders", back}},
                        std::move(model));
}

// ---- beside them ----

std::string tokenizer_config(const TokenizerSource& source, const char* class_name, bool adds_bos) {
  const GgufVocabulary& vocabulary = *source.gguf;
  Json config = {{"tokenizer_class", class_name},
                 {"add_bos_token", adds_bos},
                 {"add_eos_token", vocabulary.add_eos.value_or(false)},
                 {"clean_up_tokenization_spaces", false}};
  for (const auto& [key, name] :
       {std::pair{"bos_token", "bos"}, {"eos_token", "eos"}, {"unk_token", "unknown"}, {"pad_token", "padding"}}) {
    const int64_t id = special(vocabulary, name);
    if (id >= 0 && id < std::ssize(vocabulary.tokens)) config[key] = vocabulary.tokens[static_cast<size_t>(id)];
  }
  if (const auto found = source.chat_templates.find(""); found != source.chat_templates.end())
    config["chat_template"] = found->second;
  return config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string generation_config(const GgufVocabulary& vocabulary) {
  Json config, ends = Json::array();
  if (const int64_t bos = special(vocabulary, "bos"); bos >= 0) config["bos_token_id"] = bos;
  for (const char* name : {"eos", "eot", "eom"}) {
    const int64_t id = special(vocabulary, name);
    if (id >= 0 && std::find(ends.begin(), ends.end(), id) == ends.end()) ends.push_back(id);
  }
  if (!ends.empty()) config["eos_token_id"] = ends;
  return config.is_null() ? "" : config.dump(2) + "\n";
}

}  // namespace

std::map<std::string, std::string> hugging_face_tokenizer(const TokenizerSource& source, Log& log) {
  if (!source.gguf) return source.files;
  const GgufVocabulary& vocabulary = *source.gguf;
  std::map<std::string, std::string> files;
  if (vocabulary.tokens.empty()) return files;
  if (vocabulary.model == "llama") {
    const bool adds_bos = vocabulary.add_bos.value_or(true);
    files["tokenizer.model"] = sentencepiece_model(vocabulary);
    files["tokenizer_config.json"] = tokenizer_config(source, "LlamaTokenizer", adds_bos);
    if (!vocabulary.scores.empty() && all_valid(vocabulary))
      files["tokenizer.json"] = sentencepiece_json(vocabulary, adds_bos);
  } else if (const PreTokenizerEntry* entry = find_pre_tokenizer(vocabulary.pre);
             vocabulary.model == "gpt2" && entry != nullptr && all_valid(vocabulary)) {
    const bool adds_bos = vocabulary.add_bos.value_or(entry->adds_bos);
    files["tokenizer.json"] = byte_level_json(vocabulary, *entry, adds_bos);
    files["tokenizer_config.json"] = tokenizer_config(source, "PreTrainedTokenizerFast", adds_bos);
  } else {
    log.notice(
        fmt::format("the tokenizer ({}{}{}) cannot be written as files of Hugging Face; take those of the "
                    "original model",
                    vocabulary.model, vocabulary.pre.empty() ? "" : ", ", vocabulary.pre));
    return files;
  }
  if (std::string config = generation_config(vocabulary); !config.empty())
    files["generation_config.json"] = std::move(config);
  return files;
}

}  // namespace moxie
